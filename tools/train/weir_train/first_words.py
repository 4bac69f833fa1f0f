"""What the decoder's words mean: one vector a token, learnt so that the mean of a text's tokens is what an encoder says of it.

    min sum over texts of |mean_i s(token_i) - P e(text)|^2,  P: the encoder's first principal axes of the pool's passages,
                                                              P e(text) made a unit vector

Sixty times as cheap as a step of the decoder, so a hundred thousand texts take a minute on one core. It starts from what the
encoder says of each token's text alone, common tokens small (SIF: a / (a + p)); the lengths of s become weights of words by
themselves. Trained on lists instead (RankNet) the table learnt its queries by heart: .741 of held-out pseudo-queries became
.758, then .744, and real questions fell from .919 to .889. Texts of queries that are held out take no part; their passages do.
"""
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from . import model, teacher


@torch.inference_mode()
def alone(base, tokenizer):
    """[vocab, encoder's width]: what the encoder says of each token's text alone, of norm 1."""
    encoder, words = model.Encoder.load(base).eval(), teacher.Words(base)
    texts = [tokenizer.decode([n], skip_special_tokens=False).strip() for n in range(tokenizer.get_vocab_size())]
    vectors = torch.zeros(len(texts), encoder.config["hidden_size"])

    def take(row, states):
        vectors[row] = states.float().mean(0)

    teacher.encode_states(encoder, words.ids(texts, 16), 256, torch.device("cpu"), take)
    return F.normalize(vectors, dim=1)


def axes_of(x, dim):
    """Principal axes [width, dim] of rows, signs fixed by their largest number."""
    x = x.double()
    axes = torch.linalg.eigh(x.T @ x).eigenvectors.flip(1)[:, :dim]
    axes *= torch.sign(axes[axes.abs().argmax(0), torch.arange(axes.shape[1])])
    return axes.float()


def mean_of(table, lists):
    lengths = torch.tensor([len(ids) for ids in lists])
    return F.embedding_bag(torch.tensor([t for ids in lists for t in ids]), table, torch.cumsum(lengths, 0) - lengths, mode="mean")


def texts_of(prompts, made, texts, training, limit):
    """[(token ids, row of the passages' means or of the queries')]: passages cut to a prompt's words and longer, and queries,
    each as the prompt has them."""
    def encode(batch):
        return [e.ids for e in prompts.tokenizer.encode_batch(batch, add_special_tokens=False)]

    out = []
    for words in (limit, 150):
        rows = [(n, w) for n, text in enumerate(texts) if (w := prompts.words(n, text)) and (words == limit or len(w) > limit)]
        out += [(ids, False, n) for ids, (n, _) in zip(encode([" " + " ".join(w[:words]) for _, w in rows]), rows)]
    asked = encode([": " + " ".join(made.queries[i].split()) + "." for i in training])
    return out + [(ids, True, i) for ids, i in zip(asked, training)] * 2


def learn(work, base, prompts, made, texts, training, dim, limit, seed, epochs=10, batch=256, rate=5e-3):
    """(s [vocab, dim], the encoder's vectors of lone tokens). training: numbers of the queries that may be learnt from."""
    work, generator = Path(work), np.random.default_rng(seed)
    means = [torch.from_numpy(np.load(work / folder / "means.npy")) for folder in ("states", "query_states")]
    axes = axes_of(means[0], dim)
    wanted = [F.normalize(m @ axes, dim=1) for m in means]
    items = texts_of(prompts, made, texts, training, limit)
    count = np.bincount([t for ids, _, _ in items for t in ids], minlength=prompts.tokenizer.get_vocab_size())
    share = torch.from_numpy(count / count.sum()).float()
    lone = alone(base, prompts.tokenizer)
    table = torch.nn.Parameter((lone - lone.mean(0)) @ axes * (2.5e-3 / (1e-3 + share))[:, None])
    optimizer = torch.optim.Adam([table], lr=rate)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = rate * (1 - epoch / epochs)
        order, total = generator.permutation(len(items)), 0.0
        for start in range(0, len(items), batch):
            some = [items[k] for k in order[start:start + batch]]
            target = torch.stack([wanted[asked][row] for _, asked, row in some])
            loss = ((mean_of(table, [ids for ids, _, _ in some]) - target) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(some)
        print(f"words, epoch {epoch + 1} of {epochs}: squared distance {total / len(items):.4f}", flush=True)
    return table.detach(), lone
