#!/usr/bin/env python3
"""Writes tests/golden/bpe: small tokenizers of every family, as tokenizer.json and as GGUF, and the ids that Hugging Face's
`tokenizers` gives for some lines.

    python3 tests/golden/make_bpe.py        # needs tokenizers 0.23.3, gguf
"""
import json
import os
import random

from tokenizers import Tokenizer

import bpe_families
from compare_bpe import CODE, strewn
from tokenizer_lines import lines

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpe")
WORDS = ("the of and a ranking model reads passages and writes their order from the logits of one token it'll don't we've "
         "retrieval augmented generation weighs what was found before it answers 1234 3.14 naïve café Москва 中文 " * 3).split(" ")


def main():
    rng = random.Random(3)
    texts = [" ".join(rng.choices(WORDS, k=12)) for _ in range(400)]
    os.makedirs(OUT, exist_ok=True)
    for name, (source, how) in bpe_families.families(texts + CODE, 330).items():
        tokenizer = Tokenizer.from_str(json.dumps(source))
        specials = [e["content"] for e in source["added_tokens"]]
        some = lines(40, 9) + [t.encode() for t in texts[:10] + CODE]
        some = [strewn(rng, t[:120], specials) for t in some] + [" ".join(specials).encode(), b"  a\n\n b ", b"x" * 300]
        some = [t.decode("utf-8", "replace") for t in some]
        cases = [[t, tokenizer.encode(t, add_special_tokens=False).ids, len(tokenizer.encode(t).ids)] for t in some]
        for suffix, value in ("", source), (".ids", cases):
            with open("%s/%s%s.json" % (OUT, name, suffix), "w", encoding="utf-8") as f:
                json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
                f.write("\n")
        if how:
            bpe_families.write_gguf("%s/%s.gguf" % (OUT, name), source, how)


if __name__ == "__main__":
    main()
