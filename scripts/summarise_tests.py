#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads ctest's JUnit files; lists skips with their reasons and failures; ends with `N passed, N failed[, N
skipped]`.

A test that ctest could not start (its program is missing, its fixture failed) counts as failed, and so does a
run without any test. Exit status: 1 when anything failed.
"""
import re
import sys
import xml.etree.ElementTree as xml


def skip_reason(case):
    """The line GTEST_SKIP() << "why" or a script printed; ctest's own word for it otherwise."""
    output = case.findtext("system-out") or ""
    match = re.search(
        r"Skipped\s*\n(?P<googletest>[^\n\[]+)|^SKIPPED:? *(?P<script>.+)$", output, re.MULTILINE)
    if match:
        return (match["googletest"] or match["script"]).strip()
    return case.find("skipped").get("message", "no reason given")


def sort_case(case):
    if case.get("status") == "run":
        return "passed"
    skipped = case.find("skipped")
    if skipped is not None:
        message = skipped.get("message", "")
        if message.startswith("SKIP_") or message == "Disabled" or case.get("status") == "disabled":
            return "skipped"
    return "failed"


def main(*paths):
    groups = {"passed": [], "failed": [], "skipped": []}
    for path in paths:
        for case in xml.parse(path).getroot().iter("testcase"):
            groups[sort_case(case)].append(case)
    for case in groups["skipped"]:
        print(f"skipped: {case.get('name')}: {skip_reason(case)}")
    for case in groups["failed"]:
        print(f"failed: {case.get('name')}")
    total = sum(len(cases) for cases in groups.values())
    if total == 0:
        print("no test was found", file=sys.stderr)
    line = f"{len(groups['passed'])} passed, {len(groups['failed'])} failed"
    if groups["skipped"]:
        line += f", {len(groups['skipped'])} skipped"
    print(line)
    return 1 if groups["failed"] or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
