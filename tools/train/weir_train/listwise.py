"""FIRST's prompts (arXiv 2406.15657, the "template" wording of rank_llm) and the lists that a step of training sees.

The bytes are those that `weir rerank --listwise --json` shows under "prompt": trained on what it is asked with.
"""
import random
import re

import ftfy
import numpy as np
from tokenizers import Tokenizer

SYSTEM = "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the query"
BEFORE = ("I will provide you with {n} passages, each indicated by an alphabetical identifier []. Rank the passages based on "
          "their relevance to the search query: {query}.\n")
AFTER = ("Search Query: {query}.\nRank the {n} passages above based on their relevance to the search query. All the passages "
         "should be included and listed using identifiers, in descending order of relevance. The output format should be [] > "
         "[], e.g., [B] > [A], Answer concisely and directly and only respond with the ranking results, do not say any word "
         "or explain.")
LETTERS = "ABCDEFGHIJKLMNOPQRST"
END = "<|endoftext|>"
SPECIALS = [END, "<|im_start|>", "<|im_end|>"]
# ChatML. A model that is told no system text needs none, but what renders it looks for the word (papers.md 1.3).
CHAT = ("{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|im_start|>system\n' + message['content'] + "
        "'<|im_end|>\n' }}{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
CITED = re.compile(r"\[(\d+)\]")


def clean(text):
    """A query or passage as the prompt takes it: repaired, without special tokens, [12] as (12)."""
    text = ftfy.fix_text(text.strip())
    for special in SPECIALS:
        text = text.replace(special, special[0] + " " + special[1:])
    return CITED.sub(r"(\1)", text)


def answer(order):
    """[B] > [A] > ... without the first bracket, which is the prompt's last byte."""
    return "] > [".join(LETTERS[i] for i in order) + "]" + SPECIALS[2]


class Prompts:
    """Prompts of one tokenizer, fitted to its context."""

    def __init__(self, tokenizer, context):
        self.tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer.from_file(str(tokenizer))
        self.context = context
        full = "[" + "] > [".join(LETTERS) + "]"
        self.answer_tokens = len(self.tokenizer.encode(full, add_special_tokens=False).ids)
        self._words = {}

    def words(self, key, text):
        if key is None:
            return clean(text).split()
        if key not in self._words:
            self._words[key] = clean(text).split()[:300]
        return self._words[key]

    def render(self, query, passages, limit):
        """The prompt's text, of clean words, each passage cut to `limit`."""
        n = len(passages)
        parts = [f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n" + BEFORE.format(n=n, query=query)]
        parts += [f"[{letter}] {' '.join(words[:limit])}\n" for letter, words in zip(LETTERS, passages)]
        parts.append(AFTER.format(n=n, query=query) + "<|im_end|>\n<|im_start|>assistant\n[")
        return "".join(parts)

    def make(self, query, passages, limit=300):
        """(token ids, words a passage was cut to), as wr_listwise_prompt_make() fits it:
        while the prompt with the answer of a full window is too long by `over`, max(1, over // 80) words are taken off."""
        query = " ".join(clean(query).split())
        while True:
            ids = self.tokenizer.encode(self.render(query, passages, limit), add_special_tokens=False).ids
            over = len(ids) - (self.context - self.answer_tokens)
            if over <= 0 or limit == 1:
                break
            limit = max(1, limit - max(1, over // (4 * len(LETTERS))))
        return ids, limit

    def text(self, query, passages, limit):
        return self.render(" ".join(clean(query).split()), passages, limit)


class ListDraws:
    """Which passages of which query a prompt of training has, and in which order; a function of seed, step and stage alone.

    stage: {"size": passages, "deep": share of lists drawn from all that was mined, "shuffled": share in random order}. The
    others are BM25's best in BM25's order, as the model will meet them, so that it may learn what that order is worth.
    """

    def __init__(self, made, scores, numbers, seed):
        self.made, self.scores, self.seed = made, scores, seed
        self.first = made.teachers["bm25"]
        self.numbers = [i for i in numbers if (self.first[made.span(i)] > 0).sum() >= 5]

    def bm25(self, i, depth=20):
        """Places in the flat arrays of BM25's best for query i."""
        span = self.made.span(i)
        values = self.first[span]
        order = np.argsort(-values, kind="stable")
        return [span.start + int(n) for n in order[values[order] > 0][:depth]]

    def one(self, i, stage, random_):
        size, places = stage["size"], None
        if random_.random() < stage["deep"]:
            span = self.made.span(i)
            found = list(range(span.start, span.stop))
            if len(found) >= size:
                best = sorted(found, key=lambda p: (-self.scores[p], p))
                # A quarter from the teacher's best tenth: a list without a good passage has no order worth learning.
                top = random_.sample(best[:max(size // 4, len(best) // 10)], max(1, size // 4))
                rest = [p for p in found if p not in top]
                places = sorted(top + random_.sample(rest, size - len(top)), key=lambda p: (-self.first[p], p))
        if places is None:
            places = self.bm25(i, 20 if size == 20 else 30)
            if len(places) > size:
                places = sorted(random_.sample(places, size), key=lambda p: (-self.first[p], p))
        if random_.random() < stage["shuffled"]:
            random_.shuffle(places)
        return places

    def draw(self, step, stage):
        random_ = random.Random(self.seed * 1_000_003 + step)
        chosen = [self.numbers[random_.randrange(len(self.numbers))] for _ in range(stage["lists"])]
        return [(i, self.one(i, stage, random_)) for i in chosen]
