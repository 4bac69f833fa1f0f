#!/usr/bin/env python3
"""Compares weir's vectors and scores with PyTorch's, on real texts. Exit status 0 when they are within the limits.

    make && make build/models/all-MiniLM-L6-v2/model.safetensors
    python3 tests/golden/compare_encoder.py [--model DIR] [--cross DIR] [--texts 500] [--weir build/release/weir]

Needs torch and sentence-transformers. Texts: documents of ../shared/collections where it is there, else of data/sample,
of all lengths up to far beyond the token limit, and some that are hard on tokenizers. Without --cross a seeded
cross-encoder is made from the embedder's weights (make_cross_encoder.py) in a temporary folder.
"""
import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
VECTOR_LIMIT = 1e-5  # largest difference of a component
SCORE_LIMIT = 1e-4  # largest difference of a logit
HARD = [
    "",
    " ",
    "?",
    "[CLS] [SEP] [MASK] a [UNK]",
    "naïve café, Ångström; ﬁne ﬂuid",
    "東京は日本の首都です。 서울은 한국의 수도이다",
    "🤗 emoji 👩‍👩‍👧 and\u200bzero width\tand\ttabs",
    "a" * 300,
    "1,234,567.89 $ 5% (x+y)^2",
    "word " * 600,
]


def documents(shared):
    """Every text of the collections at hand, title first."""
    paths = sorted((shared / "collections").glob("*/corpus.jsonl.gz")) or [ROOT / "data/sample/corpus.jsonl"]
    for path in paths:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for i, line in enumerate(lines):
                if i == 2000:
                    break
                doc = json.loads(line)
                yield f"{doc.get('title', '')} {doc.get('text', '')}".strip()


def choose(n, shared):
    """n texts of all lengths: documents cut after a random number of words, from 1 to 300."""
    pick = random.Random(1)
    pool = list(documents(shared))
    texts = HARD[:n]
    while len(texts) < n:
        words = pick.choice(pool).split()
        texts.append(" ".join(words[: pick.randint(1, 300)]))
    return texts


def run(weir, *args, texts):
    lines = "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    done = subprocess.run([weir, *args], input=lines.encode(), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"weir {args[0]}: {done.stderr.decode()}")
    return done.stdout.decode()


def compare_vectors(weir, model_dir, texts):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_dir), device="cpu")
    want = torch.from_numpy(model.encode(texts, batch_size=8))
    rows = [json.loads(line) for line in run(weir, "encode", "--model", str(model_dir), texts=texts).splitlines()]
    assert [r["id"] for r in rows] == [str(i) for i in range(len(texts))]
    worst = (torch.tensor([r["vector"] for r in rows]) - want).abs().max().item()
    print(f"{len(texts)} texts, {want.shape[1]} dimensions, limit {model.max_seq_length} tokens: "
          f"largest difference of a component {worst:.2e} (limit {VECTOR_LIMIT:.0e})")
    return worst <= VECTOR_LIMIT


def compare_scores(weir, cross_dir, queries, texts):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cross_dir)
    model = AutoModelForSequenceClassification.from_pretrained(cross_dir).eval().float()
    worst, low, high, pairs = 0.0, float("inf"), -float("inf"), 0
    for q, query in enumerate(queries):
        some = texts[q :: len(queries)]
        out = run(weir, "rerank", "--model", str(cross_dir), "--query", query, texts=some)
        got = {line.split("\t")[0]: float(line.split("\t")[1]) for line in out.splitlines()}
        for i, text in enumerate(some):
            batch = tokenizer([query], [text], truncation="longest_first", max_length=512, return_tensors="pt")
            with torch.no_grad():
                want = model(**batch).logits[0, 0].item()
            low, high = min(low, want), max(high, want)
            worst = max(worst, abs(got[str(i)] - want))
            pairs += 1
    print(f"{pairs} pairs, scores from {low:.2f} to {high:.2f}: largest difference {worst:.2e} "
          f"(limit {SCORE_LIMIT:.0e})")
    return worst <= SCORE_LIMIT


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=ROOT / "build/models/all-MiniLM-L6-v2")
    parser.add_argument("--cross")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--weir", default=ROOT / "build/release/weir")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    args = parser.parse_args()
    torch.set_num_threads(2)
    texts = choose(args.texts, args.shared)
    queries = ["what is a weir?", "how do vaccines work", "x", "the history of the printing press in europe " * 4, "東京"]
    fine = compare_vectors(args.weir, args.model, texts)
    with tempfile.TemporaryDirectory() as folder:
        if not args.cross:
            subprocess.run([sys.executable, Path(__file__).with_name("make_cross_encoder.py"), args.model, folder],
                           check=True, capture_output=True)
        fine &= compare_scores(args.weir, args.cross or folder, queries, texts)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
