#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/check_links.py finds what leads nowhere, and lets pass what leads somewhere."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "check_links.py"


class Links(unittest.TestCase):
    def check(self, page, name="docs/page.md"):
        """Exit code and output for a tree with this page and a few others."""
        with tempfile.TemporaryDirectory() as folder:
            files = {"README.md": "# Top\n[page](docs/other.md)\n",
                     "docs/other.md": "# Words, and `code`\n## Twice\n## Twice\n<a id=\"old\"></a>\n",
                     "src/main.cpp": "", "docs/images/a b.png": "", name: page}
            for path, text in files.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_text(text)
            done = subprocess.run(
                [sys.executable, str(SCRIPT), folder], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout

    def assert_fine(self, page, name="docs/page.md"):
        code, output = self.check(page, name)
        self.assertEqual(code, 0, output)

    def assert_found(self, page, words):
        code, output = self.check(page)
        self.assertEqual(code, 1, output)
        self.assertIn(words, output)

    def test_what_leads_somewhere(self):
        self.assert_fine(
            "[a](other.md) [b](../README.md#top) [c](../src/main.cpp) [d](../src) ![e](images/a%20b.png)\n"
            "[f](other.md#words-and-code) [g](other.md#twice-1) [h](other.md#old) [i](#here)\n"
            "## Here\n[j]: other.md\n[k](https://example.org/nothing) [l](mailto:a@example.org)\n")

    def test_a_missing_file(self):
        self.assert_found("text\n[a](none.md)\n", "docs/page.md:2: none.md does not exist")
        self.assert_found("![a](images/none.png)\n", "images/none.png does not exist")
        self.assert_found("[a]: none.md\n", "none.md does not exist")
        self.assert_found("[![in a link](images/none.png)](other.md)\n", "images/none.png")

    def test_a_missing_anchor(self):
        self.assert_found("[a](other.md#twice-2)\n", "no heading makes the anchor #twice-2")
        self.assert_found("[a](#none)\n", "#none")
        self.assert_found("[a](#none)\n```\n# None\n```\n", "#none")

    def test_a_mention(self):
        self.assert_found("see `docs/none.md`\n", "docs/none.md does not exist")
        self.assert_fine("see `docs/other.md`, `docs/images/` and `runs/none.md`\n")

    def test_outside(self):
        self.assert_found("[a](../../outside.md)\n", "leads out of the repository")

    def test_code_is_no_link(self):
        self.assert_fine("```\n[a](none.md)\n```\nand `[b](none.md)`\n")

    def test_nothing_to_check_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, str(SCRIPT), folder], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
