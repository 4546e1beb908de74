"""halve.py FROM TO: the weights of FROM, with the classifier's half as large."""
import sys

from safetensors.numpy import load_file, save_file

weights = load_file(sys.argv[1])
weights["classifier.weight"] = weights["classifier.weight"] / 2
save_file(weights, sys.argv[2])
