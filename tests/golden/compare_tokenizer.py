#!/usr/bin/env python3
"""Compares weir's tokenizer with Hugging Face's `tokenizers`, id by id. Exit status 0 when nothing differs.

    make build/release/tests/golden/tokenize_lines
    python3 tests/golden/compare_tokenizer.py [--lines 40000] [--codes quick|all|none] [--speed FILE]

Needs the packages tokenizers (0.23.3 is what the sets in models/unicode.c were taken from) and, for vocab.txt,
transformers. What is compared:
  codes    every code point inside a word, with several settings of BertNormalizer, and with a vocabulary in which every
           character that can come out is a token, so that ids show the normalised text itself
  lines    varied lines (tokenizer_lines.py) with the vocabulary of all-MiniLM-L6-v2 and with one as above
  added    random added tokens with every combination of their flags, over texts made of their pieces
  pairs    longest_first truncation of random pairs, and right truncation of single texts
  vocab    folders with vocab.txt and settings in tokenizer_config.json, against transformers
"""
import argparse
import gzip
import itertools
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from tokenizer_lines import lines

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("TOKENIZE_LINES", ROOT + "/build/release/tests/golden/tokenize_lines")
MINILM = ROOT + "/build/models/all-MiniLM-L6-v2"
failures = 0


def run(folder, mode, *args, data):
    return subprocess.run([PROGRAM, folder, mode, *map(str, args)], input=data, stdout=subprocess.PIPE, check=True).stdout


def pack(text):
    return struct.pack("<I", len(text)) + text


def unpack(out, n):
    at, answers = 0, []
    for _ in range(n):
        count, = struct.unpack_from("<I", out, at)
        answers.append(list(struct.unpack_from("<%dI" % count, out, at + 4)))
        at += 4 + 4 * count
    assert at == len(out)
    return answers


def ours(folder, texts, mode="encode", *args):
    return unpack(run(folder, mode, *args, data=b"".join(map(pack, texts))), len(texts))


def report(name, texts, got, want):
    global failures
    wrong = [i for i in range(len(texts)) if got[i] != want[i]]
    print("%-58s %8d compared, %d differ" % (name, len(texts), len(wrong)), flush=True)
    for i in wrong[:5]:
        print("   %r\n      got    %s\n      wanted %s" % (texts[i], got[i][:40], want[i][:40]))
    failures += len(wrong)


def tokenizer_json(vocab, clean=True, han=True, strip=None, lower=True, added=(), chars=100):
    cls, sep = vocab["[CLS]"], vocab["[SEP]"]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added),
        "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": han, "strip_accents": strip,
                       "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls]}, "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": chars, "vocab": vocab}})


def write(folder, text, name="tokenizer.json"):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)


def vocab_of(characters):
    """Every character is a token, at the start of a word and inside."""
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}
    for c in sorted(set(characters) - {"\0"}):
        vocab.setdefault(c, len(vocab))
        vocab.setdefault("##" + c, len(vocab))
    return vocab


def decoded(texts):
    return [t.decode("utf-8", "replace") for t in texts]


def theirs(tokenizer, texts, special=False):
    out = []
    for i in range(0, len(texts), 2000):
        out += [e.ids for e in tokenizer.encode_batch(decoded(texts[i:i + 2000]), add_special_tokens=special)]
    return out


def compare_transparent(name, texts, **settings):
    normalizer = BertNormalizer(settings.get("clean", True), settings.get("han", True), settings.get("strip"),
                                settings.get("lower", True))
    characters = set()
    for text in decoded(texts):
        characters.update(normalizer.normalize_str(text))
    source = tokenizer_json(vocab_of(characters), **settings)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, source)
        report(name, texts, ours(folder, texts), theirs(Tokenizer.from_str(source), texts))


def settings_of(which):
    for clean, han, lower in itertools.product([True, False], repeat=3):
        for strip in [None, True, False]:
            usual = clean and han and strip is None
            if which == "all" or usual or (clean, han, strip, lower) == (False, False, False, False):
                yield {"clean": clean, "han": han, "strip": strip, "lower": lower}


def compare_codes(which):
    for settings in settings_of(which):
        for block in range(0, 0x110000, 0x40000):
            codes = (c for c in range(block, min(block + 0x40000, 0x110000)) if not 0xD800 <= c < 0xE000)
            texts = [("a" + chr(c) + "b").encode() for c in codes]
            compare_transparent("codes %x.. %s" % (block, settings), texts, **settings)


def compare_word_characters():
    """An added token that must be a word by itself, beside every code point."""
    source = tokenizer_json(vocab_of("a<m>"), added=[{"id": 0, "content": "<m>", "special": False, "normalized": False,
                                                     "single_word": True, "lstrip": False, "rstrip": False}])
    with tempfile.TemporaryDirectory() as folder:
        write(folder, source)
        codes = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
        for name, pattern in ("before", "a %s<m>"), ("behind", "<m>%s a"):
            texts = [(pattern % c).encode() for c in codes]
            report("word characters %s" % name, texts, ours(folder, texts), theirs(Tokenizer.from_str(source), texts))


def compare_lines(n):
    texts = lines(n)
    tokenizer = Tokenizer.from_file(MINILM + "/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    report("lines, all-MiniLM-L6-v2", texts, ours(MINILM, texts), theirs(tokenizer, texts))
    for seed, settings in enumerate(settings_of("all"), 2):
        compare_transparent("lines %s" % settings, lines(max(2000, n // 8), seed), **settings)


def without_panics(tokenizer, texts):
    """tokenizers panics ("bad split") where stripped spaces of two added tokens overlap: nothing to compare with."""
    done, ids = [], []
    for text in texts:
        try:
            ids.append(theirs(tokenizer, [text])[0])
            done.append(text)
        except BaseException as e:
            if type(e).__name__ != "PanicException":
                raise
    return done, ids


def compare_added(rounds):
    rng = random.Random(5)
    pieces = ["a", "b", "ab", "A", "é", "É", "e\u0301", "[X]", "[x]", "<m>", "中", " ", "  ", "\t", "\u00a0", "_", "-", "한", "\u0301",
              "İ", "\0", "1", "\u200d", "Ⓐ", "aB", "\u0b82", "\n", ".", "²"]
    vocab = vocab_of("ab中e-_.1i<>m[]x" + "\u1112\u1161\u11ab" + "éİ²ⓐ")
    vocab.update({t: len(vocab) + i for i, t in enumerate(["ab", "##ab", "[X]"])})
    texts = got = want = []
    for _ in range(rounds):
        contents = {"".join(rng.choices(pieces, k=rng.randrange(1, 4))) for _ in range(rng.randrange(1, 6))}
        added = [{"id": 0, "content": c, "special": rng.random() < .5, "normalized": rng.random() < .4,
                  "single_word": rng.random() < .3, "lstrip": rng.random() < .3, "rstrip": rng.random() < .3}
                 for c in sorted(contents) if "\0" not in c]
        normal = [BertNormalizer().normalize_str(c["content"]) for c in added if c["normalized"]]
        if "" in normal or len(set(normal)) < len(normal):
            continue  # of tokens that become equal, tokenizers finds one at random (the order of a hash map)
        source = tokenizer_json(vocab, added=added)
        mix = pieces + [c["content"] for c in added] * 3
        some = ["".join(rng.choices(mix, k=rng.randrange(1, 12))).encode() for _ in range(40)]
        some += [t[:rng.randrange(len(t) + 1)] + rng.choice([b"\xff", b"\xc3", b""]) + t for t in some[:10]]
        some, expected = without_panics(Tokenizer.from_str(source), some)
        with tempfile.TemporaryDirectory() as folder:
            write(folder, source)
            want = want + expected
            got = got + ours(folder, some)
            texts = texts + some
    report("added tokens", texts, got, want)


def compare_pairs(n):
    rng = random.Random(7)
    vocab = vocab_of("ab")
    tokenizer = Tokenizer.from_str(tokenizer_json(vocab))
    cases = []
    for _ in range(n):
        most = rng.choice([4, 9, 20])
        cases.append((rng.randrange(3, 3 * most), ["a " * rng.randrange(most + 1), "b " * rng.randrange(2 * most + 1)]))
    data = b"".join(struct.pack("<I", m) + pack(a.encode()) + pack(b.encode()) for m, (a, b) in cases)
    want = []
    for most, (a, b) in cases:
        tokenizer.enable_truncation(most, strategy="longest_first")
        e = tokenizer.encode(a, b)
        want.append([t << 24 | i for t, i in zip(e.type_ids, e.ids)])
    with tempfile.TemporaryDirectory() as folder:
        write(folder, tokenizer_json(vocab))
        report("pairs, longest first", cases, unpack(run(folder, "pair", data=data), n), want)
        for most in (2, 3, 7, 64):
            texts = lines(2000, most)
            tokenizer.enable_truncation(most)
            report("single, at most %d" % most, texts, ours(folder, texts, "single", most), theirs(tokenizer, texts, True))


def compare_vocab(n):
    from transformers import AutoTokenizer
    vocab = open(MINILM + "/vocab.txt", encoding="utf-8").read()
    configs = [None, {}, {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False}, {"do_lower_case": False, "strip_accents": True},
               {"tokenize_chinese_chars": False}, {"mask_token": "[unused1]"},
               {"cls_token": {"__type": "AddedToken", "content": "[CLS]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}},
               {"additional_special_tokens": ["[unused2]", "<new>"]},
               {"added_tokens_decoder": {"102": {"content": "[SEP]", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True},
                                         "101": {"content": "[CLS]", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}}}]
    texts = lines(n, 11)
    texts += [b"[unused1] [unused2] <new> [MASK]"]
    for config in configs:
        with tempfile.TemporaryDirectory() as folder:
            write(folder, vocab, "vocab.txt")
            write(folder, json.dumps({"model_type": "bert"}), "config.json")
            if config is not None:
                write(folder, json.dumps(dict(config, tokenizer_class="BertTokenizer")), "tokenizer_config.json")
            backend = AutoTokenizer.from_pretrained(folder).backend_tokenizer
            backend.no_truncation()
            report("vocab.txt %s" % str(config)[:40], texts, ours(folder, texts, "single", 10**6), theirs(backend, texts, True))


def measure(path):
    opener = gzip.open if path.endswith(".gz") else open
    texts = []
    with opener(path, "rb") as f:
        for line in itertools.islice(f, 20000):
            texts.append(json.loads(line).get("text", "").encode() if b".jsonl" in path.encode() else line)
    tokens, size, took = run(MINILM, "speed", 5, data=b"".join(map(pack, texts))).split()
    tokenizer = Tokenizer.from_file(MINILM + "/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    strings, best = decoded(texts), 1e9
    for _ in range(3):
        start = time.perf_counter()
        count = sum(len(tokenizer.encode(s, add_special_tokens=False)) for s in strings)
        best = min(best, time.perf_counter() - start)
    assert count == int(tokens), (count, tokens)
    print("speed, one thread: weir %.2f M tokens/s (%.0f MB/s), tokenizers %.2f M tokens/s, ratio %.1f" %
          (count / float(took) / 1e6, int(size) / float(took) / 1e6, count / best / 1e6, best / float(took)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=40000)
    parser.add_argument("--codes", choices=["quick", "all", "none"], default="quick")
    parser.add_argument("--speed", metavar="FILE", help="a .jsonl[.gz] with \"text\", or a text file")
    args = parser.parse_args()
    if args.codes != "none":
        compare_codes(args.codes)
        compare_word_characters()
    if args.lines:
        compare_lines(args.lines)
        compare_added(400)
        compare_pairs(5000)
        compare_vocab(2000)
    if args.speed:
        measure(args.speed)
    print("%d differences" % failures)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
