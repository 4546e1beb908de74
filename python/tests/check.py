#!/usr/bin/env python3
"""All tests of the package: check.py [TEST ..]. Ends with `N passed, N failed`."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
names = sys.argv[1:]
loader = unittest.defaultTestLoader
tests = loader.loadTestsFromNames(names) if names else loader.discover(HERE)
result = unittest.TextTestRunner(verbosity=2).run(tests)
failed = len(result.failures) + len(result.errors)
print(f"{result.testsRun - failed} passed, {failed} failed")
sys.exit(failed > 0 or result.testsRun == 0)
