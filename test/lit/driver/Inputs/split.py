"""The tensors of a file in two: split.py FILE FIRST SECOND"""
import sys

from safetensors.numpy import load_file, save_file

tensors = load_file(sys.argv[1])
names = sorted(tensors)
save_file({name: tensors[name] for name in names[:2]}, sys.argv[2])
save_file({name: tensors[name] for name in names[2:]}, sys.argv[3])
