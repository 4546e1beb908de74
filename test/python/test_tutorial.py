"""Pages of docs, as a reader types them: files are written, commands run, answers compared.

In a page a block that begins `// NAME` or `# NAME` is a file; in others, a line behind `$` is a
command for the shell and the lines below it are its answer: all of them in this order, with `..` for
anything. Commands that have an answer with `error:` must fail, all others must not."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BF_BUILD", os.path.join(TOP, "build")))


def blocks(text):
    """Runs of lines indented by four, empty lines inside included, without the indent."""
    found, block = [], []
    for line in text.splitlines() + ["end"]:
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line[4:])
        elif block:
            found.append("\n".join(block).strip("\n"))
            block = []
    return found


def commands(block):
    """[(command, lines of the answer)]"""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def matches(answer, printed):
    """Whether the lines of the answer come in this order, spaces aside, among those printed."""
    lines = iter(" ".join(line.split()) for line in printed.splitlines())
    for wanted in answer:
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in wanted.split(".."))
        if wanted != ".." and not any(re.fullmatch(pattern.replace(r"\ .*", ".*").replace(
                r".*\ ", ".*"), line) for line in lines):
            return False
    return True


class Pages(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        python = os.path.join(self.folder, "bin")
        os.mkdir(python)
        # A wrapper and no link: Python finds its venv by the place of its program.
        with open(os.path.join(python, "python3"), "w") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        os.chmod(os.path.join(python, "python3"), 0o755)
        self.env = dict(os.environ, NO_COLOR="1",
                        PATH=os.pathsep.join([python, BUILD, os.environ["PATH"]]))

    def run_command(self, command, answer):
        done = subprocess.run(command, shell=True, cwd=self.folder, env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        fails = any("error:" in line for line in answer)
        self.assertEqual(done.returncode != 0, fails, f"$ {command}\n{done.stdout}")
        self.assertTrue(matches(answer, done.stdout),
                        f"$ {command}\n{done.stdout}\nexpected:\n" + "\n".join(answer))
        if not answer:
            self.assertEqual(done.stdout, "", f"$ {command}")

    def type_page(self, name, least):
        """Every command of the page, and that there are that many at least."""
        with open(os.path.join(TOP, "docs", name)) as file:
            page = file.read()
        ran = 0
        for block in blocks(page):
            name = re.match(r"(?://|#) (\S+\.\w+)$", block.splitlines()[0])
            if name:
                with open(os.path.join(self.folder, name[1]), "w") as file:
                    file.write(block + "\n")
            elif block.startswith("$ "):
                for command, answer in commands(block):
                    self.run_command(command, answer)
                    ran += 1
        self.assertGreaterEqual(ran, least)

    def test_tutorial(self):
        self.type_page("tutorial.md", 20)

    def test_questions(self):
        self.type_page("questions.md", 10)

    def test_levels(self):
        self.type_page("levels.md", 7)

    def test_extending(self):
        self.type_page("extending.md", 1)


class Answers(unittest.TestCase):
    def test_what_matches(self):
        self.assertTrue(matches(["a .. c", "..x.."], "first\na  b c\n  1 x 2\n"))
        self.assertFalse(matches(["a .. c"], "a b\n"))
        self.assertFalse(matches(["b", "a"], "a\nb\n"))


if __name__ == "__main__":
    unittest.main()
