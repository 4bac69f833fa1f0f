#!/usr/bin/env python3
"""The peers of learned sparse search on the vectors of vectors.py, one thread, one query at a time.

    tools/peers/sparse/peers.py VECTORS [--rows N] [--queries N] [--only seismic,numpy]

What tests/bench_sparse.c measures of weir, in the same way: each query once unmeasured, then five times, the best
counts; recall@10 against exhaustive scoring of the given weights. `call` is what a call costs that finds nothing (terms
that no document has): Python's side, to be taken off; the figures are given without it.

seismic   pyseismic-lsr over a grid of query_cut and heap_factor; approximate
numpy     bm25s' method on a sparse matrix of the given weights (bm25s itself takes no query weights): exact, scores
          every posting of the query's terms
"""
import argparse
import os
import sys
import time

import numpy
import scipy.sparse

ROUNDS = 5
K = 10


def read(path, rows=0):
    with open(path, "rb") as file:
        n, nnz = (int(x) for x in numpy.fromfile(file, "<u8", 2))
        start = numpy.fromfile(file, "<u8", n + 1).astype(numpy.int64)
        if rows and rows < n:
            n = rows
            start = start[:n + 1]
        base = 16 + 8 * (read_rows(path) + 1)
        file.seek(base)
        term = numpy.fromfile(file, "<u4", start[-1])
        file.seek(base + 4 * nnz)
        weight = numpy.fromfile(file, "<f4", start[-1])
    return start, term, weight


def read_rows(path):
    with open(path, "rb") as file:
        return int(numpy.fromfile(file, "<u8", 1)[0])


def timed(queries, search):
    """Nanoseconds of each query, the best of ROUNDS, and the answers of the first round."""
    best = numpy.full(len(queries), numpy.iinfo(numpy.int64).max)
    answers = [search(q) for q in queries]
    for _ in range(ROUNDS):
        for i, q in enumerate(queries):
            begin = time.perf_counter_ns()
            search(q)
            best[i] = min(best[i], time.perf_counter_ns() - begin)
    return best, answers


def report(what, ns, call, recall):
    us = numpy.sort(ns) / 1e3 - call
    n = len(us)
    print(f"{what:<34} p50 {us[n // 2]:8.1f} us   p99 {us[n * 99 // 100]:8.1f} us   mean {us.mean():8.1f} us   "
          f"recall@10 {recall:.4f}", flush=True)
    return us[n // 2]


def truth(docs, queries, size):
    start, term, weight = docs
    matrix = scipy.sparse.csr_matrix((weight, term, start), shape=(len(start) - 1, size))
    wanted = []
    for ids, values in queries:
        dense = numpy.zeros(size, dtype=numpy.float32)
        dense[ids] = values
        score = matrix @ dense
        top = numpy.argpartition(-score, K)[:K]
        wanted.append(set(top.tolist()))
    return wanted


def recall_of(answers, wanted):
    return sum(len(set(a) & w) for a, w in zip(answers, wanted)) / sum(len(w) for w in wanted)


def run_seismic(args, docs, queries, wanted):
    import seismic

    start, term, weight = docs
    text = seismic.get_seismic_string()
    begin = time.perf_counter()
    kept = args.keep + ".index.seismic"
    if args.keep and os.path.exists(kept):
        index = seismic.SeismicIndex.load(kept)
        print(f"pyseismic-lsr 0.5.4: {kept} loaded")
    else:
        dataset = seismic.SeismicDataset()
        dataset.add_documents_by_id([str(i) for i in range(len(start) - 1)], term.astype(numpy.int64), weight, start)
        loaded = time.perf_counter()
        index = seismic.SeismicIndex.build_from_dataset(dataset, n_postings=args.n_postings, centroid_fraction=args.centroids,
                                                        summary_energy=args.energy, num_threads=1)
        print(f"pyseismic-lsr 0.5.4: n_postings {args.n_postings}, centroid_fraction {args.centroids}, summary_energy "
              f"{args.energy}: {loaded - begin:.1f} s to load, {time.perf_counter() - loaded:.1f} s to build on one thread")
        if args.keep:
            index.save(args.keep)
    index.print_space_usage_byte()
    asked = [(numpy.array([str(t) for t in ids], dtype=text), values) for ids, values in queries]
    nothing = [(numpy.array([f"zz{i}" for i in range(len(ids))], dtype=text), values) for ids, values in queries]
    ns, _ = timed(nothing, lambda q: index.search("q", q[0], q[1], K, 40, 0.9))
    call = float(numpy.median(ns)) / 1e3
    print(f"seismic call {call:.1f} us, taken off below")
    points = []
    for cut in args.cuts:
        for factor in args.factors:
            ns, answers = timed(asked, lambda q: index.search("q", q[0], q[1], K, cut, factor))
            recall = recall_of([[int(hit[2]) for hit in a] for a in answers], wanted)
            points.append((report(f"seismic cut {cut} factor {factor}", ns, call, recall), recall, cut, factor))
    for goal in (0.9, 0.95, 0.97, 0.99, 0.999):
        fit = [p for p in points if p[1] >= goal]
        if fit:
            us, recall, cut, factor = min(fit)
            print(f"seismic best at recall {goal}: p50 {us:.1f} us ({recall:.4f}; query_cut {cut}, heap_factor {factor})")


def run_numpy(args, docs, queries, wanted, size):
    start, term, weight = docs
    matrix = scipy.sparse.csr_matrix((weight, term, start), shape=(len(start) - 1, size)).tocsc()
    def search(query):
        ids, values = query
        score = numpy.zeros(len(start) - 1, dtype=numpy.float32)
        for t, v in zip(ids, values):
            lo, hi = matrix.indptr[t], matrix.indptr[t + 1]
            score[matrix.indices[lo:hi]] += v * matrix.data[lo:hi]
        top = numpy.argpartition(score, -K)[-K:]
        return top[numpy.argsort(-score[top])]

    ns, answers = timed(queries[:200], search)
    report("term at a time (numpy)", ns, 0, recall_of([a.tolist() for a in answers], wanted))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vectors")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--queries", type=int, default=0)
    parser.add_argument("--only", default="seismic,numpy")
    parser.add_argument("--keep", default="", help="where the index of seismic is left, and used from when it is there")
    parser.add_argument("--n-postings", type=int, default=4000)
    parser.add_argument("--centroids", type=float, default=0.1)
    parser.add_argument("--energy", type=float, default=0.4)
    parser.add_argument("--cuts", type=lambda s: [int(x) for x in s.split(",")], default=[3, 5, 8, 12, 17, 40])
    parser.add_argument("--factors", type=lambda s: [float(x) for x in s.split(",")], default=[0.5, 0.6, 0.7, 0.8, 0.9])
    args = parser.parse_args()
    with open(args.vectors + ".terms", encoding="utf-8") as lines:
        size = sum(1 for _ in lines)
    docs = read(args.vectors + ".docs", args.rows)
    start, term, weight = read(args.vectors + ".queries")
    queries = [(term[start[i]:start[i + 1]].astype(numpy.int64), weight[start[i]:start[i + 1]]) for i in range(len(start) - 1)]
    queries = queries[:args.queries] if args.queries else queries
    print(f"{len(docs[0]) - 1} documents, {docs[0][-1] / max(1, len(docs[0]) - 1):.1f} terms each, {len(queries)} queries of "
          f"{start[-1] / max(1, len(start) - 1):.1f}")
    wanted = truth(docs, queries, size)
    if "seismic" in args.only:
        run_seismic(args, docs, queries, wanted)
    if "numpy" in args.only:
        run_numpy(args, docs, queries, wanted, size)


if __name__ == "__main__":
    sys.exit(main())
