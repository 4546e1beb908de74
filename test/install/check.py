#!/usr/bin/env python3
"""Installs bfcc, moves it elsewhere, and uses it from there alone: check.py BUILD [TEST ..]

Ends with `N passed, N failed`. Everything happens in a temporary folder; of the source only
examples/model-repo is copied. `make install` must have nothing left to build (`make all` was run).
Tests are named as in `Files.test_vim`; all run if none is named.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build"))
CC = os.environ.get("BF_CC", "cc").replace("ccache ", "")


def run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)


def source_make(*arguments):
    return run(["make", "-s", "-C", TOP, "-o", "all", f"BUILD={os.path.relpath(BUILD, TOP)}",
                *arguments])


def tree(folder):
    return sorted(os.path.relpath(os.path.join(place, name), folder)
                  for place, folders, files in os.walk(folder) for name in folders + files)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.place)
        first = os.path.join(cls.place, "first")
        done = source_make("install", "PREFIX=/opt/bfcc", f"DESTDIR={first}")
        assert done.returncode == 0, done.stdout
        cls.prefix = os.path.join(cls.place, "moved to", "bfcc").replace(" ", "-")
        shutil.move(os.path.join(first, "opt/bfcc"), cls.prefix)
        cls.env = {"PATH": "/usr/bin:/bin", "HOME": cls.place, "NO_COLOR": "1",
                   "PKG_CONFIG_PATH": os.path.join(cls.prefix, "lib/pkgconfig")}
        if "ASAN_OPTIONS" in os.environ:
            cls.env["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"]

    def setUp(self):
        self.folder = os.path.join(self.place, self.id().rsplit(".", 1)[1])
        os.mkdir(self.folder)

    def run_in(self, command, expect=0, **options):
        done = run(command, cwd=self.folder, env=self.env, shell=isinstance(command, str),
                   **options)
        self.assertEqual(done.returncode, expect, f"{command}\n{done.stdout}")
        return done.stdout

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)

    def at(self, path):
        return os.path.join(self.prefix, path)


class Files(Installed):
    def test_programs(self):
        for name in ("bfcc", "bfrun", "bfdis", "bfas"):
            self.assertRegex(self.run_in([self.at("bin/" + name), "--version"]), rf"^{name} \d")

    def test_no_path_of_the_first_place(self):
        """What is text names neither where it was built nor where it was first put."""
        for name in tree(self.prefix):
            if re.search(r"\.(pc|mk|1|5|vim|arch|bfly|h)$", name):
                with open(self.at(name)) as file:
                    text = file.read()
                self.assertNotIn(self.place, text, name)
                self.assertNotIn("/opt/bfcc", text, name)
                self.assertNotIn(BUILD, text, name)
                self.assertNotRegex(text, r"@[A-Z]+@", name)

    def test_man_pages(self):
        pages = {name for name in tree(self.at("share/man")) if "." in name}
        self.assertEqual({"man1/bfcc.1", "man1/bfrun.1", "man1/bfdis.1", "man1/bfas.1",
                          "man5/bfly.5", "man5/bfx.5"}, pages)

    def test_shipped_files(self):
        """Machines and blocks are there to be copied, and do what the built-in ones do."""
        for name in os.listdir(self.at("share/bfcc/arch")):
            machine = name.removesuffix(".arch")
            self.assertEqual(self.run_in([self.at("bin/bfcc"), "-print-arch", machine]),
                             self.run_in([self.at("bin/bfcc"), "-print-arch",
                                          self.at("share/bfcc/arch/" + name)]))
        self.env = dict(self.env, BFCC_PATH=self.at("share/bfcc/library"))
        self.write("n.bfly", "include <transformer.bfly>;\n"
                   "network n() { input x: f16[8, 32]; output y = ffn: FeedForward(x, 64); }\n")
        self.run_in([self.at("bin/bfcc"), "n.bfly", "-emit", "net", "-o", "n.net", "-MD"])
        with open(os.path.join(self.folder, "n.net.d")) as file:
            self.assertIn(self.at("share/bfcc/library/transformer.bfly"), file.read())

    def test_libraries(self):
        self.assertIn("[libbfrt.so.0]", self.run_in(["readelf", "-d", self.at("lib/libbfrt.so")]))
        self.assertTrue(os.path.islink(self.at("lib/libbfrt.so.0")))
        self.write("a.c", "#include <bfrt.h>\n#include <bfpool.h>\n"
                   "int main(void) { bf_pool_free(bf_pool_create(1)); puts(bfrt_version()); "
                   "return 0; }\n")
        flags = "$(pkg-config --cflags --libs bfrt bfpool)"
        self.run_in("cp a.c a.cc")
        sanitize = " ".join(word for word in CC.split()[1:])
        for build in (f"{CC} -std=c17 a.c {flags}",
                      f"g++ -Wall -Wextra -Werror -pedantic {sanitize} a.cc {flags}",
                      f"{CC} -std=c17 a.c $(pkg-config --cflags bfrt) {self.at('lib/libbfrt.a')} "
                      "$(pkg-config --static --libs bfrt bfpool)"):
            self.run_in(f"{build} -Wl,-rpath,$(pkg-config --variable=libdir bfrt) -o a")
            self.assertRegex(self.run_in("./a"), r"^\d+\.\d+")

    def test_completion(self):
        def complete(*words):
            line = " ".join(words)
            script = (f"PATH={self.at('bin')}:$PATH; . {self.at('share/bash-completion/completions/bfcc')}\n"
                      f"COMP_WORDS=({line}); [ '{words[-1]}' ] || COMP_WORDS+=('')\n"
                      "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                      "_bfcc ${COMP_WORDS[0]} \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                      "printf '%s\\n' \"${COMPREPLY[@]}\"")
            return self.run_in(["bash", "-c", script]).split()
        self.assertEqual(complete("bfcc", "-verify"), ["-verify-each"])
        self.assertIn("-print-after", complete("bfcc", "-print-"))
        self.assertEqual(complete("bfcc", "-arch", "mlx-f"), ["mlx-full"])
        self.assertEqual(complete("bfcc", "-print-after", "sch"), ["schedule"])
        self.assertEqual(complete("bfcc", "-emit", "po"), ["poly"])
        self.assertEqual(complete("bfrun", "-desc"), ["-describe"])
        self.assertEqual(complete("bfrun", "-device", "s"), ["sim"])
        self.write("net.bfly", "")
        self.assertEqual(complete("bfcc", "ne"), ["net.bfly"])

    def test_vim(self):
        with open(self.at("share/vim/vimfiles/syntax/bfly.vim")) as file:
            text = file.read()
        self.assertRegex(text, r"bflyOperator .*\bbutterfly\b.*\blayernorm\b")

    def test_uninstall(self):
        place = os.path.join(self.folder, "usr")
        os.makedirs(os.path.join(place, "share/man"))
        self.write("usr/share/man/theirs", "")
        for _ in range(2):
            done = source_make("install", "PREFIX=/usr", f"DESTDIR={self.folder}")
            self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("bin/bfcc", tree(place))
        done = source_make("uninstall", "PREFIX=/usr", f"DESTDIR={self.folder}")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(tree(place), ["share", "share/man", "share/man/theirs"])


class ModelRepository(Installed):
    def setUp(self):
        super().setUp()
        shutil.copytree(os.path.join(TOP, "examples/model-repo"), self.folder, dirs_exist_ok=True)

    def make(self, *arguments, expect=0):
        return self.run_in(["make", f"CC={CC}", *arguments], expect)

    def made(self, text):
        """What bfcc, bfrun and the linker were asked to make."""
        return set(re.findall(r" -o (\S+)", text, re.M))

    def age(self):
        """Everything that is there was made a minute ago."""
        then = time.time() - 60
        for name in tree(self.folder):
            os.utime(os.path.join(self.folder, name), (then, then), follow_symlinks=False)

    def test_build_and_run(self):
        with open(os.path.join(self.folder, "Makefile")) as file:
            self.assertLess(len(file.readlines()), 30)
        text = self.make("-j4", "check")
        self.assertEqual(len(re.findall(r"^(?:setosa|versicolor|virginica) ", text, re.M)), 6)
        self.assertEqual(self.made(self.make("all")), set())
        flowers = "5.1 3.5 1.4 0.2  6.3 3.3 6.0 2.5  5.7 2.8 4.1 1.3  4.6 3.1 1.5 0.2  7.1 3.0 5.9 2.1"
        names = ["setosa", "virginica", "versicolor", "setosa", "virginica"]
        for program in ("iris-array", "iris-host"):
            answer = self.run_in(f"./{program} {flowers}")
            self.assertEqual([line.split()[0] for line in answer.splitlines()], names)

    def test_what_is_made_again(self):
        self.make("all")
        network = {"iris.bfx", "iris.o", "iris.h", "iris-host", "host.o"}
        for touched, again in (("iris.safetensors", network), ("iris.bfly", network),
                               ("host.c", {"host.o", "iris-host"}), ("README.md", set())):
            self.age()
            os.utime(os.path.join(self.folder, touched))
            self.assertEqual(self.made(self.make("all")), again, touched)

    def test_includes_and_machines(self):
        self.write("deep.bfly", "block Deep(x) { return gelu(x); }\n")
        self.write("two.bfly", 'include "deep.bfly";\n'
                   "network two() { input x: f16[16, 16]; output y = Deep(x); }\n")
        shutil.copy(self.at("share/bfcc/arch/mlx-reduced.arch"),
                    os.path.join(self.folder, "my.arch"))
        self.write("mine.mk", "include Makefile\nBFCCFLAGS =\ntwo.bfx: BFARCH = my.arch\n")
        both = ["-f", "mine.mk", "two.bfx", "two.bfs"]
        self.assertEqual(self.made(self.make(*both)), {"two.bfx", "two.bfs"})
        for touched, again in (("deep.bfly", {"two.bfx", "two.bfs"}), ("my.arch", {"two.bfx"})):
            self.age()
            os.utime(os.path.join(self.folder, touched))
            self.assertEqual(self.made(self.make(*both)), again, touched)
        self.age()
        self.write("two.bfly", "network two() { input x: f16[16, 16]; output y = x + x; }\n")
        os.remove(os.path.join(self.folder, "deep.bfly"))  # gone, and no longer needed
        self.assertEqual(self.made(self.make(*both)), {"two.bfx", "two.bfs"})

    def test_failures_leave_nothing(self):
        self.write("iris.bfly", "network iris() { input x: f16[4]; output y = nothing(x); }\n")
        self.make("all", expect=2)
        for name in ("iris.bfx", "iris.o", "iris.h"):
            self.assertNotIn(name, tree(self.folder))

    def test_interrupted(self):
        """SIGINT at some moment of a build: what is there is whole, nothing else is there, and the
        next make goes on from it."""
        self.make("iris.bfx", "iris.o", "iris.h")
        whole = {name: open(os.path.join(self.folder, name), "rb").read()
                 for name in ("iris.bfx", "iris.o", "iris.h")}
        before = set(tree(self.folder)) | {"main.o", "array.o", "host.o", "iris-array", "iris-host"}
        for i in range(8):
            self.make("clean")
            job = subprocess.Popen(["make", "-j2", "iris.bfx", "iris.o", "iris.h"],
                                   cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
            time.sleep(0.01 * 1.7 ** i)
            os.killpg(job.pid, signal.SIGINT)
            job.wait()
            self.assertLessEqual(set(tree(self.folder)), before)
            for name, bytes_ in whole.items():
                path = os.path.join(self.folder, name)
                if os.path.exists(path):
                    self.assertEqual(open(path, "rb").read(), bytes_, name)
        self.make("iris.bfx", "iris.o", "iris.h")
        for name, bytes_ in whole.items():
            self.assertEqual(open(os.path.join(self.folder, name), "rb").read(), bytes_, name)


def main():
    load = unittest.defaultTestLoader
    suite = (load.loadTestsFromNames(sys.argv[2:], sys.modules[__name__]) if sys.argv[2:]
             else unittest.TestSuite(map(load.loadTestsFromTestCase, (Files, ModelRepository))))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=1).run(suite)
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed")
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
