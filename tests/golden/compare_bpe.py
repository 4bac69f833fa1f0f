#!/usr/bin/env python3
"""Compares weir's byte-pair encodings with Hugging Face's `tokenizers`, id by id. Exit status 0 when nothing differs.

    make build/release/tests/golden/tokenize_lines
    python3 tests/golden/compare_bpe.py [--lines 20000] [--texts FILE.jsonl[.gz] ...] [--speed]

Needs tokenizers (0.23.3) and gguf. The families of bpe_families.py, each with a vocabulary trained on the texts; lines are a
half from tokenizer_lines.py (many scripts, white space, control characters, broken UTF-8), a half from the texts, all
with special tokens strewn in. Then the same from a GGUF file's metadata, the longest of words, and the end by max.
"""
import argparse
import gzip
import itertools
import json
import os
import random
import sys
import tempfile
import time

import compare_tokenizer as base
from tokenizers import Tokenizer

from bpe_families import families, write_gguf
from tokenizer_lines import lines

CODE = ["def f(x):\n\treturn  x**2  # square\n\n\n", "for (int i = 0; i < n; i++) {\n    a[i] += b[i];\r\n    }\r\n", "{\"key\": [1, 2.50, null],\n  \"x\":true}",
        "SELECT * FROM t WHERE a>=3;--x\n", "https://example.org/a?b=c&d=%20#e", "x\u0301y\u0323\u0307 e\u0301\u0327 \u212b \u1112\u1161\u11ab", "I'LL we'Ve don't 'S", "1234567890 3.14159 \u0663\u0664 \u2167 x\u00b2"]


def strewn(rng, text, specials):
    for _ in range(rng.choice([0, 0, 1, 2])):
        at = rng.randrange(len(text) + 1)
        token = rng.choice(specials)
        token = rng.choice([token, token, " " + token, token + " ", token[:-1], token[1:], token + token])
        text = text[:at] + token.encode() + text[at:]
    return text


def varied(n, texts, specials, seed):
    rng = random.Random(seed)
    half = lines(n // 2, seed)
    for _ in range(n - len(half)):
        if rng.random() < .2:
            half.append("".join(rng.choices(CODE, k=rng.randrange(1, 4))).encode())
            continue
        text = rng.choice(texts)
        start = rng.randrange(max(1, len(text) - 50))
        half.append(text[start:start + rng.randrange(1, 400)].encode())
    return [strewn(rng, t, specials) for t in half]


def read_texts(paths, most):
    texts = []
    for path in paths:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
            texts += [json.loads(line).get("text", "") for line in itertools.islice(f, most)]
    return [t for t in texts if t]


def long_words(rng):
    words = ["a" * 50000, "ab" * 30000, " " * 20000, "\n" * 9999, "the" * 20000, "\u00e9" * 9000, "\u4e2d" * 9000, "!?" * 9000, "1" * 9001, "\U0001f600" * 5000]
    words.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(100000)))
    return [w.encode() for w in words]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=20000)
    parser.add_argument("--texts", nargs="*", default=[])
    parser.add_argument("--size", type=int, default=6000, help="tokens of a vocabulary")
    parser.add_argument("--only", help="families, with commas")
    parser.add_argument("--speed", action="store_true")
    args = parser.parse_args()
    texts = read_texts(args.texts, 4000) or [t.decode("utf-8", "replace") for t in lines(20000, 77)]
    sample = texts[:3000] + [t.decode("utf-8", "replace") for t in lines(4000, 78)] + CODE * 20
    for seed, (name, (source, how)) in enumerate(families(sample, args.size).items(), 1):
        if args.only and name not in args.only.split(","):
            continue
        specials = [e["content"] for e in source["added_tokens"]]
        some = varied(args.lines, texts, specials, seed)
        tokenizer = Tokenizer.from_str(json.dumps(source))
        want = base.theirs(tokenizer, some)
        with tempfile.TemporaryDirectory() as folder:
            base.write(folder, json.dumps(source))
            base.report(name, some, base.ours(folder, some), want)
            base.report(name + ", with specials", some[:2000], base.ours(folder, some[:2000], "single", 10**6), base.theirs(tokenizer, some[:2000], True))
            for most in (2, 7):
                whole = base.theirs(tokenizer, some[:2000], True)
                extra = len(tokenizer.encode("").ids)
                base.report("%s, at most %d" % (name, most + extra), some[:2000], base.ours(folder, some[:2000], "single", most + extra), [w[:most + extra] for w in whole])
            words = long_words(random.Random(seed))
            base.report(name + ", long words", [w[:40] for w in words], base.ours(folder, words), base.theirs(tokenizer, words))
            if args.speed:
                whole = [t.encode() for t in texts]
                tokens, size, took = base.run(folder, "speed", 3, data=b"".join(map(base.pack, whole))).split()
                start = time.perf_counter()
                count = sum(len(tokenizer.encode(t, add_special_tokens=False)) for t in texts)
                theirs = time.perf_counter() - start
                assert count == int(tokens), (count, tokens)
                print("   speed, one thread: weir %.1f MB/s, tokenizers %.1f MB/s, ratio %.1f" % (int(size) / float(took) / 1e6, int(size) / theirs / 1e6, theirs / float(took)))
            if how:
                path = os.path.join(folder, "tokenizer.gguf")
                write_gguf(path, source, how)
                base.report(name + ", GGUF", some, base.ours(path, some), want)
                base.report(name + ", GGUF, with specials", some[:2000], base.ours(path, some[:2000], "single", 10**6), base.theirs(tokenizer, some[:2000], True))
    print("%d differences" % base.failures)
    sys.exit(base.failures > 0)


if __name__ == "__main__":
    main()
