"""The first teacher: the base bi-encoder read twice, as it was trained (cosine of means) and token by token.

Late interaction (ColBERT's sum of maxima, arXiv 2004.12832) over the states of a model that was only trained for its mean
ranks better than the mean does, and costs a passage one pass. Its states are kept on disk, so that every later score, of
mined lists and of whole batches (TAS-Balanced's in-batch teacher), is one small matrix product.
"""
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from .loop import autocast
from .model import by_length


class Words:
    """Texts to token ids without specials, cut."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts, longest):
        out = []
        for start in range(0, len(texts), 4096):
            batch = self.tokenizer.encode_batch(texts[start:start + 4096], add_special_tokens=False)
            out += [encoding.ids[:longest] for encoding in batch]
        return out


@torch.inference_mode()
def encode_states(encoder, lists, chunk, device, take):
    """Calls take(row, states [tokens, dim]) for each list of token ids."""
    for rows in by_length(lists, chunk):
        ids, mask = encoder.padded([lists[row] for row in rows])
        with autocast(device):
            x = encoder.run(encoder.embed(ids), mask)[-1]
        x = x.cpu()
        for place, row in enumerate(rows):
            take(row, x[place, : len(lists[row]) + 2])


class States:
    """Token states of texts (unit vectors unless written with unit=False) and their unit means, bf16 and fp32 on disk:
    `states.bin` [sum of lengths, dim], `means.npy` [texts, dim], `offsets.npy` [texts + 1]. [CLS] and [SEP] are the first
    and last row of each."""

    def __init__(self, folder):
        folder = Path(folder)
        self.offsets = np.load(folder / "offsets.npy")
        self.means = torch.from_numpy(np.load(folder / "means.npy"))
        dim = self.means.shape[1]
        self.flat = torch.from_file(str(folder / "states.bin"), shared=False, size=int(self.offsets[-1]) * dim,
                                    dtype=torch.bfloat16).view(-1, dim)

    @classmethod
    def write(cls, folder, encoder, lists, device, chunk=32, unit=True):
        folder = Path(folder)
        if (folder / "means.npy").exists():  # written last
            return cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        dim = encoder.config["hidden_size"]
        offsets = np.concatenate([[0], np.cumsum([len(t) + 2 for t in lists])]).astype(np.int64)
        flat = torch.from_file(str(folder / "states.bin"), shared=True, size=int(offsets[-1]) * dim,
                               dtype=torch.bfloat16).view(-1, dim)
        means = np.zeros((len(lists), dim), dtype=np.float32)

        def take(row, states):
            states = states.float()
            means[row] = F.normalize(states.mean(0), dim=0).numpy()
            flat[offsets[row]:offsets[row + 1]] = (F.normalize(states, dim=-1) if unit else states).to(torch.bfloat16)

        encode_states(encoder, lists, chunk, device, take)
        np.save(folder / "offsets.npy", offsets)
        np.save(folder / "means.npy", means)
        return cls(folder)

    def of(self, number):
        return self.flat[self.offsets[number]:self.offsets[number + 1]]

    def rows(self, numbers):
        """Unit states of some texts one behind the other [sum of lengths, dim], and their lengths."""
        parts = [self.of(n) for n in numbers]
        return torch.cat(parts), torch.tensor([len(p) for p in parts])


def late_interaction(words, flat, lengths):
    """The mean over a query's words [n, dim] of the largest cosine to a row of each text [texts]."""
    if not len(words):
        return torch.zeros(len(lengths))
    best = torch.segment_reduce((flat @ words.T).float(), "max", lengths=lengths, axis=0)
    return best.mean(1)


@torch.inference_mode()
def list_scores(query_states, states, query, passages):
    """(cosines of means, late interaction) of one query with some passages."""
    flat, lengths = states.rows(passages)
    return states.means[passages] @ query_states.means[query], late_interaction(query_states.of(query)[1:-1], flat, lengths)


@torch.inference_mode()
def batch_scores(query_states, queries, states, passages, late_gain):
    """The base model's scores of all queries with all passages [queries, passages]: cos + late_gain * late interaction."""
    flat, lengths = states.rows(passages)
    late = [late_interaction(query_states.of(q)[1:-1], flat, lengths) for q in queries]
    return query_states.means[queries] @ states.means[passages].T + late_gain * torch.stack(late)


@torch.inference_mode()
def read_both_ways(query_states, queries, states, passages, late_gain):
    """As batch_scores(), of states that are no unit vectors; one product for all queries."""
    flat, lengths = states.rows(passages)
    words = [query_states.of(q)[1:-1] for q in queries]
    counts = [len(x) for x in words]
    product = F.normalize(torch.cat(words), dim=-1) @ F.normalize(flat, dim=-1).T
    best = torch.stack([part.amax(1).float() for part in product.split(lengths.tolist(), dim=1)], 1)
    late = torch.stack([part.mean(0) if len(part) else torch.zeros(len(passages)) for part in best.split(counts)])
    return query_states.means[queries] @ states.means[passages].T + late_gain * late


@torch.inference_mode()
def apart_scores(folder, student, layer, queries, passages, offsets, cand):
    """A cross-encoder's scores at an exit before query and passage are joined: each is encoded once, so that every pair of
    every list costs one small product. cand[offsets[i]:offsets[i + 1]] are query i's passages; in the order of cand."""
    encoder, head = student.encoder, student.heads[str(layer)]
    states = States.write(folder, Truncated(encoder, layer), passages, encoder.word.weight.device, unit=False)
    values, asked = np.zeros(len(cand), dtype=np.float32), {}

    def take(row, x):
        asked[row] = x.float()

    encode_states(Truncated(encoder, layer), queries, 64, encoder.word.weight.device, take)
    for i, q in asked.items():
        numbers = cand[offsets[i]:offsets[i + 1]].tolist()
        if not numbers or len(q) < 3:
            continue
        flat, lengths = states.rows(numbers)
        first = torch.cumsum(lengths, 0) - lengths
        share = head.term(q[1:-1])[:, 0].softmax(0)
        best = [part.max(0).values.float() for part in
                (F.normalize(flat, dim=-1) @ F.normalize(q[1:-1], dim=-1).to(flat.dtype).T).split(lengths.tolist())]
        cosine = states.means[numbers] @ F.normalize(q.mean(0), dim=0)
        values[offsets[i]:offsets[i + 1]] = (head.weight[0] * cosine + head.weight[1] * (torch.stack(best) @ share)
                                             + head.passage(flat[first].float())[:, 0]).numpy()
    return values


def add_cross(made, student, words, folder, texts, tokens):
    """The teacher `cross`: exit 4 of a split-then-joined cross-encoder (models/weir-cross), for every passage of every list."""
    made.add("cross", apart_scores(folder, student, 4, words.ids(made.queries, 48), words.ids(texts, tokens), made.offsets,
                                   made.cand))


class Truncated:
    """The first layers of an encoder, as encode_states() takes one."""

    def __init__(self, encoder, layers):
        self.encoder, self.layers, self.config = encoder, layers, encoder.config

    def padded(self, lists):
        return self.encoder.padded(lists)

    def embed(self, ids):
        return self.encoder.embed(ids)

    def run(self, x, mask):
        return self.encoder.run(x, mask, 0, self.layers)
