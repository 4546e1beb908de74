"""docs/passes.md has every pass, in order, with the sentence and level that bfcc -list-passes prints."""
import os
import re
import subprocess
import unittest

BUILD = os.environ.get("BF_BUILD", "build")


def read_page():
    with open("docs/passes.md", encoding="utf-8") as file:
        return file.read()


class PassesPage(unittest.TestCase):
    def test_passes(self):
        listed = subprocess.run([os.path.join(BUILD, "bfcc"), "-list-passes"], check=True,
                                capture_output=True, text=True).stdout
        listed = [re.fullmatch(r"(\S+) +(\S+) +(.*?)( \(optional\))?", line).groups()
                  for line in listed.splitlines()]
        described = re.findall(r"^## (\w+)\n\n(\w+)(, optional)?: (.*)\.\n", read_page(), re.M)
        self.assertEqual([(name, level, sentence, bool(optional))
                          for name, level, optional, sentence in described],
                         [(name, level, sentence, bool(optional))
                          for name, level, sentence, optional in listed])
        self.assertGreater(len(listed), 10)

    def test_parts(self):
        for section in read_page().split("\n## ")[1:]:
            for part in ("Requires", "Keeps", "Breaks"):
                self.assertIn(f"- **{part}** ", section, section.split("\n")[0])


if __name__ == "__main__":
    unittest.main()
