#!/usr/bin/env python3
"""BM25 of the peers on the corpus and queries of tests/bench_bm25.c, one thread, one query at a time.

    pip install tantivy bm25s PyStemmer
    taskset -c 0 tools/peers/bm25.py CORPUS.jsonl.gz QUERIES.txt [--parts N] [--skip bm25s]

Every engine gets the same terms: words of two characters or more, lower-cased, Lucene's English stop words left out,
Snowball's English stems (which is what weir's analyzer gives). What is timed is the search alone, its query built
before; each query once unmeasured, then five times, the best counts, as in tests/bench_bm25.c. "call" is the time of
a call for a word that no document has: what Python's side of the call costs. tantivy has k1 1.2 and b 0.75 fixed;
bm25s gets 0.9 and 0.4.
"""
import argparse
import gzip
import json
import re
import sys
import tempfile
import time

import Stemmer

ROUNDS = 5
STOP = set(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to "
    "was will with".split())
WORD = re.compile(r"\w\w+")
stemmer = Stemmer.Stemmer("english")


def terms(text):
    return stemmer.stemWords([w for w in WORD.findall(text.lower()) if w not in STOP])


def documents(path, parts):
    for _ in range(parts):
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                doc = json.loads(line)
                yield terms(doc.get("title", "") + " " + doc["text"])


def report(what, times):
    us = sorted(t / 1e3 for t in times)
    n = len(us)
    print(f"{what:<18} p50 {us[n // 2]:8.1f} us   p90 {us[n * 9 // 10]:8.1f} us   p99 {us[n * 99 // 100]:8.1f} us   "
          f"mean {sum(us) / n:8.1f} us", flush=True)


def measure(what, queries, search):
    best = [0] * len(queries)
    for round_ in range(ROUNDS + 1):
        for i, query in enumerate(queries):
            start = time.perf_counter_ns()
            search(query)
            took = time.perf_counter_ns() - start
            if round_ > 0 and (round_ == 1 or took < best[i]):
                best[i] = took
    report(what, best)


def run_tantivy(args, queries):
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name="whitespace", index_option="freq")
    schema = builder.build()
    with tempfile.TemporaryDirectory() as folder:
        index = tantivy.Index(schema, path=folder)
        start = time.perf_counter()
        writer = index.writer(2_000_000_000, num_threads=1)
        for words in documents(args.corpus, args.parts):
            writer.add_document(tantivy.Document(text=" ".join(words)))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        searcher = index.searcher()
        print(f"tantivy {tantivy.__version__}: {searcher.num_docs} documents, {searcher.num_segments} segment(s), "
              f"{time.perf_counter() - start:.1f} s with Python's analysis")

        def query(words):
            clauses = [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", w, index_option="freq")) for w in words]
            return tantivy.Query.boolean_query(clauses)

        built = [query(words) for words in queries]
        nothing = [query(["zzqqxxnosuchword"])] * len(queries)
        measure("tantivy call", nothing, lambda q: searcher.search(q, 10, False))
        for k in (10, 100, 1000):
            measure(f"tantivy k = {k}", built, lambda q, k=k: searcher.search(q, k, False))


def run_bm25s(args, queries):
    import bm25s

    start = time.perf_counter()
    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index(list(documents(args.corpus, args.parts)), show_progress=False)
    print(f"bm25s {bm25s.__version__}: {time.perf_counter() - start:.1f} s with Python's analysis")
    for k in (10, 100, 1000):
        measure(f"bm25s k = {k}", queries[:100],
                lambda q, k=k: index.retrieve([q], k=k, show_progress=False, n_threads=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("queries")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--skip", action="append", default=[])
    args = parser.parse_args()
    with open(args.queries, encoding="utf-8") as lines:
        queries = [terms(line) for line in lines]
    queries = [q for q in queries if q]
    for name, run in (("tantivy", run_tantivy), ("bm25s", run_bm25s)):
        if name not in args.skip:
            run(args, queries)


if __name__ == "__main__":
    sys.exit(main())
