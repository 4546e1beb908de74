"""Sends SIGABRT to a bfcc that waits for its input: crash.py FOLDER ARGUMENTS... Prints the exit status,
what it said, and what it left in FOLDER."""
import os
import signal
import subprocess
import sys

folder, arguments = sys.argv[1], sys.argv[2:]
bfcc = subprocess.Popen(["bfcc", "-v", "-", *arguments], cwd=folder, stdin=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True)
bfcc.stderr.readline()  # printed when the handlers are there
bfcc.send_signal(signal.SIGABRT)
print(bfcc.communicate()[1], "status", bfcc.returncode)
for name in sorted(os.listdir(folder)):
    if not name.startswith("bfcc-crash-"):
        continue
    for place, _, files in sorted(os.walk(os.path.join(folder, name))):
        for file in sorted(files):
            print("file", os.path.join(place, file))
    print(open(os.path.join(folder, name, "run.sh")).read())
