/* How the score of a hit came about, stage by stage: wr_request.explain fills wr_hit.explain.
 *
 * What is shown is the arithmetic that ran, not a second one beside it, so the parts add up to the score that was served:
 *
 *   bm25, sparse   score = sum of the terms' contributions, one for each term of the query that the document has, the
 *                  heaviest first. The search counts in units (indexer/sparse.h): contribution = query * impact taken to
 *                  the next multiple of `unit`, a power of two, so the sum in double is exact and is the score to the
 *                  bit. `document` is the weight as the search counted it, contribution / query: within a unit / query
 *                  of the stored impact, which is itself a multiple of 1/65535 (BM25) or of a 65,535th of the file's
 *                  largest weight. For BM25 query = count * idf. A sparse list of two phases adds products in double
 *                  instead, and rounds their sum to float: there `unit` is 0 and `document` is the stored impact. The
 *                  approximate mode scores as the exact one does.
 *   dense          score = the inner product of the query's vector and the document's, `metric` says so: "cosine" where
 *                  both were made unit vectors, "inner_product" otherwise (a query that brought its vector).
 *   rrf, lin       score = sum of a part for each list, in the order of the pipeline, in double, rounded to float:
 *                  contribution = weight / (60 + rank), or weight * normalised with normalised = (score - min) /
 *                  (max - min) over that list. A list that does not hold the document contributes 0 and has rank 0.
 *   cross          score = the model's own. Its `result`, by which it orders, is the score; with a share (cross@0.2) it
 *                  is the sum of two parts, the stage's own score and the one that came in (which is a result too,
 *                  shifted as below), each min-max-normalised over the documents that were scored.
 *   list           score = the letter's logit in the last window that the passage was in; it compares with those of that
 *                  window only. Its `result` is the score that stood at the passage's new position before: a list moves
 *                  passages and leaves scores where they are. A passage without a logit (top30: its letter was not among
 *                  the 30 most probable tokens) is "not_listed" and stands behind those of its window.
 *
 * The served score of a hit is the result of the stage that placed it plus `shift`: 0, or a step of float among equal
 * scores, or for hits behind a reranked head the constant that puts them below it (fuse.h, wr_scores_monotone()).
 *
 * A stage that did not hold the hit has gap set and explains nothing: there is no score, and none is invented. So a hit
 * of the dense list alone has no terms, although it may have words of the query.
 *
 * Time and memory. Nothing of this is done before the ranking is final, and it changes none of it. Ranks, fusions,
 * similarities and rerank scores come from what the stages left and are always there: a few ns a candidate. Terms are
 * looked up in the postings, hit by hit, best first: about 0.1 us a term and hit. With a deadline the look-ups end when a
 * quarter of the reserve before the hard deadline is left (at most 0.5 ms, for writing the reply); a list of a hit that
 * was not reached says so in left_out. The ranking is not degraded by that: it is not in degraded[], and strict does not
 * mind. took_ms counts the time of explanations. A request that does not ask pays nothing but a branch.
 */
#ifndef WR_RANKER_EXPLAIN_H
#define WR_RANKER_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ranker/pipeline.h"

/* Why a stage does not hold a hit. */
typedef enum wr_gap {
    WR_GAP_NONE,     /* it does                                                            */
    WR_GAP_LISTED,   /* a list that is whole, and the document is not in it: no match, or not good enough for its length */
    WR_GAP_DEPTH,    /* a rerank stage takes fewer documents                               */
    WR_GAP_DEGRADED, /* the stage was cut short or left out: its entry in degraded[] says why */
} wr_gap;

/* A term of the query that the document has. */
typedef struct wr_explain_term {
    const char *text; /* [len] as it is indexed: analysed for bm25, a model's token for sparse */
    size_t len;
    uint32_t count; /* bm25: how often the query has it; 0 for sparse */
    float idf;      /* bm25: query = count * idf                      */
    float query;
    double document;
    double contribution; /* query * document */
} wr_explain_term;

/* One summand of a fusion or of an interpolation. */
typedef struct wr_explain_part {
    const char *name; /* the list's stage, the rerank stage itself, or "previous" */
    double weight;
    uint32_t rank;    /* in the list; 0: it does not hold the document. Of "previous": before the stage */
    float score;
    float min, max;      /* of the list, or of the documents that were scored; 0 in rrf */
    double normalised;   /* (score - min) / (max - min), 1 where they are equal; 0 in rrf */
    double contribution;
} wr_explain_part;

/* What one stage did with a hit. */
typedef struct wr_explain_stage {
    wr_stage_kind kind;
    wr_gap gap;
    uint32_t before, after; /* rank from 1; before is 0 for lists and fusions, both are 0 where the stage has no rank */
    float score;            /* the hit's stage_score                                                                */
    float result;           /* what it is ordered by: the score, or the sum of an interpolation; list: see above    */

    const wr_explain_term *term; /* [nterms] bm25, sparse: by falling contribution            */
    size_t nterms;
    double unit;          /* bm25, sparse: of which contributions are multiples; 0 = products in double */
    const char *left_out; /* why terms were not looked up: "budget", "memory"; NULL = they were         */

    const char *metric; /* dense */

    const wr_explain_part *part; /* [nparts] rrf, lin; cross with a share: its own and "previous" */
    size_t nparts;

    const char *model; /* cross, list; "" when it was not loaded     */
    size_t exit;       /* layers that were run, 0 = all              */
    double keep;       /* share of tokens for the last layer, 0 = all */
} wr_explain_stage;

/* Borrowed as the hit is. */
typedef struct wr_explain {
    wr_explain_stage *stage; /* [reply->nstages]                               */
    double shift;            /* the hit's score less the result of its stage   */
} wr_explain;

/* Why a stage of the reply does not hold a hit (gap is set): "not_listed", "depth", or the reason that stands in
 * degraded[]. */
struct wr_response;
const char *wr_explain_reason(const struct wr_response *reply, size_t stage, const wr_explain_stage *of);

#endif
