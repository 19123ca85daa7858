#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Inputs of a megabyte for a fuzz target: what makes readers slow or deep, and each seed of its corpus many
times over. libFuzzer finds short inputs by itself; these show what grows faster than the input.

usage: fuzz/long_inputs.py FOLDER [CORPUS]
"""
import struct
import sys
from pathlib import Path

SIZE = 1 << 20


def filled(unit, head=b"", tail=b""):
    return head + unit * max(1, (SIZE - len(head) - len(tail)) // len(unit)) + tail


def names(form, count):
    return b"{" + b",".join(form % i for i in range(count)) + b"}"


def patterns():
    """name -> bytes"""
    found = {
        "deep_lists": filled(b"["), "deep_objects": filled(b'{"a":'),
        "flat_lists": filled(b"[],", b"[", b"0]"),
        "a_string": filled(b"x", b'"', b'"'), "a_key": filled(b"x", b'{"', b'":1}'), "digits": filled(b"7"),
        "escapes": filled(b"\\u00e9", b'"', b'"'), "open_string": filled(b"x", b'{"text":"'),
        "names": names(b'"%06d":{}', 80_000), "many_fields": names(b'"%06d":0', 90_000),
        "lines": filled(b"\n"), "spaces": filled(b" "), "words": filled(b"a "), "one_word": filled(b"a"),
        "bad_utf8": filled(b"\xff"), "cut_utf8": filled(b"\xe2\x82"), "zeros": filled(b"\0"),
        "text_lines": filled(b'{"text":"a line of text","n":4}\n'),
        "long_text": filled(b"word ", b'{"text":"', b'"}\n'),
        "rows": b"".join(b'{"step":%d,"loss":1.5}\n' % i for i in range(40_000)), "commas": filled(b","),
        "machines": filled(b"machine a login b password c\n"), "slashes": filled(b"a/", b"https://"),
        "colons": filled(b"a: {", b"model: "), "anchors": filled(b"- &a b\n"),
        "end_of_text": filled(b"\x50\xc4"), "links": filled(b'<a>; rel="next", '),
    }
    header = names(b'"%05d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}', 17_000)
    found["tensors"] = struct.pack("<Q", len(header)) + header
    for name in ("deep_lists", "deep_objects"):
        header = b"{" + b'"a":' + found[name]
        found["header_" + name] = struct.pack("<Q", len(header)) + header
    return found


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in patterns().items():
        (folder / name).write_bytes(data)
    if len(sys.argv) > 2:
        for seed in sorted(Path(sys.argv[2]).iterdir()):
            data = seed.read_bytes()
            if data:
                (folder / f"seed_{seed.name}").write_bytes(filled(data))


if __name__ == "__main__":
    main()
