"""Each program's man page has every option that its --help prints."""
import os
import re
import subprocess
import unittest

BUILD = os.environ.get("BF_BUILD", "build")


def page_of(program):
    with open(f"docs/man/{program}.1", encoding="utf-8") as file:
        return file.read().replace("\\", "")


class Manuals(unittest.TestCase):
    def test_options(self):
        for program in ("bfcc", "bfrun", "bfdis", "bfas"):
            text = subprocess.run([os.path.join(BUILD, program), "--help"], check=True,
                                  capture_output=True, text=True).stdout
            options = re.findall(r"(?<=[\s\[|,])(--?[A-Za-z#][\w#-]*)", text)
            self.assertGreater(len(options), 2, program)
            page = page_of(program)
            for option in options:
                option = "-D" if option.startswith("-Dname") else option
                self.assertRegex(page, rf"(?m)(^|[\s,\[\"]){re.escape(option)}\b|{re.escape(option)}[\s=]",
                                 f"{program} {option}")

    def test_readable(self):
        for page in sorted(os.listdir("docs/man")):
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", f"docs/man/{page}"],
                                  capture_output=True, text=True) if have_groff() else None
            self.assertEqual("", done.stderr if done else "", page)


def have_groff():
    return any(os.access(os.path.join(folder, "groff"), os.X_OK)
               for folder in os.environ.get("PATH", "").split(os.pathsep))


if __name__ == "__main__":
    unittest.main()
