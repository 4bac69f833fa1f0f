#!/usr/bin/env python3
"""Makes the tiny learned sparse models of tests/golden/models and what PyTorch says of them.

    python3 tests/golden/sparse_models.py        # needs torch, transformers, safetensors

Both architectures, the three layouts: OpenSearch's (a masked language model and idf.json), sentence-transformers' Router
(query_0_SparseStaticEmbedding, document_1_SpladePooling) and its plain SPLADE, where queries go through the model. The
decoder is tied in two of them and a matrix of its own in the third. expected.json beside each model: texts, and for each
as a document and as a query the weights of the tokens that have any, by id. The files are committed.
"""
import json

import torch
from safetensors.torch import save_file
from transformers import BertForMaskedLM, DistilBertForMaskedLM

import models as m

# A vocabulary that is longer than one tile of the decoder.
m.VOCAB += [f"[unused{i}]" for i in range(400)]
QUERIES = m.TEXTS + ["What is a weir? A WEIR is a weir"]
SPECIAL = range(5)


def weights(z, logs, ratio=0.0):
    """papers: OpenSearch's opensearch-py-ml; z [tokens, vocab] of one text."""
    w = torch.log1p(torch.relu(z.max(0).values))
    if logs == 2:
        w = torch.log1p(w)
    w[list(SPECIAL)] = 0
    w = w * (w > ratio * w.max())
    return {i: w[i].item() for i in w.nonzero().flatten().tolist()}


def encoded(model, tok, texts, logs, ratio=0.0, limit=m.SIZES["positions"]):
    return [weights(out.logits[0], logs, ratio) for _, out in m.states(model, tok, texts, limit=limit)]


def looked_up(tok, table, texts):
    ids = [set(tok(t, add_special_tokens=False)["input_ids"]) - set(SPECIAL) for t in texts]
    return [{i: table[i] for i in sorted(s) if table[i] > 0} for s in ids]


def table(seed):
    """As published ones: every token has a weight, specials 1."""
    generator = torch.Generator().manual_seed(seed)
    t = (torch.rand(len(m.VOCAB), generator=generator) * 10).tolist()
    return [1.0 if i in SPECIAL or "unused" in m.VOCAB[i] else round(w, 6) for i, w in enumerate(t)]


def write(path, model, tied):
    t = m.tensors(model)
    for name in [n for n in t if "decoder" in n and (tied or n.endswith("bias")) or tied and n == "vocab_projector.weight"]:
        del t[name]
    save_file(t, path / "model.safetensors", metadata={"format": "pt"})


def text(path, name, value):
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(json.dumps(value, indent=1) + "\n")


def wide(model, seed, name):
    """Weights so that about a third of the logits' maxima are above 0."""
    m.seeded(model, seed)
    bias = dict(model.named_parameters())[name]
    bias.copy_(torch.randn(bias.shape, generator=torch.Generator().manual_seed(seed)) - 2)
    return model


def opensearch():
    model = wide(BertForMaskedLM(m.bert_config()), 11, "cls.predictions.bias")
    path = m.folder("bert-sparse-idf", m.small(m.bert_config(), "BertForMaskedLM"))
    write(path, model, tied=True)
    t = table(12)
    text(path, "idf.json", dict(zip(m.VOCAB, t)))
    tok = m.tokenizer(path)
    m.expect(path, texts=QUERIES, documents=encoded(model, tok, QUERIES, 1), pruned=encoded(model, tok, QUERIES, 1, 0.5),
             queries=looked_up(tok, t, QUERIES))


def pooling(path, folder, act):
    text(path, folder + "/config.json", {"pooling_strategy": "max", "activation_function": act,
                                         "word_embedding_dimension": len(m.VOCAB)})


def router():
    config = m.distil_config(tie_word_embeddings=False)
    model = wide(DistilBertForMaskedLM(config), 13, "vocab_projector.bias")
    path = m.folder("distilbert-sparse-router", m.small(m.distil_config(), "DistilBertForMaskedLM"))
    write(path, model, tied=False)
    base = "sentence_transformers.sparse_encoder.models."
    text(path, "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}])
    text(path, "router_config.json", {
        "types": {"query_0_SparseStaticEmbedding": base + "SparseStaticEmbedding", "": base + "MLMTransformer",
                  "document_1_SpladePooling": base + "SpladePooling"},
        "structure": {"query": ["query_0_SparseStaticEmbedding"], "document": ["", "document_1_SpladePooling"]},
        "parameters": {"default_route": "document", "allow_empty_key": True}})
    pooling(path, "document_1_SpladePooling", "log1p_relu")
    t = torch.tensor(table(14))
    text(path, "query_0_SparseStaticEmbedding/config.json", {"frozen": False})
    save_file({"weight": t}, path / "query_0_SparseStaticEmbedding" / "model.safetensors", metadata={"format": "pt"})
    tok = m.tokenizer(path)
    m.expect(path, texts=QUERIES, documents=encoded(model, tok, QUERIES, 2), pruned=encoded(model, tok, QUERIES, 2, 0.5),
             queries=looked_up(tok, t.tolist(), QUERIES))


def splade():
    model = wide(DistilBertForMaskedLM(m.distil_config()), 15, "vocab_projector.bias")
    path = m.folder("distilbert-splade", m.small(m.distil_config(), "DistilBertForMaskedLM"))
    write(path, model, tied=True)
    base = "sentence_transformers.sparse_encoder.models."
    text(path, "modules.json", [{"idx": 0, "name": "0", "path": "", "type": base + "MLMTransformer"},
                                {"idx": 1, "name": "1", "path": "1_SpladePooling", "type": base + "SpladePooling"}])
    pooling(path, "1_SpladePooling", "relu")
    text(path, "sentence_bert_config.json", {"max_seq_length": 30})
    tok = m.tokenizer(path)
    documents = encoded(model, tok, QUERIES, 1, limit=30)
    m.expect(path, texts=QUERIES, documents=documents, pruned=encoded(model, tok, QUERIES, 1, 0.5, limit=30),
             queries=documents)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        opensearch()
        router()
        splade()
