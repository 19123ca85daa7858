#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bench/corpus.py makes of pages, manuals and documents; and that a corpus is the same twice."""
import io
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.dont_write_bytecode = True
import corpus  # noqa: E402

SENTENCE = "It is the rule of this house that the number {} is not to be said with a smile or in the garden."


class Corpus(unittest.TestCase):
    def test_a_page_gives_its_paragraphs_and_programs(self):
        page = ("<html><head><title>No</title></head><body><nav>Menu of the page</nav>"
                "<main><h1>One &amp; two<a class='x' href='#'></a></h1><p>A long\n line<br>broken.</p>"
                "<pre>if x:\n    <b>y</b> &lt; 2\n</pre><script>no()</script><p>The end.</p></main>after")
        self.assertEqual(corpus.tidy(corpus.of_html(page)),
                         "One & two\n\nA long line\nbroken.\n\nif x:\n    y < 2\n\nThe end.")

    def test_menus_go_and_short_paragraphs_stay(self):
        menu = [f"Entry {number}x" for number in range(corpus.MENU)]
        self.assertEqual(corpus.without_menus(["Text of a page.", *menu, "More of it."]),
                         ["Text of a page.", "", "More of it."])
        self.assertEqual(corpus.without_menus(menu[1:]), menu[1:])

    def test_pod_and_info_and_literals(self):
        self.assertEqual(corpus.of_pod("=head1 B<NAME>\n\nC<< a->b >> and E<lt>\n\n=cut\n\ncode();\n"),
                         "NAME\n\na->b and <\n")
        info = "\x1f\nFile: a,  Node: b\n\nText.\n* Menu:\n* c::  d\n\x1f\nTag Table:\nx"
        self.assertEqual(corpus.of_info(info).split(), ["Text."])
        data = '{"id": "short", "text": "You see an old house at the end of a road."}'
        self.assertEqual(corpus.of_literals(data), "You see an old house at the end of a road.")

    def test_pieces_are_the_text(self):
        text = "\n".join(SENTENCE.format(number) for number in range(1000))
        pieces = corpus.cut(text)
        self.assertEqual("\n".join(pieces), text)
        self.assertTrue(all(len(piece) < corpus.MOST + 200 for piece in pieces))

    def test_a_long_line_stays_once(self):
        seen = set()
        self.assertEqual(corpus.unseen(f"a\n{SENTENCE}\na\n  {SENTENCE}", seen), f"a\n{SENTENCE}\na")
        self.assertEqual(corpus.unseen(SENTENCE, seen), "")

    def test_tables_and_other_languages_are_not_english(self):
        self.assertTrue(corpus.is_english(SENTENCE))
        self.assertFalse(corpus.is_english("Es ist die Regel dieses Hauses, dass niemand darin lacht."))
        self.assertFalse(corpus.is_english("int main(void) { return puts(\"a\") + strlen(name); }"))

    @unittest.skipUnless(shutil.which("dpkg-deb"), "makes a package with dpkg-deb")
    def test_the_same_packages_give_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder, "package")
            (package / "DEBIAN").mkdir(parents=True)
            (package / "DEBIAN/control").write_text(
                "Package: house\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: rules\n")
            for number in range(300):
                page = "\n".join(SENTENCE.format(number * 10 + line) for line in range(5))
                (package / f"{number}.txt").write_text(page)
            deb = Path(folder, "house_1_all.deb")
            subprocess.run(["dpkg-deb", "--build", package, deb], check=True, stdout=subprocess.DEVNULL)
            Path(folder, "list").write_text(f"house {deb} - -\n")
            made = []
            for out in (Path(folder, "one"), Path(folder, "two")):
                subprocess.run([sys.executable, corpus.__file__, "extract", out, f"{folder}/list"],
                               check=True, stderr=subprocess.DEVNULL)
                with redirect_stdout(io.StringIO()):
                    corpus.assemble(out, f"{folder}/list")
                made.append({path.name: path.read_bytes() for path in out.glob("*.jsonl")})
            self.assertEqual(made[0], made[1])
            rows = [json.loads(line) for name in sorted(made[0]) for line in made[0][name].splitlines()]
            self.assertEqual(len(rows), 300)
            self.assertEqual({row["source"] for row in rows}, {"house"})
            self.assertIn(b"\n", made[0]["held_out.jsonl"])


if __name__ == "__main__":
    unittest.main()
