/* Approximate search over the postings of sparse.h, in a second file beside them: Seismic (Bruch, Nardini, Rulli and
 * Venturini, SIGIR 2024) with another order of visits. Scores are the same numbers as in exact search, bit for bit.
 *
 * The file holds every document's vector (the forward index), and for each term a list of the documents where it weighs
 * most, divided into clusters of documents that are alike, each with a summary: the largest impacts in it by term. A
 * query takes the lists of its heaviest terms, estimates each cluster by its summary, and scores the documents of the
 * clusters whose estimate is at least heap_factor times what is needed to be among the best, the best cluster first.
 *
 * When it pays (BENCHMARKS.md, "Learned sparse"): from about a million documents on, or for a few hits of long queries.
 * Below, exact search is as fast and misses nothing: queries of seven terms over 486,341 documents take it 99 us, and
 * 163 us for 100 hits. Short queries of frequent terms are its worst case: their best documents are in no list of the
 * heaviest and as good as equal.
 *
 * THE FILE: checked file "WRSPRANN" (data/mapfile.h), version 1, little-endian; offsets count from the payload's start.
 *
 *   header, 224 bytes
 *       0  u64  checksum of the postings' header and term table: which file this one belongs to
 *       8  u64  ndocs                             16  u64  nterms
 *      24  u64  npostings, entries of all vectors
 *      32  u32  postings of a list at most        36  u32  lists that a document is in at most (but for equal impacts)
 *      40  u32  documents of a cluster, aimed at  44  f32  share of its sum that a summary keeps, 0..1
 *      48  u64  postings of all lists             56  u64  clusters of all lists
 *      64  u64  entries of all summaries          72  u64  0
 *      80  u64  offset of the records             88  u64  bytes
 *      96  u64  offset of the places             104  u64  bytes: 4 * (ndocs + 1)
 *     112  u64  offset of the lists              120  u64  bytes
 *     128  u64  offset of the directory          136  u64  bytes: 32 * nterms
 *     144  u64  0, ten times
 *   The sections follow in this order, each on a multiple of 64 of the file (32 more than of the payload), so that a
 *   record begins with a line of the processor's cache; zeros between them, the last ending the file.
 *
 *   record of a document, in order of docids, each on a multiple of 64 of its section, zeros at its end. Its entries
 * have falling impacts, equal ones rising terms. Term ids are cut into bytes because that is how they are compared (the
 * kernel). 0  u32  docid          4  u32  n 8  u8 low[n], u8 high[n]: bits 0..7 and 8..15 of the term ids u16 upper[n]:
 * bits 16..31, only where nterms > 65536 u16 q[n], the impacts of sparse.h
 *
 *   places: u32 place[ndocs + 1]: where each record begins, in units of 64 bytes, and where the last ends
 *
 *   directory, 32 bytes a term, in order of term ids
 *       0  u64  offset of the list in its section: where the one before ends, a multiple of 4
 *       8  u32  n, postings    12  u32  clusters, at most 65535; 0: the list is short, it is not divided
 *      16  u32  m, terms of the summaries        20  u32  e, entries of the summaries
 *      24  u32  step           28  u32  0
 *
 *   list; zeros to a multiple of 4 at the end
 *       u32 place[n]           of the records, ascending in a cluster
 *       u32 first[clusters+1]  where each cluster begins in place; not without clusters, nor anything below
 *       u32 term[m]            that the summaries have, ascending
 *       u32 start[m + 1]       of its entries
 *       u16 cluster[e]         ascending in a term
 *       u8  value[e]           its largest impact in the cluster is about value * step
 */
#ifndef WR_INDEXER_SPARSE_ANN_H
#define WR_INDEXER_SPARSE_ANN_H

#include "data/pool.h"
#include "indexer/sparse.h"

typedef struct wr_sparse_ann wr_sparse_ann;

/* How to divide. A field of 0 is the default; UINT32_MAX is no bound. */
typedef struct wr_sparse_ann_params {
    uint32_t list_postings;  /* a list keeps so many of its heaviest postings        */
    uint32_t document_lists; /* a document is in the lists of so many of its heaviest terms */
    uint32_t cluster_docs;   /* documents of a cluster, on average                   */
    float summary_share;     /* of the sum of a cluster's largest impacts, kept in its summary */
} wr_sparse_ann_params;

/* Writes the file of an open index (any kind), durable. The bytes depend on the index and params alone, not on pool
 * (may be NULL) or its threads. Memory: the pages of both files that the system keeps mapped, 6 bytes a document, and
 * about 100 MiB with the default params. */
wr_status wr_sparse_ann_build(const wr_sparse *sparse, const char *path, const wr_sparse_ann_params *params,
                              wr_pool *pool, wr_err *err);

/* sparse is borrowed until wr_sparse_ann_close(). A file that was built from another index is WR_EFORMAT. */
wr_status wr_sparse_ann_open(wr_sparse_ann **ann, const wr_sparse *sparse, const char *path, wr_err *err);
void wr_sparse_ann_close(wr_sparse_ann *ann); /* NULL is fine */

typedef struct wr_sparse_ann_stats {
    wr_sparse_ann_params params;
    uint64_t postings, clusters, summary_entries;
    uint64_t bytes_forward, bytes_lists, bytes_directory; /* bytes_lists: places of documents, and the summaries */
} wr_sparse_ann_stats;
void wr_sparse_ann_stats_get(const wr_sparse_ann *ann, wr_sparse_ann_stats *stats);

/* How to search: a field of 0 is the default, except that a heap_factor below 0 visits every cluster. */
typedef struct wr_sparse_ann_options {
    float heap_factor;  /* clusters estimated at less than this times the k-th score are passed over; 1 is harsh */
    uint32_t query_cut; /* lists of so many terms, those that may add most to a score                           */
} wr_sparse_ann_options;

#define WR_SPARSE_ANN_HEAP_FACTOR 0.9f
#define WR_SPARSE_ANN_QUERY_CUT 10

/* The k best of the documents that it looks at: exact scores, ties by docid; hits->seen counts the documents scored.
 * All else as wr_sparse_search(). With no bound in the params it was built with, heap_factor -1 and query_cut
 * UINT32_MAX it looks at every document that has a term of the query. The budget is checked at every list and every 64
 * documents. options may be NULL. WR_ENOMEM when the arena is exhausted: it needs 400 KiB, 500 bytes a term and 8 for
 * each list, 24 bytes a hit, 16 bytes a cluster of the lists and at most 44 bytes a document scored. */
wr_status wr_sparse_ann_search(const wr_sparse_ann *ann, const wr_sparse_query *query, size_t k,
                               const wr_sparse_ann_options *options, const uint32_t *exclude, size_t nexclude,
                               const wr_budget *budget, wr_arena *arena, wr_hits *hits);

/* A document's vector as it is stored: its terms by falling impact. Borrowed from arena; *n is 0 where there is none.
 * WR_ENOMEM when the arena is exhausted. For statistics and explanations. */
wr_status wr_sparse_ann_document(const wr_sparse_ann *ann, uint32_t docid, wr_arena *arena, const uint32_t **term,
                                 const float **impact, size_t *n);

/* Reads every byte of the file and checks it: the records against the postings, the lists against the records, each
 * summary against its cluster. For fsck, beside the checksums of the manifest: a list that lacks a document, or a
 * summary that lacks a term, is theirs to find. */
wr_status wr_sparse_ann_verify(const wr_sparse_ann *ann, wr_err *err);

#endif
