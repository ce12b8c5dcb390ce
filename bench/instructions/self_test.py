# SPDX-License-Identifier: Apache-2.0
"""Shows the counter outputs whose answers are known. Run by instructions_test.cc."""

import os
import sys
import tempfile
import unittest

import callgrind
import instructions

COUNTED = """==1== Callgrind, a call-graph generating cache profiler
==1== Events    : Ir
==1== Collected : 8401258
==1==
==1== I   refs:      8,401,258
"""


class CollectedTest(unittest.TestCase):
    def why(self, *output):
        with self.assertRaises(callgrind.Failed) as caught:
            callgrind.collected(*output)
        return str(caught.exception)

    def test_the_count(self):
        self.assertEqual(callgrind.collected(0, "", COUNTED), 8401258)

    def test_of_several_processes_the_last(self):
        self.assertEqual(callgrind.collected(0, "", COUNTED.replace("8401258", "7") + COUNTED),
                         8401258)

    def test_a_program_that_valgrind_lost_at_an_exec(self):
        said = self.why(0, "1279200", "==1== Callgrind\n==1== Command: pairs.sh")
        self.assertIn("--trace-children", said)
        self.assertIn("pairs.sh", said)

    def test_an_instruction_that_it_does_not_know(self):
        self.assertIn("-march", self.why(-4, "", "unrecognised instruction at 0x1"))

    def test_a_program_that_failed_counts_nothing(self):
        self.assertIn("code 2", self.why(2, "usage", COUNTED))


class MeasureTest(unittest.TestCase):
    def test_pairs_are_the_difference_of_two_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            # Starts with 1000 instructions, then 50 for each pair.
            write(folder, "valgrind", 'eval n=\\${$#}\necho "== Collected : $((1000 + 50 * n))" >&2')
            program = write(folder, "program", """case "$1" in
--list) printf 'record 8 B\\tchecked\\n' ;;
--time) echo '[{"what": "record 8 B", "variant": "checked", "ns": 4, "low_ns": 3, "high_ns": 5}]' ;;
esac""")
            path = os.environ["PATH"]
            os.environ["PATH"] = folder + os.pathsep + path
            try:
                found = instructions.measure(program)
            finally:
                os.environ["PATH"] = path
        self.assertEqual(found, [{"what": "record 8 B", "variant": "checked", "instructions": 50,
                                  "ns": 4, "low_ns": 3, "high_ns": 5}])


class AddedTest(unittest.TestCase):
    def test_checked_less_checks_off(self):
        cases = [{"what": "typed 8 B", "variant": variant, "instructions": count}
                 for variant, count in (("checked", 31.5), ("checks off", 31), ("by hand", 9))]
        self.assertEqual(instructions.added_by_checks(cases), [("typed 8 B", 0.5)])


def write(folder, name, script):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"#!/usr/bin/env bash\n{script}\n")
    os.chmod(path, 0o755)
    return path


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    return 0 if unittest.TextTestRunner(verbosity=1).run(suite).wasSuccessful() else 1
