"""The include rule is kept by a script; here the script is shown breaches, and what is allowed."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import check_includes


def fault(path, include):
    bracket, header = include[0], include[1:-1]
    return check_includes.fault(check_includes.folder_of(path), bracket, header)


class IncludeRule(unittest.TestCase):
    def test_breaches_are_named(self):
        for path, include, reason in [
                ("runtime/sim.c", "<isl/map.h>", "runtime may not use isl"),
                ("runtime/sim.c", '"ir/map.h"', "runtime may not include ir"),
                ("ir/isa/fp.c", '"ir/diag.h"', "ir/isa may not include ir"),
                ("ir/net.c", '"passes/passes.h"', "ir may not include passes"),
                ("frontend/sema.c", "<isl/set.h>", "frontend may not use isl"),
                ("frontend/sema.c", '"frontend/driver/compile.h"',
                 "frontend may not include frontend/driver"),
                ("passes/array/tile.c", '"backend/encode.h"', "passes may not include backend"),
                ("passes/tile.c", "<llvm-c/Core.h>", "passes may not use LLVM"),
                ("backend/encode.c", "<llvm-c/Core.h>", "backend may not use LLVM"),
                ("runtime/image.c", "<cyaml/cyaml.h>", "runtime may not use libcyaml")]:
            with self.subTest(path=path, include=include):
                self.assertEqual(fault(path, include), reason)
        self.assertIn("from the top folder", fault("runtime/sim.c", '"device.h"'))

    def test_what_the_rule_allows(self):
        for path, include in [
                ("ir/isa/fp.c", "<math.h>"), ("ir/isa/fp.c", '"ir/isa/fp.h"'),
                ("ir/poly.c", "<isl/map.h>"), ("ir/arch.c", "<cyaml/cyaml.h>"),
                ("frontend/sema.c", '"ir/net.h"'), ("passes/array/tile.c", '"passes/passes.h"'),
                ("backend/host/emit.c", "<llvm-c/Core.h>"), ("runtime/image.c", "<libelf.h>"),
                ("runtime/stats.c", "<jansson.h>"),
                ("frontend/driver/main_bfcc.c", '"backend/encode.h"')]:
            with self.subTest(path=path, include=include):
                self.assertIsNone(fault(path, include))


if __name__ == "__main__":
    unittest.main()
