"""check_sequence.py finds two arguments that add instructions, and nothing else."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).parents[1] / "check_sequence.py"
HELPERS = """
static LLVMValueRef add(int a, int b) { return LLVMBuildAdd(builder, a, b, ""); }
static LLVMValueRef twice(int a) { return add(a, a); }
static LLVMValueRef constant(int a) { return LLVMConstInt(type, a, 0); }
"""
WRONG = [
    "add(twice(a), twice(b));",
    'if (a)\n add(add(a, b), LLVMBuildLoad2(builder, type, b, ""));',
    "LLVMValueRef x[] = {twice(a), twice(b)};",
    "struct pair x = {.re = twice(a), .im = {twice(b)}};",
    "return (struct pair){twice(a), twice(b)};",
]
RIGHT = [
    "add(twice(a), constant(b));",
    "int x = twice(a), y = twice(b); add(x, y);",
    "if (a) { add(a, b), twice(b); }",
    "for (int i = 0; i < 2; i++) { twice(a); twice(b); }",
    "LLVMValueRef x[] = {twice(a), b};  /* add(twice(a), twice(b)) */",
]


def check(body):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.c")
        path.write_text(HELPERS + "void f(int a, int b) {\n" + body + "\n}\n")
        return subprocess.run([sys.executable, CHECK, folder], capture_output=True, text=True)


class CheckSequence(unittest.TestCase):
    def test_two_arguments_that_add(self):
        for body in WRONG:
            with self.subTest(body):
                done = check(body)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn("a.c:", done.stdout)

    def test_nothing_else(self):
        for body in RIGHT:
            with self.subTest(body):
                self.assertEqual(check(body).returncode, 0, check(body).stdout)


if __name__ == "__main__":
    unittest.main()
