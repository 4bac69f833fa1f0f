"""Where pairs and passages come from: jsonl pairs, BEIR folders, and pseudo-queries made of passages."""
import dataclasses
import gzip
import hashlib
import json
import random
import re
from pathlib import Path


@dataclasses.dataclass
class Source:
    """One file of pairs, and how much of it takes part in training."""

    name: str
    queries: int  # so many queries are mined and trained on
    passages: int  # so many passages go into the pool that negatives come from


# Only files whose licence lets us ship what is learnt from them. Real questions before titles: test queries are questions,
# and a title says little more than the abstract's first sentence. Templated questions (medquad), site names (policyqa) and
# definitions (wordnet) are kept few: they teach a pattern, not relevance.
PERMISSIVE = [
    Source("squad", 4500, 22000), Source("selqa", 2000, 9000), Source("qed-nq", 1300, 1400), Source("xquad", 600, 300),
    Source("covidqa", 1200, 1800), Source("pubmedqa", 1800, 2000), Source("skeptics", 900, 1100),
    Source("medquad", 1500, 6000), Source("dstc9", 700, 2500), Source("policyqa", 500, 2500),
    Source("scitldr", 2500, 4500), Source("arxiv", 2000, 5000), Source("acl", 2000, 5000), Source("wordnet", 500, 1500),
]


def lines(path):
    """The JSON objects of a jsonl file, plain or gzipped."""
    path = Path(path)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SystemExit(f"{path}:{number}: expected one JSON object a line: {error}") from error


def beir_corpus(folder):
    """(id, title, text) of a BEIR folder's documents."""
    folder = Path(folder)
    found = [f for f in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz") if f.exists()]
    if not found:
        raise SystemExit(f"{folder}: expected corpus.jsonl or corpus.jsonl.gz in it")
    for row in lines(found[0]):
        yield row["_id"], row.get("title") or "", row["text"]


def beir_pairs(folder, split="train"):
    """(query, document's text) of every positive judgment of a split."""
    folder = Path(folder)
    texts = {i: f"{title} {text}".strip() for i, title, text in beir_corpus(folder)}
    queries = {row["_id"]: row["text"] for row in lines(folder / "queries.jsonl")}
    with open(folder / "qrels" / f"{split}.tsv", encoding="utf-8") as file:
        next(file)
        for line in file:
            query, document, grade = line.rstrip("\n").split("\t")[:3]
            if float(grade) > 0 and query in queries and document in texts:
                yield queries[query], texts[document]


def order_key(seed, text):
    """A pseudo-random order that does not depend on the file's order or on Python's version."""
    return hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest()


class Pool:
    """Passages with ids; the same text has one id."""

    def __init__(self):
        self.texts = []
        self._index = {}

    def add(self, text):
        text = " ".join(text.split())
        if text not in self._index:
            self._index[text] = len(self.texts)
            self.texts.append(text)
        return self._index[text]


def read_training(folder, seed, sources=PERMISSIVE, scale=1.0):
    """(pool, examples): an example is {"query", "positive": passage, "source"}; passages of the same sources fill the pool."""
    pool, examples = Pool(), []
    for source in sources:
        rows = sorted(lines(Path(folder) / f"{source.name}.jsonl.gz"), key=lambda r: order_key(seed, r["query"] + r["positive"]))
        want, room, seen = int(source.queries * scale), int(source.passages * scale), set()
        start = len(pool.texts)
        for row in rows:
            if want > 0 and row["query"] not in seen:
                seen.add(row["query"])
                examples.append({"query": row["query"], "positive": pool.add(row["positive"]), "source": source.name})
                want -= 1
                for negative in row["negatives"][:4]:
                    pool.add(negative)
            elif len(pool.texts) - start < room:
                pool.add(row["positive"])
    return pool, examples


SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


def pseudo_query(title, text, random_):
    """A query that a document might answer, made of its own words: its title, a sentence, or a phrase of one."""
    sentences = [s for s in SENTENCE.split(text) if 5 <= len(s.split()) <= 40]
    kind = random_.random()
    if title and kind < 0.35:
        return title
    if not sentences:
        return title or " ".join(text.split()[:12])
    words = random_.choice(sentences).rstrip(".").split()
    if kind < 0.6:
        return " ".join(words[:24])
    length = min(len(words), random_.randint(4, 9))
    start = random_.randint(0, len(words) - length)
    return " ".join(words[start:start + length])


def read_pseudo(files, seed, queries, passages, licensed=lambda row: True):
    """Passages of corpora and pseudo-queries made of some of them: (texts, [(query, number of its passage)]).

    A pseudo-query's own passage repeats its words, so it is a poor positive and is left out of the lists: what is learnt
    is the teachers' order of the other passages.
    """
    rows = []
    for file in files:
        rows += [row for row in lines(file) if licensed(row) and len(row["text"].split()) >= 15]
    rows.sort(key=lambda row: order_key(seed, row["_id"]))
    rows = rows[:passages]
    random_ = random.Random(seed)
    texts = [f'{row.get("title") or ""} {row["text"]}'.strip() for row in rows]
    made = [(pseudo_query(row.get("title") or "", row["text"], random_), n) for n, row in enumerate(rows[:queries])]
    return texts, made
