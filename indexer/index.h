/* Opens a generation: manifest, checks, the stores as one wr_index.
 *
 * DIR/
 *   manifest.json      what is current; published last, by rename (format below)
 *   gen-000001/        one immutable generation
 *     docs.mdb         documents (docstore.h)
 *     passages.bin     passage -> document map (checked file "WRPASSAG": u32 document[npassages])
 *     bm25.bin         impact postings (sparse.h)
 *     sparse.bin       learned sparse postings (sparse.h; terms are the model's tokens), absent without
 *     query.bin        the weights of a query's tokens (checked file "WRQUERYW": f32 weight[tokens] by token id),
 * absent where queries go through the model clusters.bin     for approximate search of sparse.bin (sparse_ann.h),
 * absent where it is not wanted vectors.bin      dense vectors (dense.h), absent without dense dense.faiss      the
 * FAISS index, absent for "Flat" and without dense
 *
 *   lock               held by the builder at work
 *
 * manifest.json (keys sorted, two spaces, LF at the end; read and written by manifest.h):
 *   "format": 1, "weir": "0.1.0", "generation": "gen-000001", "created": "2026-11-24T12:00:00Z" (the only field that
 *   differs between two builds of the same input), "corpus": {"sha256","documents","format"},
 *   "analyzer": "english", "bm25": {"k1","b"}, "default_pipeline": "...",
 *   "dense": {"model": {"path","sha256","name"}, "dim","pooling","normalize","max_doc_tokens","max_query_tokens",
 *             "factory","fast_build","documents_cut"} or null,
 *   "sparse": {"model": {"path","sha256","name"} or null (then there are no token limits), "max_doc_tokens",
 *              "max_query_tokens", "documents": "model" or "vectors" (imported), "query": "idf", "model" or "none",
 *              "idf": where the table is from, "model", "corpus", "both", "file" or "none", "clusters", "prune_ratio",
 *              "density": tokens kept of a short document, 0 = all, "documents_cut"} or null
 *   "tokens": {"tokenizer": sha256 (wr_tokenizer_sha256()), "max"}: whose ids docs.mdb keeps, how many of a document;
 * or null "segments": [{"base": 0, "passages": N, "documents": N, "files": [{"name","bytes","block_bytes": 1048576,
 * "xxh3": ["16 hex digits", ...]}]}], "xxh3": "16 hex digits": XXH3-64 of this text without its lines "created" and
 * "xxh3"
 *
 * Opening verifies the manifest, every file's length, our headers, and all blocks of what a library parses
 * (docs.mdb, dense.faiss); wr_index_fsck() verifies every byte.
 */
#ifndef WR_INDEXER_INDEX_H
#define WR_INDEXER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"
#include "indexer/dense.h"
#include "indexer/docstore.h"
#include "indexer/sparse.h"
#include "indexer/sparse_ann.h"
#include "models/idf.h"

typedef struct wr_index wr_index;

/* The largest sparse_density, the largest vocabulary that we read. */
#define WR_MAX_DENSITY ((size_t)1 << 24)

typedef struct wr_index_info {
    const char *dir, *name; /* name: last component of dir */
    const char *generation; /* "gen-000001"                */
    const char *created, *version;
    const char *corpus_sha256, *corpus_format;
    const char *analyzer;
    const char *default_pipeline;
    double k1, b;
    uint64_t documents, passages;
    bool has_dense;
    const char *dense_model_path, *dense_model_sha256, *dense_model_name, *dense_factory, *dense_pooling;
    size_t dense_dim, dense_max_doc_tokens, dense_max_query_tokens;
    bool dense_normalize, dense_fast_build;
    uint64_t documents_cut;
    bool has_sparse;                                                         /* learned sparse postings */
    const char *sparse_model_path, *sparse_model_sha256, *sparse_model_name; /* "" without a model       */
    const char *sparse_documents; /* "model", "vectors"                                        */
    const char *sparse_query;     /* "idf" (table), "model" (inference), "none" (given alone)  */
    const char *sparse_idf;       /* "model", "corpus", "both", "file", "none"                 */
    bool sparse_clusters;         /* approximate search is possible                            */
    size_t sparse_max_doc_tokens, sparse_max_query_tokens;
    double sparse_prune_ratio;
    size_t sparse_density; /* at most so many tokens of a short document, 0 = all */
    double sparse_lexical; /* what a document's own words weigh (lexical.h), 0 = nothing */
    wr_query_tf sparse_query_tf;
    uint64_t sparse_documents_cut;
    const char *tokenizer_sha256; /* of the token ids in the document store; "" without */
    size_t max_ids;               /* tokens kept of a document; 0 without               */
} wr_index_info;

/* Opens the current generation of dir. WR_ENOTFOUND without a manifest; WR_EFORMAT names the file that is wrong. When a
 * builder publishes meanwhile, the newer generation is opened. */
wr_status wr_index_open(wr_index **index, const char *dir, wr_err *err);
void wr_index_close(wr_index *index);

const wr_index_info *wr_index_info_get(const wr_index *index); /* borrowed until close */
uint32_t wr_index_ndocs(const wr_index *index);                /* passages             */
uint32_t wr_index_document(const wr_index *index, uint32_t passage);
const wr_docstore *wr_index_docstore(const wr_index *index);
const wr_sparse *wr_index_bm25(const wr_index *index);
const wr_dense *wr_index_dense(const wr_index *index);         /* NULL without dense */
const wr_sparse *wr_index_sparse(const wr_index *index);       /* learned; NULL without */
const wr_sparse_ann *wr_index_clusters(const wr_index *index); /* of the learned postings; NULL without */

/* What a query's tokens weigh, [*n] by token id; NULL where sparse_query is not "idf". */
const float *wr_index_query_weights(const wr_index *index, size_t *n);

/* Passages of a document (one today): the range [*first, *first + *n). */
void wr_index_passages(const wr_index *index, uint32_t document, uint32_t *first, uint32_t *n);

/* Verifies every byte of the current generation; report (may be NULL) is told each file as it passes. WR_EFORMAT names
 * file and block. */
wr_status wr_index_fsck(const char *dir, void (*report)(void *arg, const char *file, uint64_t bytes), void *arg,
                        wr_err *err);

/* The generation that dir's manifest names now, into out[cap]: how a server sees that there is a newer one. */
wr_status wr_index_current(const char *dir, char *out, size_t cap, wr_err *err);

#endif
