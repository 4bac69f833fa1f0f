"""The encoder in PyTorch: BERT, whole or split and then joined, with exits; and the heads that weir has.

Tensors are named as in a Hugging Face BERT when exported (`state_for_export`), so weir and transformers read them alike.
"""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    """Post-norm transformer layer."""

    def __init__(self, dim, ffn, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-12)
        self.up = nn.Linear(dim, ffn)
        self.down = nn.Linear(ffn, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x, bias):
        rows, length, dim = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        a = attention(q, k, v, bias)
        x = self.norm1(x + self.out(a.transpose(1, 2).reshape(rows, length, dim)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


def attention(q, k, v, bias):
    """softmax(q k' / sqrt(d) + bias) v. On a CPU as two products: the fused kernel's backward pass takes a third of a step
    there, these two a tenth (32 passages of 100 tokens, one core of a Zen 4: 4.2 s against 2.9 s forward and back)."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    s = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias.to(q.dtype)
    return s.softmax(-1, dtype=torch.float32).to(v.dtype) @ v


# weir's name of a layer's part -> Hugging Face's
PARTS = {"out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
         "down": "output.dense", "norm2": "output.LayerNorm"}


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        dim = config["hidden_size"]
        self.word = nn.Embedding(config["vocab_size"], dim)
        self.position = nn.Embedding(config["max_position_embeddings"], dim)
        self.segment = nn.Embedding(config["type_vocab_size"], dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(Layer(dim, config["intermediate_size"], config["num_attention_heads"])
                                    for _ in range(config["num_hidden_layers"]))

    @classmethod
    def load(cls, folder):
        folder = Path(folder)
        self = cls(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        self.cls, self.sep = vocabulary["[CLS]"], vocabulary["[SEP]"]
        self.load_state_dict(self.renamed(floats(load_file(folder / "model.safetensors"))))
        return self

    def renamed(self, w):
        """Our names from Hugging Face's."""
        state = {"word.weight": w["embeddings.word_embeddings.weight"],
                 "position.weight": w["embeddings.position_embeddings.weight"],
                 "segment.weight": w["embeddings.token_type_embeddings.weight"]}
        for kind in ("weight", "bias"):
            state[f"norm.{kind}"] = w[f"embeddings.LayerNorm.{kind}"]
            for n in range(len(self.layers)):
                own, theirs = f"layers.{n}", f"encoder.layer.{n}"
                state[f"{own}.qkv.{kind}"] = torch.cat(
                    [w[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")])
                for part, name in PARTS.items():
                    state[f"{own}.{part}.{kind}"] = w[f"{theirs}.{name}.{kind}"]
        return state

    def state_for_export(self):
        """Hugging Face's names from ours."""
        s, out = self.state_dict(), {}
        out["embeddings.word_embeddings.weight"] = s["word.weight"]
        out["embeddings.position_embeddings.weight"] = s["position.weight"]
        out["embeddings.token_type_embeddings.weight"] = s["segment.weight"]
        for kind in ("weight", "bias"):
            out[f"embeddings.LayerNorm.{kind}"] = s[f"norm.{kind}"]
            for n in range(len(self.layers)):
                own, theirs = f"layers.{n}", f"encoder.layer.{n}"
                for part, value in zip(("query", "key", "value"), s[f"{own}.qkv.{kind}"].chunk(3)):
                    out[f"{theirs}.attention.self.{part}.{kind}"] = value
                for part, name in PARTS.items():
                    out[f"{theirs}.{name}.{kind}"] = s[f"{own}.{part}.{kind}"]
        return {k: v.detach().float().contiguous().clone() for k, v in out.items()}

    def padded(self, lists):
        """Token ids between [CLS] and [SEP] as one matrix, and where it is not padding."""
        length = max(map(len, lists)) + 2
        ids = torch.zeros(len(lists), length, dtype=torch.long)
        mask = torch.zeros(len(lists), length, dtype=torch.bool)
        for row, tokens in enumerate(lists):
            ids[row, : len(tokens) + 2] = torch.tensor([self.cls, *tokens, self.sep])
            mask[row, : len(tokens) + 2] = True
        return ids.to(self.word.weight.device), mask.to(self.word.weight.device)

    def embed(self, ids):
        x = self.word(ids) + self.position.weight[: ids.shape[1]] + self.segment.weight[0]
        return self.norm(x)

    def run(self, x, mask, first=0, last=None):
        """Layers first..last-1 over rows x [rows, length, dim] with a mask of what is no padding; a state per layer."""
        bias = torch.zeros(mask.shape, device=x.device).masked_fill(~mask, -1e4)[:, None, None]
        states = []
        for layer in self.layers[first:last]:
            x = layer(x, bias)
            states.append(x)
        return states


def floats(tensors):
    """Weights of bytes back to floats: I8 * weight_scale[out] * input_scale[in], as weir stores them."""
    out = {}
    for name, value in tensors.items():
        if name.endswith(("_scale",)):
            continue
        if value.dtype == torch.int8:
            stem = name.removesuffix("weight")
            value = value.float() * tensors[stem + "weight_scale"][:, None]
            if stem + "input_scale" in tensors:
                value = value * tensors[stem + "input_scale"][None]
        out[name] = value.float()
    return out


def by_length(lists, chunk):
    """Row numbers in chunks of like length, so that little is padding."""
    order = sorted(range(len(lists)), key=lambda row: (len(lists[row]), row))
    return [order[start:start + chunk] for start in range(0, len(order), chunk)]


def mean_pool(x, mask):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class DenseModel(nn.Module):
    """One vector a text: the mean of the last states, divided by its norm. A score is SCALE times an inner product."""

    SCALE = 20.0  # 1/.05, the temperature that all-MiniLM-L6-v2 was trained at

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def vectors(self, lists, chunk=32):
        out = [None] * len(lists)
        for rows in by_length(lists, chunk):
            ids, mask = self.encoder.padded([lists[row] for row in rows])
            x = self.encoder.run(self.encoder.embed(ids), mask)[-1]
            pooled = F.normalize(mean_pool(x.float(), mask), dim=-1)
            for place, row in enumerate(rows):
                out[row] = pooled[place]
        return torch.stack(out)


def late_interaction(q, qmask, p, pmask):
    """cos of means [n], and for each query token its largest cosine to a passage token [n, query length]."""
    cosine = F.cosine_similarity(mean_pool(q, qmask), mean_pool(p, pmask), dim=-1, eps=1e-12)
    s = F.normalize(q, dim=-1) @ F.normalize(p, dim=-1).transpose(1, 2)
    return cosine, s.masked_fill(~pmask[:, None], -1).amax(-1)


def words_only(mask):
    """The mask without [CLS] and [SEP]."""
    inner = mask.clone()
    inner[:, 0] = False
    inner[torch.arange(len(mask)), mask.sum(1) - 1] = False
    return inner


class InteractionHead(nn.Module):
    """s = w0 cos(mean q, mean p) + w1 sum_i a_i max_j cos(q_i, p_j) + v . p_[CLS] + b,  a = softmax_i(u . q_i).

    It starts as what the bi-encoder below it already knows: w = 1/.05 for both halves together, u = v = 0.
    """

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([10.0, 10.0]))
        self.term = nn.Linear(dim, 1, bias=False)
        self.passage = nn.Linear(dim, 1)
        for p in (self.term.weight, self.passage.weight, self.passage.bias):
            nn.init.zeros_(p)

    def forward(self, q, qmask, p, pmask):
        q, p = q.float(), p.float()
        cosine, best = late_interaction(q, qmask, p, pmask)
        inner = words_only(qmask)
        a = self.term(q)[..., 0].masked_fill(~inner, -1e9).softmax(-1) * inner
        return self.weight[0] * cosine + self.weight[1] * (a * best).sum(-1) + self.passage(p[:, 0])[..., 0]


class CrossModel(nn.Module):
    """Split, then joined: the first `join` layers see query and passage apart, the others both (PreTTR; Pyramid-ERNIE)."""

    def __init__(self, encoder, join, exits):
        super().__init__()
        self.encoder, self.join, self.exits = encoder, join, tuple(exits)
        self.heads = nn.ModuleDict({str(n): InteractionHead(encoder.config["hidden_size"]) for n in self.exits})

    @classmethod
    def load(cls, folder, join, exits):
        """From a bi-encoder, whose knowledge the fresh heads start with, or from a cross-encoder of this kind."""
        self = cls(Encoder.load(folder), join, exits)
        tensors, last = floats(load_file(Path(folder) / "model.safetensors")), len(self.encoder.layers)
        for n in self.exits:
            prefix = "" if n == last else f"exits.{n}."
            if prefix + "interaction.weight" in tensors:
                self.heads[str(n)].load_state_dict({
                    name: tensors[f"{prefix}interaction.{name}"]
                    for name in ("weight", "term.weight", "passage.weight", "passage.bias")})
        return self

    def scores(self, queries, passages, of, chunk=32, deepest=None):
        """{exit: scores [n]} of passages[i] for queries[of[i]]."""
        encoder, deepest = self.encoder, deepest or max(self.exits)
        device = encoder.word.weight.device
        ids, qmask = encoder.padded(queries)
        start_q = encoder.embed(ids)
        q = encoder.run(start_q, qmask, 0, min(self.join, deepest))
        out = {n: [None] * len(passages) for n in self.exits if n <= deepest}
        for rows in by_length(passages, chunk):
            ids, pmask = encoder.padded([passages[row] for row in rows])
            start_p = encoder.embed(ids)
            p = encoder.run(start_p, pmask, 0, min(self.join, deepest))
            pick = torch.tensor([of[row] for row in rows], device=device)
            longest = int(qmask[pick].sum(1).max())
            m = qmask[pick][:, :longest]
            states = {n + 1: (q[n][pick][:, :longest], p[n]) for n in range(len(p))}
            if deepest > self.join:
                apart = states[self.join] if self.join else (start_q[pick][:, :longest], start_p)
                joint = encoder.run(torch.cat(apart, 1), torch.cat([m, pmask], 1), self.join, deepest)
                states.update({self.join + n + 1: (x[:, :longest], x[:, longest:]) for n, x in enumerate(joint)})
            for n in out:
                for place, score in enumerate(self.heads[str(n)](states[n][0], m, states[n][1], pmask)):
                    out[n][rows[place]] = score
        return {n: torch.stack(s) for n, s in out.items()}

    def state_for_export(self):
        out = self.encoder.state_for_export()
        for n in self.exits:
            prefix = "" if n == len(self.encoder.layers) else f"exits.{n}."
            head = self.heads[str(n)]
            out[prefix + "interaction.weight"] = head.weight.detach().float().clone()
            out[prefix + "interaction.term.weight"] = head.term.weight.detach().float().clone()
            out[prefix + "interaction.passage.weight"] = head.passage.weight.detach().float().clone()
            out[prefix + "interaction.passage.bias"] = head.passage.bias.detach().float().clone()
        return out


class SparseHead(nn.Module):
    """What a text says about every token of the vocabulary (BERT's masked-language-model head, tied to the embeddings):

        h = LayerNorm(gelu(x W' + b)),   m[v] = max over positions of h . words[v] + bias[v]
        w[v] = ln(1 + ln(1 + relu(m[v])))     the double logarithm of arXiv 2504.14839; special tokens weigh nothing
    """

    def __init__(self, words):
        super().__init__()
        self.register_buffer("words", words.detach().clone(), persistent=False)
        dim = words.shape[1]
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(len(words)))

    def start(self, states, own, seen, gain=6.0, threshold=0.22, salience=2.0, small=0.02):
        """From nothing but the encoder: m[v] is about gain (|p| / sqrt(|p|^2 + salience^2) cos(p, own[v]) - threshold).

        own [vocab, dim]: the unit state of a token that stands alone, which is what late interaction would look for if a
        query's words did not see each other. words A' ~ own by least squares, so p A . words[v] ~ p . own[v]; tokens that
        are `seen` (bool [vocab]) count twenty times as much. GELU is x/2 near zero: A is made small, and LayerNorm's gain
        makes it large again. An encoder that was trained for its mean gives its keywords long states and the rest short
        ones (12 and 2 in an abstract); LayerNorm would forget that, so the bias b lies where no word looks, across all rows
        of words, and takes the larger share of h the shorter A p is. On the pools of ten collections the head then ranks at
        .525 before training, at .514 without (salience 0). Threshold .22 leaves some 200 tokens of a passage; gain 6 spreads the logarithms.
        """
        weight = torch.where(seen, 1.05, 0.05).sqrt()[:, None]
        a = torch.linalg.lstsq(self.words * weight, own * weight).solution
        dim = len(a)
        across = torch.cat([self.words, torch.full((1, dim), len(self.words) ** 0.5)])
        blind = torch.linalg.eigh(across.T @ across).eigenvectors[:, 0]
        with torch.no_grad():
            unit = F.normalize(states, dim=1)
            raw = (unit @ a.T).norm(dim=1).mean()
            self.dense.weight.copy_(small * a)
            self.dense.bias.copy_(small * salience * raw * blind)
            self.norm.weight.fill_(float(gain * raw / dim ** 0.5))
            self.norm.bias.zero_()
            self.bias.fill_(-gain * threshold)

    def hidden(self, states):
        return self.norm(F.gelu(self.dense(states)))

    def largest(self, texts, tokens):
        """m [texts, tokens] where it is above 0, else 0; texts: a list of states [length, dim].

        Only the position that won has a gradient, so the product over all positions is made without one, and the winners
        alone (a twentieth of all) are multiplied again with one.
        """
        lengths = [len(x) for x in texts]
        h = self.hidden(torch.cat(texts).to(self.dense.weight.device))
        words, bias = self.words[tokens], self.bias[tokens]
        with torch.no_grad():
            logits = (words.to(h.dtype) @ h.detach().T).split(lengths, dim=1)
            best = [part.max(1) for part in logits]
            starts = [sum(lengths[:n]) for n in range(len(lengths))]
            value = torch.stack([b.values for b in best]).float() + bias
            place = torch.stack([b.indices + start for b, start in zip(best, starts)])
            text, token = (value > 0).nonzero(as_tuple=True)
        winners = h.float()[place[text, token]]
        logit = (winners * words[token]).sum(1) + bias[token]
        return torch.zeros_like(value).index_put((text, token), logit)

    def weights(self, texts, tokens):
        return torch.log1p(torch.log1p(self.largest(texts, tokens).clamp(min=0)))

    def state_for_export(self):
        name = "cls.predictions."
        out = {name + "transform.dense.weight": self.dense.weight, name + "transform.dense.bias": self.dense.bias,
               name + "transform.LayerNorm.weight": self.norm.weight, name + "transform.LayerNorm.bias": self.norm.bias,
               name + "bias": self.bias}
        return {k: v.detach().float().contiguous().clone() for k, v in out.items()}
