#!/usr/bin/env python3
"""Compares the letters' logits of `weir rerank --listwise` with those that `transformers` computes from the very prompts.

    python3 tests/golden/compare_listwise.py COLLECTION MODEL [FILE.gguf ...]

MODEL is a Hugging Face directory, the files are the same model; COLLECTION is a BEIR folder whose queries and documents
(in the order of the file) fill the windows. Prints the largest difference and how often the order is the same, for each
model; exit status 1 when the directory's logits differ by more than 2e-3 or give another order. Needs torch, transformers.
"""
import gzip
import itertools
import json
import os
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("WEIR", ROOT + "/build/release/weir")
WINDOWS, SIZE = 25, 20


def read(path, most):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in itertools.islice(f, most)]


def windows(folder):
    corpus = next(folder + "/" + name for name in ("corpus.jsonl", "corpus.jsonl.gz") if os.path.exists(folder + "/" + name))
    documents = read(corpus, WINDOWS * SIZE)
    queries = read(folder + "/queries.jsonl", WINDOWS)
    return [(q["text"], documents[i * SIZE:(i + 1) * SIZE]) for i, q in enumerate(queries)]


def ours(model, query, documents):
    lines = "".join(json.dumps({"id": str(i), "title": d.get("title") or "", "text": d["text"]}) + "\n" for i, d in enumerate(documents))
    ran = subprocess.run([PROGRAM, "rerank", "--model", model, "--listwise", "--json", "--query", query], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answer = json.loads(ran.stdout)
    assert sorted(answer["order"], key=int) == [str(i) for i in range(len(documents))], answer["order"]
    return answer["windows"][-1]


def main():
    folder, models = sys.argv[1], sys.argv[2:]
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    reference = AutoModelForCausalLM.from_pretrained(models[0], dtype=torch.float32).eval()
    letters = [tokenizer.convert_tokens_to_ids(chr(65 + i)) for i in range(SIZE)]
    bad = False
    for model in models:
        worst, equal, first, total = 0.0, 0, 0, 0
        for query, documents in windows(folder):
            window = ours(model, query, documents)
            ids = tokenizer(window["prompt"], add_special_tokens=False).input_ids
            with torch.inference_mode():
                want = reference(torch.tensor([ids])).logits[0, -1][letters[:len(window["logits"])]]
            got = torch.tensor(window["logits"])
            worst = max(worst, float((got - want).abs().max()))
            equal += torch.argsort(-got, stable=True).tolist() == torch.argsort(-want, stable=True).tolist()
            first += int(got.argmax()) == int(want.argmax())
            total += 1
        print(f"{os.path.basename(model)}: {total} windows, largest difference {worst:.6f}, same order {equal}, same first letter {first}", flush=True)
        bad = bad or (model == models[0] and (worst > 2e-3 or equal < total))
    sys.exit(bad)


if __name__ == "__main__":
    main()
