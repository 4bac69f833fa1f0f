/* corpus -> tokenizer -> encoder -> the stores -> manifest, last and by rename.
 *
 * Memory is bounded: documents stream through, postings are merged externally, vectors go to their file as they come.
 * The bytes of a generation depend on the corpus and the options alone, not on the number of threads.
 * Whatever kills the process: the folder opens as before, and the next build removes what was left behind.
 */
#ifndef WR_INDEXER_BUILD_H
#define WR_INDEXER_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/corpus.h"
#include "data/pool.h"
#include "data/status.h"
#include "indexer/sparse.h"
#include "models/model.h"

/* Where the weights of a query's tokens come from: where the model has a table, that, alone or with the documents as
 * the model says, else inference; the model's table and nothing else; the documents that are indexed; both
 * (wr_idf_blend()); a file. */
typedef enum wr_idf_source { WR_IDF_AUTO, WR_IDF_MODEL, WR_IDF_CORPUS, WR_IDF_BOTH, WR_IDF_FILE } wr_idf_source;

/* What a model's table counts for with WR_IDF_BOTH where the model does not say (sparse_idf_documents). On pools of ten
 * collections of 125 to 31,000 documents: 1,000 .543, 5,000 .545, 20,000 .543 (BENCHMARKS.md). */
#define WR_IDF_DOCUMENTS 5000

/* Whether approximate search of the learned sparse postings is prepared (a second file, several times as large): by
 * default from WR_CLUSTERS_FROM passages on. Up to half a million exact search is as fast (BENCHMARKS.md, "Learned
 * sparse"). */
typedef enum wr_sparse_index { WR_SPARSE_INDEX_AUTO, WR_SPARSE_INDEX_EXACT, WR_SPARSE_INDEX_APPROX } wr_sparse_index;
#define WR_CLUSTERS_FROM 1000000

/* No limit to a document's learned tokens, whatever the model says. */
#define WR_DENSITY_ALL SIZE_MAX

/* No weight of a document's own words, whatever the model says. */
#define WR_LEXICAL_NONE (-1.0)

typedef struct wr_build_options {
    const char *corpus;
    wr_corpus_format format;
    const char *out;
    const char *analyzer; /* NULL = "english" */
    wr_bm25_params bm25;
    const wr_model *dense; /* NULL = no dense index */
    const char *factory;   /* NULL = wr_dense_default_factory() */
    bool fast_build;
    const wr_model *sparse; /* encodes documents; where the corpus brings vectors, only queries. NULL = none */
    double prune_ratio; /* vectors that the corpus brings lose weights up to this share of their largest; 0 = none */
    size_t density;     /* learned tokens kept of a short document, of a longer one in proportion (build_sparse.h):
                           0 = as the model says, WR_DENSITY_ALL = all                                           */
    double lexical;     /* what the words of an encoded document weigh (lexical.h): 0 = as the model says,
                           WR_LEXICAL_NONE = nothing                                                     */
    bool no_sparse;     /* vectors that the corpus brings are left out                                   */
    wr_sparse_index sparse_index;
    wr_idf_source idf;
    const char *idf_file; /* of WR_IDF_FILE */
    bool two_passes;      /* also where one pass of the encoder would serve both models: the same bytes, slower */
    wr_pool *pool;
    /* Called now and then on the building thread: documents so far, corpus bytes read and in all (0 = unknown). */
    void (*progress)(void *arg, const char *phase, uint64_t docs, uint64_t read, uint64_t total);
    void *arg;
} wr_build_options;

typedef struct wr_build_report {
    uint64_t documents, documents_cut; /* cut: longer than the dense model's limit */
    uint64_t sparse_documents_cut;     /* than the sparse model's                  */
    bool has_sparse;
    bool one_pass; /* the encoder ran once for both models; its time counts as the vectors' */
    uint64_t bm25_postings, sparse_postings;
    char generation[32];
    double seconds_read, seconds_dense, seconds_sparse, seconds_postings, seconds_graph;
} wr_build_report;

/* An empty corpus is WR_EFORMAT. Older generations are kept until the new one is published; then all but the newest
 * previous one are removed (a server may still have it open: its maps stay valid). One builder at a time per folder
 * (flock on DIR/lock; WR_EFULL when another one is at work). */
wr_status wr_build(const wr_build_options *options, wr_build_report *report, wr_err *err);

/* A new generation of the index in dir with the same documents, postings and vectors (hard links, or copies where a
 * file system has none) and another dense index: no text is read or encoded. factory NULL = wr_dense_default_factory().
 * WR_ENOTFOUND without an index, WR_EARG when it has no vectors. */
wr_status wr_rebuild(const char *dir, const char *factory, bool fast, wr_pool *pool, wr_build_report *report,
                     wr_err *err);

#endif
