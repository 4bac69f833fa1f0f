"""Where the decoder starts: a late interaction written into its heads, so that training begins at ranking and not at noise.

Half an hour on one core does not teach a random decoder that equal words in query and passage matter (RankNet stayed at
chance for 250 steps). The prompt's form is fixed, though, and five layers of attention can be given what it needs by hand:

    behind  a token looks at the one before it and copies a letter's code: the "]" of "[A]" knows its letter
    tag     a token looks for the nearest anchor before it ("]", the "Query" of "Search Query:", or a word of the
            instructions) and copies its code: each passage's tokens know their letter, the query's know that they are it
    vote    (two layers) a token of the query looks for like words in passages and takes the letters found: sum_i softmax(g
            cos(q, p_i)) letter(p_i). A word that all passages have says nothing, one that a single passage has says much
    gather  the last position, the forced "[", takes the mean of the votes, rare words counting more, and what first place is
            worth before anything is read

What finds nothing looks at the prompt's first token, which has no code.

Likeness is the encoder's: a token's embedding is what it says of that token alone. All of it is ordinary weights, which
training then moves; the other heads, all feed-forward layers and half of each layer's keys start as small random numbers.
"""
import numpy as np
import torch

from . import listwise

CODE, ANCHOR, QUERY, BLANK, PASSAGE, RARE, SINK, ASKED = 0, 20, 21, 22, 23, 24, 25, 26  # behind the words' dimensions; 20 letters
INSTRUCTIONS = ["Rank", " Answer", "assistant"]


def one(tokenizer, text):
    """The first token of a text as the prompt has it."""
    return tokenizer.encode(text, add_special_tokens=False).ids[0]


def mark(weight, tokenizer, words):
    """Embeddings of anchors; all have the same norm, so that RMSNorm leaves their marks alike."""
    for n, letter in enumerate(listwise.LETTERS):
        row = weight[tokenizer.token_to_id(letter)].zero_()
        row[words + CODE + n] = 1
    row = weight[tokenizer.token_to_id("]")].zero_()
    row[words + ANCHOR] = row[words + PASSAGE] = 1
    for text in INSTRUCTIONS:
        row = weight[one(tokenizer, text)]
        row *= 0.3 / row.norm()
        row[words + ANCHOR], row[words + BLANK] = 1, 1.38
    row = weight[one(tokenizer, " Query")].zero_()
    row[words + ANCHOR], row[words + QUERY] = 1, 2 ** 0.5
    row = weight[tokenizer.token_to_id("<|im_start|>")].zero_()
    row[words + SINK] = 1


def nearness(turns, longest, top=60.0, fall=14.0):
    """Amplitudes A with sum_i A_i cos(turns_i d) ~ top - fall ln(1 + d / 8) for distances d up to `longest`: least squares,
    near distances counting more."""
    d = np.arange(longest, dtype=np.float64)
    x = np.cos(d[:, None] * turns[None].astype(np.float64))
    weight = 1 / np.sqrt(1 + (d / 60) ** 2)
    a = np.linalg.solve((x * weight[:, None] ** 2).T @ x + 1e-3 * np.eye(len(turns)), x.T @ (weight ** 2 * (top - fall * np.log1p(d / 8))))
    return torch.from_numpy(a).float()


@torch.no_grad()
def put(student, tokenizer, vectors, rare, seed, gains=(10.0, 10.0), prior=1.0, gathered=0.9, weigh=0.8, sink=20.0, most=0.2, steep=7.0):
    """vectors [vocab, words]: rows of norm 1; rare [vocab]: idf in standard deviations. Everything in units of RMSNorm's output, where a row of norm 1 has norm 16."""
    c, dim, words = student.config, student.config["hidden_size"], vectors.shape[1]
    generator = torch.Generator().manual_seed(seed + 1)
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    size, times, unit = dim // heads, heads // kv, dim ** 0.5
    half = size // 2
    turns = c["rope_theta"] ** (-np.arange(half) / half)
    slow = [i for i in range(half) if turns[i] * c["max_position_embeddings"] < 0.25]
    still = [i for i in slow] + [i + half for i in slow]  # dimensions of a head that RoPE hardly turns within a prompt
    student.norm.fill_(0.25)  # rows of norm 1 would give logits of 16: sure of everything before it has seen anything
    student.embed.weight[:, :words] = vectors
    student.embed.weight[:, words:words + 27] = 0
    student.embed.weight[:, words + RARE] = 0.3 * rare
    mark(student.embed.weight, tokenizer, words)
    letters = range(20)

    def copy(layer, head, marks, gain):
        """Values of `marks` pass through the head as they are, times gain."""
        value = (heads + kv + head // times) * size
        for n, m in enumerate(marks):
            to = ASKED if m == QUERY else m
            layer.qkv.weight[value + n] = 0
            layer.qkv.weight[value + n, words + m] = 1
            layer.out.weight[:, head * size + n] = 0
            layer.out.weight[words + to, head * size + n] = gain

    for layer in student.layers:  # nothing random speaks for a letter: what all tokens have in common would favour some
        layer.out.weight[words:words + 27] = 0
        layer.down.weight[words:words + 27] = 0
    behind, tag, votes, gather = student.layers[0], student.layers[1], student.layers[2:-1], student.layers[-1]
    behind.qkv.weight[:size], behind.qkv.weight[heads * size:(heads + 1) * size] = 0, 0
    for n, amplitude in enumerate((16, 12, 8, 6, 4, 4, 4, 4, 4)):  # sum_n A_n cos(turn_n (d - 1)): highest one token back
        a = (amplitude * size ** 0.5) ** 0.5
        behind.qkv.bias[n], behind.qkv.bias[n + half] = a * np.cos(turns[n]), -a * np.sin(turns[n])
        behind.qkv.bias[heads * size + n] = a
    copy(behind, 0, letters, 1 / unit)
    a = nearness(turns, c["max_position_embeddings"]) * size ** 0.5
    q, k = tag.qkv.weight[:size], tag.qkv.weight[heads * size:(heads + 1) * size]
    q.zero_(), k.zero_()
    tag.qkv.bias[:half] = a.abs().sqrt() * a.sign()
    k[:half, words + ANCHOR] = a.abs().sqrt() / (unit / 3 ** 0.5)
    copy(tag, 0, [*letters, QUERY, PASSAGE], 0.7 / (unit / 3 ** 0.5))
    for layer in votes:
        for group in range(kv):
            p = torch.zeros(size, dim)
            own = torch.linalg.qr(torch.randn(words, len(still) - 4, generator=generator)).Q.T
            places = [s for s in still if s % half not in slow[-2:]]
            p[places, :words] = own
            # q . k / sqrt(size) of equal words: gain. A tagged word has about .7 of its norm in the words' dimensions.
            scale = (size ** 0.5 / (0.5 * unit ** 2 * (len(places) / words))) ** 0.5
            key = (heads + group) * size
            layer.qkv.weight[key:key + size] = p * scale
            layer.qkv.weight[key + slow[-1], words + PASSAGE] = 1
            layer.qkv.weight[key + slow[-2], words + SINK] = 1
            for n in range(times):
                head = group * times + n
                row = layer.qkv.weight[head * size:(head + 1) * size]
                row.copy_(p * scale * gains[n % len(gains)])
                row[slow[-1], words + ASKED] = 14 * size ** 0.5 / (0.5 * unit) ** 2 / 1.25
                layer.qkv.bias[head * size + slow[-2]] = sink * size ** 0.5 / unit
                copy(layer, head, letters, 1 / (2 * (len(votes) * heads)) / (0.25 * unit))
    # Neurons that take off what a letter has beyond `most` of a word's vote: relu(x - most) as silu(steep (x - most)) / steep.
    ffn, last = c["intermediate_size"], votes[-1]
    for n in letters:
        gate, up = last.up.weight[n].zero_(), last.up.weight[ffn + n].zero_()
        gate[words + CODE + n], gate[words + ASKED] = steep, -steep * most / 0.95
        up[words + ASKED] = 1 / (0.65 * unit)
        last.down.weight[:, n] = 0
        last.down.weight[words + CODE + n, n] = -0.9 / (steep * 0.68 * unit)
    q, k = gather.qkv.weight[:size], gather.qkv.weight[heads * size:(heads + 1) * size]
    q.zero_(), k.zero_()
    gather.qkv.bias[slow[-1]] = size ** 0.5 * 12 / (0.3 * unit)
    k[slow[-1], words + ASKED] = 1
    gather.qkv.bias[slow[-2]] = size ** 0.5 * weigh / (0.3 * 0.4 * unit)
    k[slow[-2], words + RARE] = 1
    copy(gather, 0, letters, gathered)
    gather.qkv.bias[(heads + kv) * size:(heads + kv) * size + 20] = prior / gathered * (1 - 2 * torch.arange(1, 21).log() / np.log(20))
    return student
