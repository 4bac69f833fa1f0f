"""Quality of a model in training, on BEIR folders: nDCG@10 over pools of candidates that weir retrieved before.

A pool is the top of weir's BM25 and dense runs of the base model, so a look at a checkpoint takes a minute and not an
hour. It compares arms of an experiment; what is published about a model comes from `weir eval` and full retrieval.
"""
import json
import math
import random
from pathlib import Path

import torch

from . import data, loop, mine
from .teacher import States


def ndcg(ranking, grades, depth=10):
    """trec_eval's: gains as judged, log2 discounts."""
    gain = sum(max(grades.get(d, 0), 0) / math.log2(n + 2) for n, d in enumerate(ranking[:depth]))
    best = sorted((g for g in grades.values() if g > 0), reverse=True)[:depth]
    ideal = sum(g / math.log2(n + 2) for n, g in enumerate(best))
    return gain / ideal if ideal else 0.0


def qrels(path):
    judged = {}
    with open(path, encoding="utf-8") as file:
        next(file)
        for line in file:
            query, document, grade = line.rstrip("\n").split("\t")[:3]
            judged.setdefault(query, {})[document] = float(grade)
    return judged


class Pools:
    """Topics of one collection with candidates: `topics` drawn by a seed, at most `documents` texts in all."""

    def __init__(self, folder, runs, topics, documents=900, lexical=40, dense=40, split="test", seed=2):
        folder = Path(folder)
        self.name = folder.name
        self.judged = qrels(folder / "qrels" / f"{split}.tsv")
        lists = [mine.read_run(Path(runs) / f"{folder.name}.{kind}.run") for kind in ("bm25", "dense")]
        queries = {row["_id"]: row["text"] for row in data.lines(folder / "queries.jsonl")}
        usable = sorted(q for q, g in self.judged.items() if any(v > 0 for v in g.values()) and q in lists[0])
        random.Random(seed).shuffle(usable)
        self.topics, self.candidates, seen = [], {}, set()
        for topic in usable[:topics]:
            found = list(dict.fromkeys([d for d, _ in lists[0][topic][:lexical]] +
                                       [d for d, _ in lists[1].get(topic, [])[:dense]]))
            if len(seen | set(found)) > documents:
                break
            seen |= set(found)
            self.topics.append(topic)
            self.candidates[topic] = found
        self.queries = {t: queries[t] for t in self.topics}
        self.texts = {i: f"{title} {text}".strip() for i, title, text in data.beir_corpus(folder) if i in seen}

    def measure(self, score):
        """{topic: nDCG@10} of score(query's text, texts) -> numbers; equal scores in the pool's order."""
        out = {}
        for topic in self.topics:
            documents = self.candidates[topic]
            values = score(self.queries[topic], [self.texts[d] for d in documents])
            order = sorted(range(len(documents)), key=lambda n: (-float(values[n]), n))
            out[topic] = ndcg([documents[n] for n in order], self.judged[topic])
        return out


@torch.inference_mode()
def judge_dense(student, words, pools, tokens=200):
    """{collection/topic: nDCG@10}."""
    out = {}
    device = student.encoder.word.weight.device
    for pool in pools:
        known = {}
        texts = sorted(set(pool.texts.values()))
        with loop.autocast(device):
            for start in range(0, len(texts), 512):
                part = texts[start:start + 512]
                known.update(zip(part, student.vectors(words.ids(part, tokens)).float()))

            def score(query, documents):
                return torch.stack([known[d] for d in documents]) @ student.vectors(words.ids([query], 64)).float()[0]

            out.update({f"{pool.name}/{t}": v for t, v in pool.measure(score).items()})
    return out


@torch.inference_mode()
def judge_cross(student, words, pools, tokens=128):
    """{exit: {collection/topic: nDCG@10}}, every exit of one pass."""
    out = {layer: {} for layer in student.exits}
    device = student.encoder.word.weight.device
    for pool in pools:
        kept = {}
        for topic in pool.topics:
            documents = [pool.texts[d] for d in pool.candidates[topic]]
            with loop.autocast(device):
                kept[pool.queries[topic]] = student.scores(words.ids([pool.queries[topic]], 64), words.ids(documents, tokens),
                                                           [0] * len(documents), 32)
        for layer in student.exits:
            measured = pool.measure(lambda query, documents: kept[query][layer])
            out[layer].update({f"{pool.name}/{t}": v for t, v in measured.items()})
    return out


@torch.inference_mode()
def sparse_pools(encoder, words, pools, folder, device, tokens=254):
    """[(pool, {text: last states})]: the same for every head on this encoder; kept in `folder`, so a name for each choice
    of topics."""
    out = []
    for pool in pools:
        texts = sorted(set(pool.texts.values()))
        states = States.write(Path(folder) / f"{pool.name}-{len(pool.topics)}-{len(texts)}", encoder, words.ids(texts, tokens),
                              device, 16, unit=False)
        out.append((pool, {text: states.of(n) for n, text in enumerate(texts)}))
    return out


class Weighed:
    """What a sparse head says of the pools' documents: weights of the topics' tokens for all of them, and of the whole
    vocabulary for some, which are counted.

    Every second of the counted ones is for choosing thresholds, the others are to see whether a threshold holds. No
    judgment takes part in either.
    """

    @torch.inference_mode()
    def __init__(self, head, idf, words, encoded, counted=20):
        self.idf, self.pools, self.counted = idf, [], ([], [])
        ordinary = (idf > 0).nonzero()[:, 0]
        for pool, states in encoded:
            asked = {q: sorted(v for v in set(words.ids([q], 64)[0]) if idf[v] > 0) for q in pool.queries.values()}
            tokens, texts = torch.tensor(sorted({v for query in asked.values() for v in query})), sorted(states)
            weight = torch.cat([head.weights([states[t].float() for t in texts[n:n + 64]], tokens)
                                for n in range(0, len(texts), 64)])
            self.pools.append((pool, asked, {int(v): n for n, v in enumerate(tokens)}, {t: n for n, t in enumerate(texts)}, weight))
            for n, text in enumerate(texts[::max(1, len(texts) // counted)][:counted]):
                w = head.weights([states[text].float()], ordinary)[0]
                self.counted[n % 2].append(w[w > 0])

    def tokens(self, half, threshold=0.0):
        """Tokens of a document that weigh more than `threshold`, a mean over one half of the counted documents."""
        return sum(int((w > threshold).sum()) for w in self.counted[half]) / len(self.counted[half])

    def threshold(self, tokens):
        """The largest weight that must count as none so that so many tokens of a document stay, on the choosing half."""
        values = torch.cat(self.counted[0]).sort(descending=True).values
        place = round(tokens * len(self.counted[0]))
        return float(values[place]) if place < len(values) else 0.0

    def measure(self, threshold=0.0):
        """{collection/topic: nDCG@10}; weights up to `threshold` count as none."""
        out = {}
        for pool, asked, column, row, weight in self.pools:
            kept = weight * (weight > threshold)

            def score(query, documents):
                own = asked[query]
                return kept[[row[d] for d in documents]][:, [column[v] for v in own]] @ self.idf[own]

            out.update({f"{pool.name}/{t}": v for t, v in pool.measure(score).items()})
        return out


def save(path, values):
    Path(path).write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
