"""The texts: what ../shared holds beside the project, as the engines take it."""
import gzip
import json
import pathlib
import random

SHARED = pathlib.Path("../shared/collections")
FOLDER = pathlib.Path("build/peers")


def records(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def one_line(text):
    return " ".join(text.split())


def pairs(n):
    """n query-passage pairs of DL19's judged pool, drawn evenly, those of a query together; None without ../shared."""
    folder = SHARED / "dl19"
    if not folder.exists():
        return None
    passage = {record["_id"]: record["text"] for record in records(folder / "corpus.jsonl.gz")}
    query = {record["_id"]: record["text"] for record in records(folder / "queries.jsonl")}
    judged = [line.split("\t")[:2] for line in open(folder / "qrels/test.tsv", encoding="utf-8")][1:]
    judged = sorted((q, d) for q, d in judged if q in query and d in passage)
    drawn = sorted(random.Random(19).sample(judged, min(n, len(judged))))
    return [(one_line(query[q]), one_line(passage[d])) for q, d in drawn]


def passages(n):
    """n passages of NFCorpus in a seeded order (0: all); None without ../shared."""
    folder = SHARED / "nfcorpus"
    if not folder.exists():
        return None
    texts = [one_line(record["title"] + " " + record["text"]) for record in records(folder / "corpus.jsonl.gz")]
    random.Random(19).shuffle(texts)
    return texts[:n] if n else texts


def write(name, lines):
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
