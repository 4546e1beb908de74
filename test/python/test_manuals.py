"""Each program's man page has every option that its --help prints."""
import os
import re
import subprocess
import unittest

BUILD = os.environ.get("BF_BUILD", "build")


def page_of(program):
    with open(f"docs/man/{program}.1.scd", encoding="utf-8") as file:
        return file.read().replace("\\", "").replace("*", "")


class Manuals(unittest.TestCase):
    def test_options(self):
        for program in ("bfcc", "bfrun", "bfdis", "bfas"):
            text = subprocess.run([os.path.join(BUILD, program), "--help"], check=True,
                                  capture_output=True, text=True).stdout
            options = re.findall(r"(?<=[\s\[|,])(--?[A-Za-z#][\w#-]*)", text)
            self.assertGreater(len(options), 2, program)
            page = page_of(program)
            for option in options:
                option = "-Dname" if option.startswith("-Dname") else option
                self.assertRegex(page, rf"(?m)(^|[\s,\[\"]){re.escape(option)}\b|{re.escape(option)}[\s=]",
                                 f"{program} {option}")

    def test_readable(self):
        pages = sorted(os.listdir("docs/man"))
        self.assertGreater(len(pages), 5)
        for page in pages:
            with open(f"docs/man/{page}", encoding="utf-8") as file:
                done = subprocess.run(["scdoc"], stdin=file, capture_output=True, text=True,
                                      env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
            self.assertEqual((0, ""), (done.returncode, done.stderr), page)


if __name__ == "__main__":
    unittest.main()
