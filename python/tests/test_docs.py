"""docs/python.md, its Python files and commands typed as a reader types them."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "test/python"))
import test_tutorial  # noqa: E402

import bfcc  # noqa: E402
from bfcc import tools  # noqa: E402


class Page(test_tutorial.Pages):
    test_tutorial = test_questions = test_levels = test_extending = None

    def test_page(self):
        self.env["PYTHONPATH"] = str(Path(bfcc.__file__).resolve().parents[1])
        self.env["PATH"] = f"{tools.program().parent}:{self.env['PATH']}"
        self.type_page("python.md", 5)

    def test_tutorial_part(self):
        page = (Path(__file__).resolve().parents[2] / "docs/tutorial.md").read_text()
        part = page.partition("<!-- tests of the package run this part -->")[2]
        code = test_tutorial.blocks(part)[0]
        Path(self.folder, "part.py").write_text(code)
        self.env["PYTHONPATH"] = str(Path(bfcc.__file__).resolve().parents[1])
        self.run_command("python3 part.py", [".. cycles, error 0.00.."])
        self.assertTrue(Path(self.folder, "encoder.o").exists())
        self.assertTrue(Path(self.folder, "encoder.h").exists())


if __name__ == "__main__":
    unittest.main()
