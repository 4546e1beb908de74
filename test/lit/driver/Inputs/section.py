"""The bytes of a section of an ELF file: section.py FILE NAME > BYTES"""
import re
import subprocess
import sys

table = subprocess.run(["readelf", "-SW", sys.argv[1]], check=True, capture_output=True, text=True).stdout
offset, size = re.search(rf"{re.escape(sys.argv[2])}\s+\w+\s+\w+\s+(\w+)\s+(\w+)", table).groups()
bytes_ = open(sys.argv[1], "rb").read()[int(offset, 16):][:int(size, 16)]
sys.stdout.buffer.write(bytes_)
