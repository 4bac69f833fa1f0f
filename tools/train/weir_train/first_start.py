"""Where the decoder starts: a program for FIRST's prompt written into its heads, so that training begins at ranking and not at noise.

An hour on one core does not teach a random decoder that a passage can be about what a query asks (RankNet stayed at chance).
The prompt's form is fixed, though, and five layers of attention can be given what it needs by hand:

    behind  a token looks at the one before it and receives its code: the "]" of "[A]" knows its letter. The feed-forward
            layer says which are anchors for certain: "]" with a letter, "Query" behind "Search", "Rank" on a new line, ...
    tag     a token looks for the nearest anchor before it and takes its code: each passage's tokens know their letter,
            the query's that they are asked for, the instructions' that they are neither
    mean    the newline that ends a passage takes the mean of the passage's words, the forced "[" that of the query's
    give    the token behind that newline, "[" or "Search", takes the mean from it: RMSNorm has made its norm one
    order   the forced "[" looks at these: softmax_p(gain cos(query, passage) + prior(place)) of letter p

The words' meanings are first_words.py's, whose means are worth comparing. prior is what the place in BM25's order is worth
before anything is read. All of it is ordinary weights, which training then moves. Everything else starts small: half of a
token's dimensions are what the encoder says of it alone; other heads and feed-forward layers write nothing yet.
"""
import numpy as np
import torch

from . import listwise

# Behind the meaning: what a token tells the next one, what it was told, whose it is. 20 letters, the query, the instructions.
CODE, TOLD, TAG, ASKED, BLANK = 0, 22, 44, 20, 21
ANCHOR, CERTAIN, END, WORD, OPEN, SINK, MARKS = 66, 67, 68, 69, 70, 71, 72
# A token and the one behind it, which is an anchor then. The other 20 are letters and "]".
PAIRS = [("Search", " Query", ASKED), ("\n", "Rank", BLANK), ("],", " Answer", BLANK), ("<|im_start|>", "system", BLANK),
         ("<|im_start|>", "user", BLANK), ("<|im_start|>", "assistant", BLANK)]
SMALL, LARGE = 0.3, 0.91 ** 0.5  # of a row of norm 1
GIVEN = 0.7  # amplitude of what attention writes into a token of norm 1
SHARP = (24, 18, 14, 10, 8, 8, 6, 6, 6, 6)  # amplitudes of a head that looks one token back: all others have e^-15 at most
MEAN, PASSAGE = 8.0, 4.0  # amplitudes of a mean as it is taken and as it is given: they outweigh marks, so that products are cosines


def one(tokenizer, text):
    """The first token of a text as the prompt has it."""
    return tokenizer.encode(text, add_special_tokens=False).ids[0]


def embeddings(weight, tokenizer, meaning, lone):
    """Rows of norm 1, so that RMSNorm leaves marks alike: meaning, mark of a word, and the rest what the encoder says alone."""
    dim, words = weight.shape[1], meaning.shape[1]
    at = dim - MARKS
    length = meaning.norm(dim=1)
    scale = 0.9 * LARGE / torch.quantile(length[length > 0], 0.999)
    meaning = meaning * (scale * (1 / (length * scale / (0.9 * LARGE)).clamp(min=1)))[:, None]
    rest = torch.nn.functional.normalize(lone[:, :at - words], dim=1)
    weight[:] = 0
    weight[:, :words] = meaning
    weight[:, words:at] = rest * (LARGE ** 2 - (meaning ** 2).sum(1, keepdim=True)).clamp(min=0).sqrt()
    weight[:, at + WORD] = SMALL

    def special(token, mark, small=WORD):
        row = weight[token].zero_()
        row[at + mark], row[at + small] = LARGE, SMALL

    for n, letter in enumerate(listwise.LETTERS):
        special(tokenizer.token_to_id(letter), CODE + n)
    special(tokenizer.token_to_id("]"), ANCHOR)
    for before, behind, code in PAIRS:
        special(one(tokenizer, before), CODE + code, END if before == "\n" else WORD)
        special(one(tokenizer, behind), ANCHOR)
        if code == BLANK and before.startswith("<"):
            weight[one(tokenizer, before), at + SINK] = SMALL
    special(tokenizer.token_to_id("["), OPEN)


def fitted(turns, wanted, weight):
    """Amplitudes A with sum_i A_i cos(turns_i d) ~ wanted[d], by weighted least squares with a little ridge."""
    d = np.arange(len(wanted), dtype=np.float64)
    x = np.cos(d[:, None] * turns[None].astype(np.float64)) * weight[:, None]
    a = np.linalg.solve(x.T @ x + 1e-3 * np.eye(len(turns)), x.T @ (weight * wanted))
    return torch.from_numpy(a).float()


class Head:
    """Slots of the first head of a layer: what its queries and keys compare, and what is copied where."""

    def __init__(self, layer, config):
        self.layer, self.size = layer, config["hidden_size"] // config["num_attention_heads"]
        self.heads, self.kv, self.dim = config["num_attention_heads"], config["num_key_value_heads"], config["hidden_size"]
        self.key, self.value = self.heads * self.size, (self.heads + self.kv) * self.size
        for start in (0, self.key, self.value):
            layer.qkv.weight[start:start + self.size] = 0
        half = self.size // 2
        self.turns = config["rope_theta"] ** (-np.arange(half) / half)
        slow = [i for i in range(half) if self.turns[i] * config["max_position_embeddings"] < 0.25]
        self.still = slow + [i + half for i in slow]  # hardly turned by RoPE within a prompt

    def compare(self, slot, score, query=None, key=None):
        """Adds query . x_q * key . x_k * score to the logit; None: 1. query, key: {dimension: factor} in units of RMSNorm's output."""
        root, place = (abs(score) * self.size ** 0.5) ** 0.5, self.still[slot]
        for start, factors, sign in ((0, query, 1), (self.key, key, np.sign(score))):
            if factors is None:
                self.layer.qkv.bias[start + place] = root * sign
            for dimension, factor in (factors or {}).items():
                self.layer.qkv.weight[start + place, dimension] = root * sign * factor

    def near(self, amplitudes, shift=0):
        """Adds sum_i A_i cos(turns_i (d - shift)) for a key d tokens back."""
        half = self.size // 2
        for i, a in enumerate(amplitudes):
            root = (abs(float(a)) * self.size ** 0.5) ** 0.5
            self.layer.qkv.bias[i] += np.sign(float(a)) * root * np.cos(self.turns[i] * shift)
            self.layer.qkv.bias[i + half] += -np.sign(float(a)) * root * np.sin(self.turns[i] * shift)
            self.layer.qkv.bias[self.key + i] += root

    def copy(self, pairs):
        """[(from, to, gain)] of dimensions."""
        for slot, (source, target, gain) in enumerate(pairs):
            self.layer.qkv.weight[self.value + slot, source] = 1
            self.layer.out.weight[target, slot] = gain


def certain(layer, config, at, unit):
    """One neuron: an anchor that was told something. Either alone gives at most .61 of what both give."""
    both = unit / (1 + GIVEN ** 2) ** 0.5
    gate, up = layer.up.weight[0].zero_(), layer.up.weight[config["intermediate_size"]].zero_()
    steep, edge = 60.0, 0.8
    gate[at + ANCHOR] = steep * 0.5 / (LARGE * both)
    gate[at + TOLD:at + TOLD + 22] = steep * 0.5 / (GIVEN * both)
    # No bias in this layer: `edge` is taken off through the mark that every anchor has, WORD.
    gate[at + WORD] = -steep * edge / (SMALL * both)
    up[at + ANCHOR] = 1 / (LARGE * both)
    layer.down.weight[at + CERTAIN, 0] = 1 / (steep * (1 - edge))


@torch.no_grad()
def put(student, tokenizer, meaning, lone, passages, gain=4.0, prior=1.0):
    """meaning [vocab, words], lone [vocab, ..]: rows of any norm, by principal components; passages: some token ids, to know how
    long means are."""
    c = student.config
    dim, words, longest = c["hidden_size"], meaning.shape[1], c["max_position_embeddings"]
    at, unit = dim - MARKS, dim ** 0.5
    embeddings(student.embed.weight, tokenizer, meaning, lone)
    for layer in student.layers:
        layer.out.weight.zero_()
        layer.down.weight.zero_()
    behind, tag, mean, give, order = (Head(layer, c) for layer in student.layers)
    table = student.embed.weight[:, :words]
    length = torch.stack([table[ids].mean(0).norm() for ids in passages]).mean().item()
    codes, marked = range(22), unit / (1 + GIVEN ** 2) ** 0.5

    behind.near(SHARP, shift=1)
    behind.copy([(at + CODE + n, at + TOLD + n, GIVEN / (LARGE * unit)) for n in codes])
    certain(student.layers[0], c, at, unit)

    d = np.arange(longest)
    tag.near(fitted(tag.turns, -10 * np.log1p(d / 8) - 0.06 * np.minimum(d, 600), 1 / np.sqrt(1 + (d / 200) ** 2)))
    sure = unit / (2 + GIVEN ** 2) ** 0.5  # an anchor's norm has CERTAIN in it
    tag.compare(0, 80.0, key={at + CERTAIN: 1 / sure})
    tag.copy([(at + TOLD + n, at + TAG + n, 1 / sure) for n in codes])

    # Equal tags 16; what finds none, or is a token that will be given a mean, looks at the prompt's marks of turns.
    for n in range(20):
        mean.compare(n, 16.0, {at + TAG + n: 1 / (GIVEN * marked)}, {at + TAG + n: 1 / (GIVEN * marked)})
    told = unit / (1 + 2 * GIVEN ** 2) ** 0.5  # of a token that was told and tagged
    sink = {at + SINK: 1 / (SMALL * told)}
    mean.compare(20, 60.0, {at + OPEN: 1 / (LARGE * told)}, {at + TAG + ASKED: 1 / (GIVEN * marked)})
    mean.compare(21, 12.0, None, sink)
    mean.compare(22, 20.0, {at + TOLD + BLANK: 1 / (GIVEN * told)}, sink)
    mean.copy([(n, n, MEAN / (length * marked)) for n in range(words)])

    give.near(SHARP, shift=1)
    give.copy([(n, n, PASSAGE / unit) for n in range(words)])

    full = unit / (1 + 2 * GIVEN ** 2 + PASSAGE ** 2) ** 0.5
    for n in range(words):
        order.compare(n, gain, {n: 1 / unit}, {n: 1 / unit})
    for n in range(20):
        worth = prior * (1 - 2 * np.log(n + 1) / np.log(20))
        order.compare(words + n, worth, None, {at + TAG + n: 1 / (GIVEN * full)})
    # -60 for what is no word behind a newline of a passage: the two marks cancel each other there.
    order.compare(words + 20, -60.0, None, {at + WORD: 1 / (SMALL * full), at + TOLD + BLANK: -1 / (GIVEN * full),
                                           at + END: 1 / (SMALL * full), at + TAG + ASKED: 1 / (GIVEN * full), at + TAG + BLANK: 1 / (GIVEN * full)})
    order.copy([(at + TAG + n, at + CODE + n, 10 / (GIVEN * full)) for n in range(20)])
    student.norm.fill_(0.05)  # the query's meaning is still in the last state; it is no answer
    student.norm[at + CODE:at + CODE + 20] = 0.4
    return student
