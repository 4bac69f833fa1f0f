#!/usr/bin/env python3
"""Writes tests/golden/tokenizer.txt: varied lines and their ids by Hugging Face's `tokenizers` 0.23.3 with the
vocabulary of all-MiniLM-L6-v2 (build/models), without special tokens.

A line is the text, a tab, and the ids in decimal. In the text \\xNN is a byte; the rest is UTF-8 as it stands."""
import os

from tokenizers import Tokenizer

from tokenizer_lines import lines

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = HERE + "/../../build/models/all-MiniLM-L6-v2/tokenizer.json"


def escaped(text):
    out = ""
    for c in text.decode("utf-8", "surrogateescape"):
        raw = c.encode("utf-8", "surrogateescape")
        out += c if c.isprintable() and c != "\\" else "".join("\\x%02x" % b for b in raw)
    return out


tokenizer = Tokenizer.from_file(MODEL)
tokenizer.no_truncation()
tokenizer.no_padding()
chosen = [t for t in lines(3000, 300) if len(t) < 90][:270] + [t for t in lines(3000, 301) if 150 < len(t) < 450][:30]
with open(HERE + "/tokenizer.txt", "w", encoding="utf-8", newline="\n") as f:
    for text in chosen:
        ids = tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=False).ids
        f.write("%s\t%s\n" % (escaped(text), " ".join(map(str, ids))))
