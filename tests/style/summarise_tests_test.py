#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/summarise_tests.py counts ctest's JUnit cases, and counts what could not run as failed."""
import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.dont_write_bytecode = True
import summarise_tests  # noqa: E402

PASSED = '<testcase name="good" status="run"/>'
FAILED = '<testcase name="bad" status="fail"><failure message=""/><system-out>boom</system-out></testcase>'
SKIPPED = ('<testcase name="gone" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>'
           "<system-out>[ RUN      ] a.b\nx_test.cpp:3: Skipped\nno such corpus\n\n[  SKIPPED ] a.b (0 "
           "ms)</system-out>"
           "</testcase>")
SKIPPED_SCRIPT = ('<testcase name="tool" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>'
                  "<system-out>SKIPPED: no tool</system-out></testcase>")
NOT_BUILT = ('<testcase name="lost" status="notrun">'
             '<skipped message="Unable to find executable: x"/></testcase>')


class SummariseTests(unittest.TestCase):
    def run_on(self, *cases):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(f"<testsuite>{''.join(cases)}</testsuite>")
            file.flush()
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
                status = summarise_tests.main(file.name)
            return status, output.getvalue().splitlines()

    def test_all_passed(self):
        self.assertEqual(self.run_on(PASSED, PASSED), (0, ["2 passed, 0 failed"]))

    def test_a_failure_fails(self):
        self.assertEqual(self.run_on(PASSED, FAILED), (1, ["failed: bad", "1 passed, 1 failed"]))

    def test_skips_tell_why(self):
        self.assertEqual(self.run_on(PASSED, SKIPPED, SKIPPED_SCRIPT), (0, [
            "skipped: gone: no such corpus", "skipped: tool: no tool", "1 passed, 0 failed, 2 skipped"]))

    def test_what_was_not_built_fails(self):
        self.assertEqual(self.run_on(PASSED, NOT_BUILT)[0], 1)

    def test_several_reports_are_counted_together(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("a.xml", "b.xml")]
            for path, case in zip(paths, (PASSED, FAILED)):
                path.write_text(f"<testsuite>{case}</testsuite>")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                status = summarise_tests.main(*map(str, paths))
        self.assertEqual((status, output.getvalue().splitlines()), (1, ["failed: bad", "1 passed, 1 failed"]))

    def test_no_test_at_all_fails(self):
        self.assertEqual(self.run_on(), (1, ["0 passed, 0 failed"]))


if __name__ == "__main__":
    unittest.main()
