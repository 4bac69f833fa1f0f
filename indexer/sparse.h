/* Impact postings in one memory-mapped file: BM25 and learned sparse weights by the same format.
 *
 * Score of a document for a query with terms t and weights w_t: sum_t w_t * impact(t, d). For BM25 the impact is
 *     tf / (tf + k1 * (1 - b + b * len / avglen))      (Lucene's form, without the constant factor k1 + 1)
 * and the weight is the query's count of t times idf(t) = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)). For learned vectors
 * the impact is the weight that the model gave, and w_t what the query side says (an IDF table, or a model's).
 * Robertson & Zaragoza 2009; impacts computed at build time as in Anh & Moffat's impact-ordered indexes.
 *
 * THE FILE: checked file "WRSPARSE" (data/mapfile.h), version 1, little-endian; offsets count from the payload's start.
 *
 * Docids are cut into groups of 8,192 and blocks of 64. The search bounds a group by the largest impacts in it and
 * scores its postings where they lie: nothing is decoded, so a posting is one 32-bit word, its docid as an offset in
 * the group. Blocks tell where a docid must be looked for and how much it can bring. Why these sizes: BENCHMARKS.md,
 * "BM25".
 *
 *   header, 128 bytes
 *       0  u32  kind: 1 = BM25, 2 = weights as given
 *       4  u32  bits of an impact: 16 (8 is reserved)
 *       8  u32  docids of a block: 64            12  u32  blocks of a group: 128
 *      16  u64  ndocs <= 2^32 - 1                24  u64  nterms <= 2^32 - 1
 *      32  u64  npostings                        40  u64  terms of all documents, repeats included (avglen * ndocs)
 *      48  f64  k1, 0 in kind 2                  56  f64  b, 0 in kind 2
 *      64  f32  scale, normal and > 0            68  u32  0
 *      72  u64  offset of the postings section   80  u64  its bytes
 *      88  u64  offset of the term table         96  u64  its bytes (24 * nterms)
 *     104  u64  offset of the term names        112  u64  its bytes
 *     120  u64  0
 *   The sections follow in this order, each on a multiple of 64, zeros between them, the last ending the file.
 *
 *   term table, 24 bytes a term, terms in byte order; a term's place is its id
 *       0  u64  offset of the name in its section: where the name before it ends
 *       8  u64  offset of the postings in their section: where those of the term before end, a multiple of 4
 *      16  u32  df >= 1
 *      20  u16  bytes of the name, 1..WR_MAX_TERM_BYTES
 *      22  u8   shape of the postings
 *      23  u8   bound of all its impacts
 *
 *   A stored impact is u16 q = round(impact / scale), at least 1; read as (float)q * scale. BM25's impacts lie in
 *   (0,1) whatever the documents, so its scale is 1/65535. (With 8 bits nDCG@10 of BM25 alone is as good, but
 *   documents change places, and with them the reciprocal ranks of a fusion: LISA lost .007.) Weights as given have one
 *   scale too, the file's largest divided by 65535: scales by term gained nothing (BENCHMARKS.md, "Learned sparse"). A
 *   bound is u8: the largest q of those that it speaks of, divided by 257 and rounded up.
 *
 *   postings of a term, by shape; zeros to a multiple of 4 at the end. G = groups = ceil(ndocs / 8192). A slice is
 *   what a term has in one group: the postings start[g] <= i < start[g + 1].
 *
 *     0 list    u32 docid[df], ascending
 *               u16 q[df]
 *     1 groups  u32 posting[df] = docid % 8192 + 65536 * q
 *               u32 start[G + 1]
 *               u8  bound[G], of each slice
 *     2 blocks  the arrays of 1, zeros to a multiple of 4, then for each group:
 *               u16 first[128], posting of the slice where each block begins
 *               u8  bound[128], of each block
 *
 *   Which term has which shape: wr_sparse_shape() in sparse_format.h.
 */
#ifndef WR_INDEXER_SPARSE_H
#define WR_INDEXER_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/status.h"
#include "indexer/topk.h"

/* ---- writing: documents in docid order in, one file out; memory bounded by external merging ---- */

typedef struct wr_bm25_params {
    double k1; /* 0.9: Anserini's default, the best single setting on MS MARCO and BEIR */
    double b;  /* 0.4: likewise */
} wr_bm25_params;

typedef struct wr_sparse_writer wr_sparse_writer;

/* tmp_dir holds run files until commit; budget_bytes bounds what the writer holds in memory (0 = 256 MiB), but for 4
 * bytes a document (its length), what the postings of the largest single document take, and the buffers of the merge
 * (64 KiB for each of at most 64 runs, and 7 bytes for every 64 documents). */
wr_status wr_sparse_writer_open(wr_sparse_writer **writer, const char *tmp_dir, size_t budget_bytes, wr_err *err);

/* A term has at most this many bytes: four times the longest that the analyzer makes (WR_MAX_TERM). */
#define WR_MAX_TERM_BYTES 1024

/* The next document (docids are given out from 0): its terms in order, repeats included (BM25 counts them). A term that
 * is empty or longer than WR_MAX_TERM_BYTES is WR_EARG. After a failure only abort is left. */
wr_status wr_sparse_writer_add(wr_sparse_writer *writer, const char *const *term, const uint32_t *term_len, size_t n,
                               wr_err *err);

/* The next document of a collection of learned vectors: its distinct terms in any order, weight[n] > 0 and finite. A
 * weight of 0 is passed over. WR_EARG for any other weight, a term of a length that is not allowed or that comes twice,
 * and when the writer was given documents without weights before. After a failure only abort is left. */
wr_status wr_sparse_writer_add_weights(wr_sparse_writer *writer, const char *const *term, const uint32_t *term_len,
                                       const float *weight, size_t n, wr_err *err);

/* Merges the runs and writes path, durable; the bytes depend on the documents and params alone. Frees the writer, in
 * any case. WR_EARG when k1 or b is out of range (k1 finite and >= 0, 0 <= b <= 1), or the documents had weights. */
wr_status wr_sparse_writer_commit_bm25(wr_sparse_writer *writer, const char *path, const wr_bm25_params *params,
                                       wr_err *err);

/* The same for documents that had weights: kind 2. WR_EARG when they had none. */
wr_status wr_sparse_writer_commit_weights(wr_sparse_writer *writer, const char *path, wr_err *err);
void wr_sparse_writer_abort(wr_sparse_writer *writer); /* removes its run files; NULL is fine */

/* ---- reading: constant and shared ---- */

typedef struct wr_sparse wr_sparse;

wr_status wr_sparse_open(wr_sparse **sparse, const char *path, wr_err *err);
void wr_sparse_close(wr_sparse *sparse);

typedef enum wr_sparse_kind { WR_SPARSE_BM25 = 1, WR_SPARSE_WEIGHTS = 2 } wr_sparse_kind;

typedef struct wr_sparse_stats {
    wr_sparse_kind kind;
    uint64_t ndocs, nterms, npostings, total_length;
    double avg_length;
    float scale; /* an impact is a whole multiple of it, 65535 of them at most */
    uint64_t bytes_terms, bytes_postings, bytes_blocks;
} wr_sparse_stats;
void wr_sparse_stats_get(const wr_sparse *sparse, wr_sparse_stats *stats);

/* Term -> term id (terms in byte order), -1 when no document has it. O(log nterms). */
int64_t wr_sparse_term(const wr_sparse *sparse, const char *term, size_t len);
uint32_t wr_sparse_df(const wr_sparse *sparse, uint32_t term);
float wr_sparse_idf(const wr_sparse *sparse, uint32_t term); /* the BM25 formula above */

/* A query: unique term ids, weights > 0. */
typedef struct wr_sparse_query {
    const uint32_t *term; /* [n] */
    const float *weight;  /* [n] */
    size_t n;
} wr_sparse_query;

/* The k best documents, exact over the stored impacts: identical to exhaustive scoring, ties by docid, for every k.
 *
 * A score is the sum over the query's terms of weight * impact, each product taken to the next multiple of a unit: the
 * power of two of which the largest score that the weights allow has 2^22 to 2^23. So sums are exact in any order, the
 * same document gets the same bits on every path, and a unit is about what float would round away.
 *
 * Dynamic pruning (MaxScore over groups of documents, see sparse_group.c). The budget is checked at every group but the
 * first and every 16,384 postings (about 20 us); past it hits are the best so far, hits->partial set. hits->seen counts
 * the documents whose score was worked out or begun. hits is borrowed from arena. k in 1..WR_MAX_K. WR_ENOMEM when the
 * arena is exhausted: it needs 64 KiB, 100 bytes a term (and 4 bytes a posting of a rare one), 24 bytes a hit and 12
 * bytes a group. exclude[nexclude] (ascending docids, may be NULL) never enter. A term id that does not exist is passed
 * over. */
wr_status wr_sparse_search(const wr_sparse *sparse, const wr_sparse_query *query, size_t k, const uint32_t *exclude,
                           size_t nexclude, const wr_budget *budget, wr_arena *arena, wr_hits *hits);

/* Two phases, as OpenSearch's neural_sparse_two_phase_processor: the terms whose weight is at least ratio times the
 * largest find expansion * k documents (WR_MAX_K at most), which are then scored by all terms. A field of 0 is the
 * default (OpenSearch's); phases may be NULL. Approximate: a document whose score comes from light terms is missed. All
 * else as wr_sparse_search(), scores too. */
typedef struct wr_sparse_two_phase {
    float ratio, expansion;
} wr_sparse_two_phase;

#define WR_SPARSE_TWO_PHASE_RATIO 0.4f
#define WR_SPARSE_TWO_PHASE_EXPANSION 5.0f

wr_status wr_sparse_search_two_phase(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                     const wr_sparse_two_phase *phases, const uint32_t *exclude, size_t nexclude,
                                     const wr_budget *budget, wr_arena *arena, wr_hits *hits);

/* wr_sparse_search() by scoring every posting: the definition, for tests. */
wr_status wr_sparse_search_exhaustive(const wr_sparse *sparse, const wr_sparse_query *query, size_t k,
                                      const uint32_t *exclude, size_t nexclude, wr_arena *arena, wr_hits *hits);

/* Stored impact of one term in one document (0 when it does not occur), for explanations. */
float wr_sparse_impact(const wr_sparse *sparse, uint32_t term, uint32_t docid);

/* A term's name, not NUL-terminated, borrowed from the map; NULL when the id does not exist. */
const char *wr_sparse_name(const wr_sparse *sparse, uint32_t term, size_t *len);

/* What one term of a query adds to the score of one document. */
typedef struct wr_sparse_share {
    uint32_t term;
    float query;  /* its weight in the query                                      */
    float impact; /* as stored, wr_sparse_impact()                                */
    double added; /* query * impact, taken to the next multiple of the unit above */
} wr_sparse_share;

/* The shares of a score that wr_sparse_search(), its two-phase form or wr_sparse_ann_search() gave this document for this
 * query: share[*n], room for query->n is the caller's, those terms that the document has, in the query's order. All are
 * multiples of *unit, so their sum in double is exact, and it is the score to the bit. One look-up a term; the arena is
 * left as it was. WR_ENOMEM when it is exhausted: 128 bytes a term. */
wr_status wr_sparse_explain(const wr_sparse *sparse, const wr_sparse_query *query, uint32_t docid, wr_arena *arena,
                            wr_sparse_share *share, size_t *n, double *unit);

/* Reads every byte and checks what opening did not: order of docids and terms, block maxima, counts. For fsck, beside
 * the checksums of the manifest: a docid that became another one in order is theirs to find. */
wr_status wr_sparse_verify(const wr_sparse *sparse, wr_err *err);

#endif
