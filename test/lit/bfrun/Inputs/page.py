"""page.py PAGE.html PROFILE.json: the page is well formed, loads nothing, and holds the profile."""
import json
import re
import sys
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "hr", "img"}


class Checker(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.data, self.tags = [], set(), {}, set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs)
        if "id" in attrs:
            assert attrs["id"] not in self.ids, attrs["id"]
            self.ids.add(attrs["id"])
        if tag == "button":
            assert attrs.get("type") == "button", attrs
        if tag not in VOID:
            self.open.append((tag, attrs.get("id")))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, (tag, self.open[-3:], self.getpos())
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            key = self.open[-1][1]
            self.data[key] = self.data.get(key, "") + data


page = open(sys.argv[1], encoding="utf-8").read()
checker = Checker()
checker.feed(page)
checker.close()
assert not checker.open, checker.open
assert page.startswith("<!doctype html>") and '<html lang="en">' in page
assert {"main", "header", "h1", "h2", "nav"} <= checker.tags
assert "@{" not in page.split('id="profile"')[0]
assert json.loads(checker.data["profile"]) == json.load(open(sys.argv[2]))
code = page.replace(checker.data["profile"], "")
assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!data:)", code)
