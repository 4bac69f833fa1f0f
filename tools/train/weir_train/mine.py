"""Hard negatives by weir itself: an index of the pool, and its BM25 and dense lists for every query."""
import json
import os
import subprocess
from pathlib import Path


def write_collection(folder, texts, queries):
    """The pool and the queries as a BEIR folder; ids are numbers of passages and of queries."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"_id": str(number), "title": "", "text": text}, ensure_ascii=False) + "\n")
    with open(folder / "queries.jsonl", "w", encoding="utf-8") as file:
        for number, query in enumerate(queries):
            file.write(json.dumps({"_id": str(number), "text": query}, ensure_ascii=False) + "\n")


def weir_command():
    """WEIR names the program; otherwise the one that `make` leaves in the build tree."""
    return os.environ.get("WEIR") or str(Path(__file__).resolve().parents[3] / "build/release/weir")


def call_weir(*arguments, text=None):
    """Its output; text goes to standard input."""
    done = subprocess.run([weir_command(), *map(str, arguments)], input=text, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"weir {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def read_run(path):
    """{query: [(document, score)]} of a TREC run, in its order."""
    lists = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            query, _, document, _, score, _ = line.split()
            lists.setdefault(query, []).append((document, float(score)))
    return lists


def mine(folder, dense, depth, max_tokens=128, threads=None):
    """Indexes FOLDER once and leaves bm25.run and dense.run, each with DEPTH passages for a query, beside it."""
    folder = Path(folder)
    index = folder / "index"
    extra = ["--threads", threads] if threads else []
    if not index.exists():
        call_weir("index", "--corpus", folder, "--out", index, "--dense", dense, "--no-sparse", "--dense-index", "Flat",
                  "--max-tokens", max_tokens, *extra)
    runs = {}
    for name in ("bm25", "dense"):
        run = folder / f"{name}.run"
        if not run.exists():
            part = folder / f"{name}.part"
            call_weir("eval", "--index", index, "--topics", folder / "queries.jsonl", "--all-topics", "--pipeline",
                      f"{name}:{depth}", "--run-out", part, *extra)
            part.rename(run)
        runs[name] = read_run(run)
    return runs
