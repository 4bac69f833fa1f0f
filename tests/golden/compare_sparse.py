#!/usr/bin/env python3
"""Learned sparse weights at real shapes against PyTorch: compare_sparse.py WEIR EMBEDDER TEXTS [KEEP]

No download: the encoder and tokenizer are EMBEDDER's (all-MiniLM-L6-v2, BERT of 6 layers of 384), the masked-language-model
head is drawn with a fixed seed and tied to the word embeddings; a DistilBERT of 2 layers of 768 is drawn as a whole. TEXTS
has one text a line. Prints the largest difference of a weight, and the tokens that only one side has. KEEP is a folder where
the models stay.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


def bert(source):
    model = BertForMaskedLM.from_pretrained(source)
    head = model.cls.predictions
    torch.nn.init.normal_(head.transform.dense.weight, std=0.05)
    torch.nn.init.normal_(head.bias, mean=-2, std=1)
    torch.nn.init.normal_(head.transform.LayerNorm.weight, mean=1, std=0.2)
    return model


def distil(_):
    model = DistilBertForMaskedLM(DistilBertConfig(n_layers=2))
    torch.nn.init.normal_(model.vocab_projector.bias, mean=-0.5, std=0.3)
    return model


def expected(model, tok, text):
    batch = tok(text, truncation=True, max_length=512, return_tensors="pt")
    if isinstance(model, DistilBertForMaskedLM):
        batch.pop("token_type_ids", None)
    w = torch.log1p(torch.relu(model(**batch).logits[0].max(0).values))
    w[tok.all_special_ids] = 0
    return {tok.convert_ids_to_tokens(i): w[i].item() for i in w.nonzero().flatten().tolist()}


def compare(weir, model, source, path, texts, name):
    model.float().eval().save_pretrained(path)
    for file in TOKENIZER:
        if (Path(source) / file).exists():
            (path / file).write_bytes((Path(source) / file).read_bytes())
    tok = AutoTokenizer.from_pretrained(path)
    tok.model_max_length = 512
    out = subprocess.run([weir, "encode", "--model", str(path)], input="\n".join(texts), text=True, check=True,
                         stdout=subprocess.PIPE).stdout.splitlines()
    worst, missing, count = 0.0, 0, 0
    for text, line in zip(texts, out, strict=True):
        got, want = json.loads(line)["sparse"], expected(model, tok, text)
        count += len(want)
        for token in got.keys() | want.keys():
            worst = max(worst, abs(got.get(token, 0) - want.get(token, 0)))
            missing += (token in got) != (token in want)
    print(f"{name}: {len(texts)} texts, {count / len(texts):.0f} tokens each, largest difference {worst:.2e}, "
          f"{missing} tokens on one side only")


def main(weir, source, file, keep=None):
    torch.manual_seed(20240607)
    torch.set_num_threads(1)
    texts = [line.strip() for line in open(file, encoding="utf-8") if line.strip()]
    with tempfile.TemporaryDirectory() as tmp, torch.no_grad():
        for name, make in (("bert", bert), ("distilbert", distil)):
            path = Path(keep or tmp) / name
            path.mkdir(parents=True, exist_ok=True)
            compare(weir, make(source), source, path, texts, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
