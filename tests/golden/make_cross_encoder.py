"""A cross-encoder of MiniLM's shape that needs no download: make_cross_encoder.py EMBEDDER OUT

The encoder and the tokenizer are all-MiniLM-L6-v2's (any BERT directory will do), the pooler is its own where it has
one, and the classifier (one label) is drawn with a fixed seed. It ranks nothing sensibly: it is there to compare scores
with PyTorch and to measure speed and deadlines at the real shape.
"""
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, BertForSequenceClassification

TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


def main(source, out):
    torch.manual_seed(20240607)
    config = AutoConfig.from_pretrained(source, num_labels=1)
    model = BertForSequenceClassification.from_pretrained(source, config=config)
    # Wide enough that scores spread over several units, as a trained model's do.
    torch.nn.init.normal_(model.classifier.weight, std=0.3)
    torch.nn.init.normal_(model.classifier.bias, std=0.3)
    model.float().save_pretrained(out)
    for name in TOKENIZER:
        if (Path(source) / name).exists():
            shutil.copy(Path(source) / name, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
