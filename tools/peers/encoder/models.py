"""The models: BertForSequenceClassification with one label in three shapes, seeded, saved as Hugging Face directories.

MiniLM-L6 is all-MiniLM-L6-v2's own encoder under a seeded head, the others are random throughout. Nobody trained them:
they are for speed and for the distance between two ways of computing the same. So that this distance means something
the head is scaled until the scores of random texts have a standard deviation of about 1.
"""
import pathlib
import shutil

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig

MINILM = pathlib.Path("build/models/all-MiniLM-L6-v2")
FOLDER = pathlib.Path("build/peers/models")
SHAPES = {  # layers, dim, heads, ffn
    "minilm": (6, 384, 12, 1536),
    "bert": (12, 768, 12, 3072),
    "tiny": (2, 128, 2, 512),
}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def random_model(shape):
    layers, dim, heads, ffn = SHAPES[shape]
    if shape == "minilm":
        return AutoModelForSequenceClassification.from_pretrained(MINILM, num_labels=1)
    return AutoModelForSequenceClassification.from_config(BertConfig(
        vocab_size=30522, num_hidden_layers=layers, hidden_size=dim, num_attention_heads=heads, intermediate_size=ffn,
        num_labels=1, initializer_range=.05))


def scale_head(model):
    """Pooler and classifier so large that random texts get scores that differ."""
    dim = model.config.hidden_size
    with torch.inference_mode():
        states = []
        for length in (8, 16, 32, 64, 96, 128, 160, 200) * 4:
            ids = torch.randint(1000, 30000, (1, length))
            ids[0, 0], ids[0, -1] = 101, 102
            states.append(model.bert(ids).last_hidden_state[0, 0])
        states = torch.stack(states)
        model.bert.pooler.dense.weight.normal_(0, 1 / dim ** .5)
        model.bert.pooler.dense.weight.div_((states - states.mean(0)).pow(2).sum(1).mean().sqrt() / dim ** .5)
        model.bert.pooler.dense.bias.copy_(-(states.mean(0) @ model.bert.pooler.dense.weight.T))
        model.classifier.weight.normal_()
        pooled = torch.tanh(states @ model.bert.pooler.dense.weight.T + model.bert.pooler.dense.bias)
        scores = pooled @ model.classifier.weight.T
        model.classifier.weight.div_(scores.std())
        model.classifier.bias.copy_(-scores.mean() / scores.std())


def make(shape):
    """The model's folder; made when it is missing, the same bytes every time."""
    folder = FOLDER / shape
    if (folder / "made").exists():
        return folder
    torch.manual_seed(20261124)
    model = random_model(shape).eval()
    scale_head(model)
    model.save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copyfile(MINILM / name, folder / name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.cls_token_id == 101 and len(tokenizer) == 30522
    (folder / "made").touch()
    return folder
