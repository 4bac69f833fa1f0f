#!/usr/bin/env python3
"""Sparse vectors to measure with before a trained model exists: documents of about 129 terms, queries of about 17.

    tools/peers/sparse/vectors.py text OUT --vocab vocab.txt CORPUS.jsonl.gz ... [--limit N]
    tools/peers/sparse/vectors.py zipf OUT --documents N

`text`: documents are cut into BERT's word pieces. A document's own terms are weighted as a trained encoder weights them
roughly: ln(1 + tf part of BM25 * idf / 3). It is expanded by terms that go with its terms in the collection (their
normalised pointwise mutual information over the documents), to 129 terms in all; expansions weigh less than the terms
they come from. Every hundredth document is left out and gives a query: the first 17 distinct pieces of its text, each
with its idf.

`zipf`: term ranks from a Zipf law with topics: a document draws half of its terms from one of 2,000 topics of 300
terms, half from all 30,000. Queries are drawn from the topics in the same way.

OUT.docs and OUT.queries hold u64 rows, u64 entries, u64 start[rows + 1], u32 term[entries], f32 weight[entries];
OUT.terms the spelling of term i in line i. A seed fixes all of it.
"""
import argparse
import gzip
import json
import sys

import numpy
import scipy.sparse

NNZ, QUERY_TERMS, HELD_OUT = 129, 17, 100
RELATED, SAMPLE, CHUNK = 24, 60000, 4000


def write(path, matrix):
    matrix = matrix.tocsr()
    matrix.sort_indices()
    with open(path, "wb") as out:
        numpy.array([matrix.shape[0], matrix.nnz], dtype="<u8").tofile(out)
        matrix.indptr.astype("<u8").tofile(out)
        matrix.indices.astype("<u4").tofile(out)
        matrix.data.astype("<f4").tofile(out)
    print(f"{path}: {matrix.shape[0]} rows, {matrix.nnz / max(1, matrix.shape[0]):.1f} terms each", flush=True)


def texts(paths, limit):
    n = 0
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                doc = json.loads(line)
                yield doc.get("title", "") + " " + doc["text"]
                n += 1
                if limit and n >= limit:
                    return


def counts(paths, limit, vocab):
    """Term counts of the documents, and the queries' terms by the row they come from."""
    import tokenizers

    pieces = tokenizers.BertWordPieceTokenizer(vocab, lowercase=True)
    size = pieces.get_vocab_size()
    special = {pieces.token_to_id(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    start, term, count, queries, batch = [0], [], [], [], []

    def flush():
        for encoded in pieces.encode_batch(batch, add_special_tokens=False):
            ids = numpy.array([i for i in encoded.ids[:256] if i not in special], dtype=numpy.int64)
            if len(start) % HELD_OUT == 0 and len(ids) >= QUERY_TERMS:
                queries.append(list(dict.fromkeys(ids.tolist()))[:QUERY_TERMS])
                ids = ids[:0]
            unique, times = numpy.unique(ids, return_counts=True)
            term.append(unique)
            count.append(times)
            start.append(start[-1] + len(unique))
        batch.clear()

    for text in texts(paths, limit):
        batch.append(text)
        if len(batch) == CHUNK:
            flush()
    flush()
    matrix = scipy.sparse.csr_matrix((numpy.concatenate(count).astype(numpy.float32), numpy.concatenate(term), start),
                                     shape=(len(start) - 1, size))
    vocabulary = sorted(pieces.get_vocab().items(), key=lambda entry: entry[1])
    matrix = matrix[numpy.diff(matrix.indptr) > 0]
    return matrix, queries, [token for token, _ in vocabulary]


def related_terms(matrix, df, random):
    """[V, V]: for each term the RELATED terms of largest normalised mutual information, as weights below 1."""
    rows = random.permutation(matrix.shape[0])[:SAMPLE]
    seen = matrix[numpy.sort(rows)].copy()
    seen.data[:] = 1
    n = seen.shape[0]
    part = numpy.asarray(seen.sum(axis=0)).ravel()
    seen = seen @ scipy.sparse.diags((part >= 5).astype(numpy.float32))
    seen.eliminate_zeros()
    both = (seen.T @ seen).tocsr()
    out = scipy.sparse.lil_matrix(both.shape, dtype=numpy.float32)
    for t in range(both.shape[0]):
        at, times = both.indices[both.indptr[t]:both.indptr[t + 1]], both.data[both.indptr[t]:both.indptr[t + 1]]
        keep = (times >= 3) & (at != t)
        at, times = at[keep], times[keep].astype(numpy.float64)
        if len(at) == 0:
            continue
        npmi = numpy.log(times * n / (part[t] * part[at])) / -numpy.log(times / n)
        best = numpy.argsort(-npmi, kind="stable")[:RELATED]
        best = best[npmi[best] > 0.05]
        order = numpy.sort(at[best])
        weight = dict(zip(at[best], npmi[best]))
        out.rows[t] = order.tolist()
        out.data[t] = [float(weight[i]) * 0.6 for i in order]
    return out.tocsr()


def expanded(own, related):
    """The own terms, and so many of what they bring along that a row has NNZ terms."""
    parts = []
    for at in range(0, own.shape[0], CHUNK):
        rows = own[at:at + CHUNK]
        brought = (rows @ related).tocsr()
        mask = rows.copy()
        mask.data[:] = 1e6
        ranked = (brought + mask).tocsr()
        start, term, weight = [0], [], []
        for i in range(ranked.shape[0]):
            lo, hi = ranked.indptr[i], ranked.indptr[i + 1]
            keep = numpy.argsort(-ranked.data[lo:hi], kind="stable")[:NNZ]
            term.append(numpy.sort(ranked.indices[lo:hi][keep]))
            start.append(start[-1] + len(keep))
        term = numpy.concatenate(term)
        chosen = scipy.sparse.csr_matrix((numpy.ones(len(term), dtype=numpy.float32), term, start), shape=rows.shape)
        brought.data = 0.45 * numpy.log1p(brought.data)
        parts.append((chosen.multiply(rows + brought)).tocsr().astype(numpy.float32))
    return scipy.sparse.vstack(parts, format="csr")


def from_text(args):
    random = numpy.random.default_rng(1)
    tf, queries, vocabulary = counts(args.corpus, args.limit, args.vocab)
    n, size = tf.shape
    length = numpy.asarray(tf.sum(axis=1)).ravel()
    df = numpy.bincount(tf.indices, minlength=size)
    idf = numpy.log(1 + (n - df + 0.5) / (df + 0.5))
    norm = numpy.repeat(0.9 * (0.6 + 0.4 * length / length.mean()), numpy.diff(tf.indptr))
    own = tf.copy()
    own.data = numpy.log1p(tf.data / (tf.data + norm) * idf[tf.indices] / 3).astype(numpy.float32)
    write(args.out + ".docs", expanded(own, related_terms(tf, df, random)))
    queries = [[t for t in query if df[t] > 0] for query in queries]
    chosen = [queries[i] for i in random.permutation(len(queries))[:args.queries]]
    write_queries(args.out, chosen, idf, size)
    with open(args.out + ".terms", "w", encoding="utf-8") as out:
        out.writelines(token + "\n" for token in vocabulary)


def write_queries(out, queries, idf, size):
    start = numpy.cumsum([0] + [len(q) for q in queries])
    term = numpy.array([t for q in queries for t in q], dtype=numpy.int64)
    write(out + ".queries", scipy.sparse.csr_matrix((idf[term].astype(numpy.float32), term, start), shape=(len(queries), size)))


def from_zipf(args):
    size, topics, topic_terms = 30000, 2000, 300
    random = numpy.random.default_rng(2)
    popularity = 1 / numpy.arange(1, size + 1) ** 0.9
    cumulative = numpy.cumsum(popularity) / popularity.sum()
    topic = numpy.stack([random.choice(size, topic_terms, replace=False) for _ in range(topics)])
    within = numpy.cumsum(1 / numpy.arange(1, topic_terms + 1) ** 0.7)
    within /= within[-1]

    def draw(rows, terms):
        half = terms // 2
        which = random.integers(0, topics, rows)
        own = topic[which[:, None], numpy.searchsorted(within, random.random((rows, half)))]
        every = numpy.minimum(numpy.searchsorted(cumulative, random.random((rows, terms - half))), size - 1)
        weight = numpy.concatenate([random.gamma(2.0, 0.5, (rows, half)), random.gamma(2.0, 0.25, (rows, terms - half))], axis=1)
        row = numpy.repeat(numpy.arange(rows), terms)
        matrix = scipy.sparse.coo_matrix((weight.ravel().astype(numpy.float32), (row, numpy.concatenate([own, every], axis=1).ravel())),
                                         shape=(rows, size)).tocsr()
        matrix.data = numpy.log1p(matrix.data)
        return matrix

    parts = []
    for at in range(0, args.documents, 50000):
        parts.append(draw(min(50000, args.documents - at), 160))
    documents = scipy.sparse.vstack(parts, format="csr")
    write(args.out + ".docs", documents)
    df = numpy.bincount(documents.indices, minlength=size)
    idf = numpy.log(1 + (args.documents - df + 0.5) / (df + 0.5))
    drawn = draw(args.queries, QUERY_TERMS + 2)
    write_queries(args.out, [[int(t) for t in drawn.indices[drawn.indptr[i]:drawn.indptr[i + 1]] if df[t] > 0]
                             for i in range(args.queries)], idf, size)
    with open(args.out + ".terms", "w", encoding="utf-8") as out:
        out.writelines(f"t{i}\n" for i in range(size))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    text = kinds.add_parser("text")
    text.add_argument("out")
    text.add_argument("corpus", nargs="+")
    text.add_argument("--vocab", required=True)
    text.add_argument("--limit", type=int, default=0)
    text.add_argument("--queries", type=int, default=1000)
    zipf = kinds.add_parser("zipf")
    zipf.add_argument("out")
    zipf.add_argument("--documents", type=int, required=True)
    zipf.add_argument("--queries", type=int, default=1000)
    args = parser.parse_args()
    from_text(args) if args.kind == "text" else from_zipf(args)


if __name__ == "__main__":
    sys.exit(main())
