#!/usr/bin/env python3
"""Makes the tiny models of tests/golden/models and what PyTorch says of them.

    python3 tests/golden/models.py        # needs torch, transformers, safetensors

Every kind of model that weir opens, in every file format: seeded weights, sizes that are no power of two, a vocabulary
of some 60 pieces. expected.json beside each model: the texts (or query and texts) and, from fp32 PyTorch, the vectors or
logits. The files are committed; this script is here to say where they come from.
"""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
)

OUT = Path(__file__).parent / "models"
SIZES = {"dim": 20, "layers": 2, "heads": 4, "ffn": 36, "positions": 40}
WORDS = "the a of wind weir water river over flows stone bridge fish old new is what how 1 2 3 . , ? !".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS
VOCAB += [c for c in "abcdefghij"] + ["##" + c for c in "abcdefghijklmnorstuwy"]
TEXTS = [
    "water flows over the weir",
    "what is a weir?",
    "fish",
    "the old stone bridge of the river, the new stone bridge of the river. how old is the wind? 1 2 3!",
    "the " * 60,
    "",
    "unknown 漢字 pieces abba",
]
QUERY = "how old is the weir?"


def bert_config(layers=SIZES["layers"], **more):
    return BertConfig(
        vocab_size=len(VOCAB),
        hidden_size=SIZES["dim"],
        num_hidden_layers=layers,
        num_attention_heads=SIZES["heads"],
        intermediate_size=SIZES["ffn"],
        max_position_embeddings=SIZES["positions"],
        **more,
    )


def distil_config(**more):
    return DistilBertConfig(
        vocab_size=len(VOCAB),
        dim=SIZES["dim"],
        n_layers=SIZES["layers"],
        n_heads=SIZES["heads"],
        hidden_dim=SIZES["ffn"],
        max_position_embeddings=SIZES["positions"],
        **more,
    )


def seeded(model, seed):
    """Weights wide enough that attention and GELU leave their linear parts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            p.normal_(0, 0.3, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                p.add_(1)
    return model.eval()


def folder(name, config, dtype="float32"):
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    return path


def small(config, architecture):
    """The keys of a config.json that say anything."""
    keep = {
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
        "max_position_embeddings", "type_vocab_size", "hidden_act", "layer_norm_eps", "dim", "n_layers", "n_heads",
        "hidden_dim", "activation", "position_embedding_type",
    }
    found = {k: v for k, v in config.to_dict().items() if k in keep}
    return {"architectures": [architecture], **found}


def tensors(model, dtype=torch.float32):
    return {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}


def rounded(model, dtype):
    """The model with its weights rounded to dtype, computing in fp32: what a file of that dtype holds."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())
    return model


def tokenizer(path):
    return BertTokenizerFast(vocab=str(path / "vocab.txt"), do_lower_case=True)


def states(model, tok, texts, pair=None, limit=SIZES["positions"]):
    """One text at a time, so that no padding takes part (as lists: an empty second text is one all the same)."""
    for text in texts:
        given = ([pair], [text]) if pair is not None else ([text],)
        batch = tok(*given, truncation="longest_first", max_length=limit, return_tensors="pt")
        if isinstance(model, DistilBertModel) or "distil" in type(model).__name__.lower():
            batch.pop("token_type_ids", None)
        yield batch, model(**batch)


def expect(path, **what):
    (path / "expected.json").write_text(json.dumps(what, ensure_ascii=False, indent=1) + "\n")


def embedder(name, model, config, pool, normalize, limit, write):
    path = folder(name, config)
    write(path, model)
    vectors = []
    for batch, out in states(model, tokenizer(path), TEXTS, limit=limit):
        hidden = out.last_hidden_state[0]
        v = {"cls": hidden[0], "mean": hidden.mean(0), "max": hidden.max(0).values}[pool]
        vectors.append((torch.nn.functional.normalize(v, dim=0) if normalize else v).tolist())
    expect(path, texts=TEXTS, vectors=vectors)
    return path


def cross(name, model, config, write, score=lambda model, out: out.logits[0]):
    path = folder(name, config)
    write(path, model)
    logits = [score(model, out).tolist() for _, out in states(model, tokenizer(path), TEXTS, pair=QUERY)]
    expect(path, query=QUERY, texts=TEXTS, logits=logits)
    return path


def safetensors(dtype):
    return lambda path, model: save_file(tensors(model, dtype), path / "model.safetensors", metadata={"format": "pt"})


def pickled(dtype, zipped=True):
    return lambda path, model: torch.save(
        tensors(model, dtype), path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
    )


def sentence_transformer(path, pooling, limit):
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (path / "modules.json").write_text(json.dumps([
        {"idx": i, "name": str(i), "path": p, "type": "sentence_transformers.models." + t}
        for i, (p, t) in enumerate(modules)
    ], indent=1) + "\n")
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=1) + "\n")
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}) + "\n")


class Cat(torch.nn.Module):
    """matchmaker's re-ranker: a DistilBERT and one layer on the first token."""

    def __init__(self):
        super().__init__()
        self.bert_model = DistilBertModel(distil_config())
        self._classification_layer = torch.nn.Linear(SIZES["dim"], 1)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return self.bert_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


class Interaction(torch.nn.Module):
    """Query and passage as two texts that meet behind layer `join`, and their states compared (heads_interaction.h)."""

    def __init__(self, layers, exits):
        super().__init__()
        self.bert = BertModel(bert_config(layers), add_pooling_layer=False)
        self.heads = torch.nn.ModuleDict({p: self.head() for p in ["own"] + [f"exits{n}" for n in exits]})

    @staticmethod
    def head():
        dim = SIZES["dim"]
        head = torch.nn.ModuleDict({"term": torch.nn.Linear(dim, 1, bias=False), "passage": torch.nn.Linear(dim, 1)})
        head.register_parameter("weight", torch.nn.Parameter(torch.zeros(2)))
        return head

    def named(self):
        found = tensors(self.bert)
        for key, head in self.heads.items():
            prefix = "" if key == "own" else f"exits.{key[5:]}."
            found.update({f"{prefix}interaction.{k}": v for k, v in tensors(head).items()})
        return found

    def forward(self, parts, join, exit):
        def attend(layer, x):  # a tuple in older transformers
            out = layer(x)
            return out if torch.is_tensor(out) else out[0]

        x = [self.bert.embeddings(torch.tensor([ids])) for ids in parts]
        for layer in self.bert.encoder.layer[: min(join, exit)]:
            x = [attend(layer, part) for part in x]
        x = torch.cat(x, 1)
        for layer in self.bert.encoder.layer[min(join, exit) : exit]:
            x = attend(layer, x)
        q, p = x[0].split([len(ids) for ids in parts])
        head = self.heads[f"exits{exit}" if f"exits{exit}" in self.heads else "own"]
        c = torch.cosine_similarity(q.mean(0), p.mean(0), dim=0)
        terms, unit = q[1:-1], lambda v: torch.nn.functional.normalize(v, dim=-1)
        m = (head["term"](terms)[:, 0].softmax(0) * (unit(terms) @ unit(p).T).max(1).values).sum() if len(terms) else 0
        return head.weight[0] * c + head.weight[1] * m + head["passage"](p[0])[0]


def interaction(name, layers, exits, own, limit, seed):
    """exits are listed in config.json, `own` of them have heads of their own."""
    config = small(bert_config(layers), "BertForInteraction")
    path = folder(name, {**config, "join_layer": layers - 1, "exit_layers": exits})
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}) + "\n")
    model, tok = seeded(Interaction(layers, own), seed), tokenizer(path)
    save_file(model.named(), path / "model.safetensors", metadata={"format": "pt"})
    cases, cls, sep = [], tok.cls_token_id, tok.sep_token_id
    for query in (QUERY, "", "the stone " * 20):
        for join in range(layers + 1):
            for exit in range(1, layers + 1):
                scores = []
                for text in TEXTS:
                    cut = tok([query], [text], truncation="longest_first", max_length=limit - 4,
                              add_special_tokens=False, return_token_type_ids=True)
                    ids, second = cut["input_ids"][0], cut["token_type_ids"][0]
                    parts = [[cls] + [i for i, t in zip(ids, second) if t == part] + [sep] for part in (0, 1)]
                    scores.append(model(parts, join, exit).item())
                cases.append({"query": query, "join": join, "exit": exit, "scores": scores})
    lines = ",\n  ".join(json.dumps(c) for c in cases)
    texts = json.dumps(TEXTS, ensure_ascii=False)
    (path / "expected.json").write_text(f'{{\n "texts": {texts},\n "cases": [\n  {lines}\n ]\n}}\n')


def main():
    torch.set_num_threads(1)
    with torch.no_grad():
        interaction("bert-interaction", 3, [1, 2, 3], [1], 36, 7)

        path = embedder("bert-mean", seeded(BertModel(bert_config()), 1), small(bert_config(), "BertModel"), "mean",
                        True, 30, safetensors(torch.float32))
        sentence_transformer(path, {"word_embedding_dimension": 20, "pooling_mode_mean_tokens": True}, 30)

        embedder("distilbert-cls", seeded(DistilBertModel(distil_config()), 2),
                 small(distil_config(), "DistilBertModel"), "cls", False, SIZES["positions"], pickled(torch.float32))

        model = rounded(seeded(BertModel(bert_config(), add_pooling_layer=False), 3), torch.bfloat16)
        path = embedder("bert-max-bf16", model, small(bert_config(), "BertModel"), "max", True, 36,
                        safetensors(torch.bfloat16))
        sentence_transformer(path, {"embedding_dimension": 20, "pooling_mode": "max"}, 36)

        cross("bert-cross-stream", seeded(BertForSequenceClassification(bert_config(num_labels=1)), 4),
              small(bert_config(), "BertForSequenceClassification"), pickled(torch.float32, zipped=False))

        model = seeded(DistilBertForSequenceClassification(distil_config(num_labels=2)), 5)
        cross("distilbert-cross-f16", rounded(model, torch.float16),
              small(distil_config(), "DistilBertForSequenceClassification"), safetensors(torch.float16))

        config = {"architectures": ["BERT_Cat"], "model_type": "BERT_Cat", "bert_model": "distilbert-base-uncased",
                  **{k: v for k, v in small(distil_config(), "").items() if k not in ("model_type", "architectures")}}
        cross("distilbert-cat-f16", rounded(seeded(Cat(), 6), torch.float16), config, pickled(torch.float16),
              score=lambda model, out: model._classification_layer(out[0, 0]))


if __name__ == "__main__":
    main()
