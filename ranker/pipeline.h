/* A pipeline in one line of text, and what it means: first stage, fusion, rerank stages, left to right.
 *
 *     bm25:100                                   one retriever, a list of 100
 *     rrf(2*bm25,dense:500):200 > cross:50       two lists fused, the best 50 reranked
 *     lin(0.4*bm25,0.6*dense):100                min-max normalised scores added
 *     sparse[mode=approx,heap_factor=0.7]:100    Seismic's and OpenSearch's names: mode, heap_factor, query_cut, two_phase
 *     ... > cross@0.7[model=tiny]:100 > cross:20 0.7 of the stage's score, 0.3 of the one before
 *     ... > cross[exit=2,keep=0.6]:100 > cross   a quick look at many (two layers, fewer tokens), all of it at the best
 *     ... > list:20                              a decoder orders the best 20, one window (rerank_listwise.h)
 *     ... > list[model=qwen,window=10,stride=5,prompt=paper,logits=top30]:50
 *
 * Grammar (white space allowed between tokens):
 *     pipeline  = first { ">" rerank }
 *     first     = retriever | ("rrf" | "lin") "(" item { "," item } ")" [ ":" N ]
 *     item      = [ weight "*" ] retriever
 *     retriever = ("bm25" | "sparse" | "dense") [ options ] [ ":" N ]
 *     rerank    = ( "cross" [ "@" weight ] | "list" ) [ options ] [ ":" N ]
 *     options   = "[" key "=" value { "," key "=" value } "]"
 * N is 1..WR_MAX_K; without it a retriever or a fusion gives 100, a list inside a fusion has the fusion's depth, a
 * rerank stage takes 20 documents (list) or 50 (cross).
 */
#ifndef WR_RANKER_PIPELINE_H
#define WR_RANKER_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "ranker/listwise.h"

typedef enum wr_stage_kind { WR_BM25, WR_SPARSE, WR_DENSE, WR_RRF, WR_LIN, WR_CROSS, WR_LIST } wr_stage_kind;

/* How learned sparse postings are searched: all that can be among the best, or clusters that look promising. */
typedef enum wr_sparse_mode { WR_SPARSE_AUTO, WR_SPARSE_EXACT, WR_SPARSE_APPROX } wr_sparse_mode;

#define WR_MAX_LISTS 8    /* lists in one fusion: three kinds of index, some with two settings */
#define WR_MAX_RERANK 4   /* rerank stages: the deepest published cascades have three          */
#define WR_MAX_PIPELINE 1024 /* characters */

typedef struct wr_stage {
    wr_stage_kind kind;
    size_t depth;   /* length of the list, or how many of the best are reranked */
    double weight;  /* in a fusion; for a rerank stage the share of its own score, 1 = its score alone */
    char model[64]; /* cross[model=...], list[model=...]; "" = the first one loaded */
    size_t ef, nprobe; /* dense[ef=..,nprobe=..]; 0 = default */
    wr_sparse_mode mode;  /* sparse[mode=exact|approx]                                                             */
    double heap_factor;   /* sparse[heap_factor=0.7]: approx; 0 = default                                          */
    size_t query_cut;     /* sparse[query_cut=8]: approx; 0 = default                                              */
    double two_phase;     /* sparse[two_phase=0.4]: first tokens of at least this share of the heaviest; 0 = all   */
    size_t exit;    /* cross[exit=L]: L layers are run; 0 = all */
    double keep;    /* cross[keep=S]: the share of tokens that go on to the last layer (models/eliminate.h); 0 = all */
    size_t window, stride; /* list[window=20,stride=10]; 0 = default (rerank_listwise.h) */
    wr_prompt prompt;      /* list[prompt=template|paper]                                */
    bool top30;            /* list[logits=letters|top30]                                 */
    bool missing;   /* in the default pipeline only: its model is not loaded, the stage is left out */
    char name[16];  /* how replies call it: "bm25", "rrf", "cross", a second one "cross_2" */
} wr_stage;

typedef struct wr_pipeline {
    wr_stage list[WR_MAX_LISTS]; /* [nlists] retrievers */
    size_t nlists;
    bool fused;    /* else nlists == 1 and fuse is unused */
    wr_stage fuse; /* WR_RRF or WR_LIN */
    wr_stage rerank[WR_MAX_RERANK]; /* [nrerank] */
    size_t nrerank;
} wr_pipeline;

/* A loaded cross-encoder, as far as stages ask for it. */
typedef struct wr_cross_shape {
    const char *name;
    size_t layers;      /* 0 = any exit is taken                                       */
    const size_t *exit; /* [nexits] behind these layers it has heads that were trained */
    size_t nexits;
} wr_cross_shape;

/* A loaded decoder, as far as stages ask for it. */
typedef struct wr_list_shape {
    const char *name;
    size_t letters; /* passages that a window may have; 0: the vocabulary has no letters, it ranks no list */
} wr_list_shape;

/* What the names "default", "hybrid" and "full" stand for and what may be named at all. */
typedef struct wr_pipeline_scope {
    const char *default_pipeline; /* from the manifest */
    bool has_bm25, has_dense, has_sparse;
    bool has_sparse_ann; /* beside the learned sparse postings there are clusters for approximate search */
    const wr_cross_shape *cross; /* [ncross] the loaded cross-encoders */
    size_t ncross;
    const wr_list_shape *list; /* [nlist] the loaded decoders */
    size_t nlist;
} wr_pipeline_scope;

/* Parses text; WR_EARG says at which character what was expected, or which index or model is not there.
 *
 * What stands in the manifest was not written by who asks, so there the alias "default" is taken further than the same
 * text would be: a rerank stage whose model is not loaded is marked missing, and an exit that the model was not trained
 * for is dropped (all layers are run). */
wr_status wr_pipeline_parse(wr_pipeline *pipeline, const char *text, const wr_pipeline_scope *scope, wr_err *err);

/* Writes the canonical form (aliases and defaults spelled out) into out[cap]. */
void wr_pipeline_print(const wr_pipeline *pipeline, char *out, size_t cap);

const char *wr_stage_kind_name(wr_stage_kind kind);

#endif
