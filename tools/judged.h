/* One topic's ranking laid over its judgments: what every measure looks at.
 *
 *     wr_judged judged = {0};
 *     st = wr_judged_reset(&judged, qrels_topic, run_topic->n);
 *     for (size_t i = 0; i < run_topic->n; i++) wr_judged_add(&judged, run_topic->doc[i].docno);
 *     wr_judged view = wr_judged_at(&judged, 1, 0);   // grade 1 and up is relevant, the whole ranking
 *
 * The words are trec_eval's. A topic's pool is the documents that its judgments name; a negative judgment says "in the
 * pool, but nobody looked at it", which only inferred measures tell apart from "not in the pool".
 */
#ifndef WR_TOOLS_JUDGED_H
#define WR_TOOLS_JUDGED_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "data/trec.h"

#define WR_REL_NONPOOL (-1L)  /* the judgments do not name the document   */
#define WR_REL_UNJUDGED (-2L) /* they do, with a negative judgment        */
#define WR_MAX_GAIN_PAIRS 64  /* gains given on one command line for one measure; real scales have five grades */

/* A grade, how many documents of the topic have it, and what one of them is worth. */
typedef struct wr_gain {
    long rel;
    size_t count;
    double gain;
} wr_gain;

typedef struct wr_judged {
    long *rel;      /* [n] grade, WR_REL_NONPOOL or WR_REL_UNJUDGED of each document, best first */
    size_t n;       /* documents retrieved                                                       */
    wr_gain *grade; /* [ngrades] the topic's judged grades, ascending, the gain of each its grade; 0 is always there */
    size_t ngrades;
    wr_gain *scratch; /* [2 * (ngrades + WR_MAX_GAIN_PAIRS)] for the measures that weigh grades otherwise */
    const wr_qrels_topic *topic;
    bool judged_only; /* set by the caller: unjudged documents are left out as if they had not been retrieved */
    double ndocs;     /* set by the caller: documents in the collection (only `utility` may want it), 0 = unknown */

    /* Valid in what wr_judged_at() returns. */
    long min_rel;       /* this grade and up is relevant                       */
    size_t num_rel;     /* judged relevant documents of the topic              */
    size_t num_nonrel;  /* judged documents of the topic that are not relevant */
    size_t num_rel_ret; /* relevant documents among the n retrieved            */

    size_t cap, grade_cap, scratch_cap;
} wr_judged;

/* Begins a topic with room for n documents; memory is kept from topic to topic. A zeroed struct is a valid start.
 * topic may be NULL: then nothing is judged. */
wr_status wr_judged_reset(wr_judged *judged, const wr_qrels_topic *topic, size_t n);

/* The document of the next rank; no more often than wr_judged_reset() was told. */
void wr_judged_add(wr_judged *judged, const char *docno);

/* A view of the first `cut` documents (0 = all) with its counts filled; borrows everything from judged. O(cut + grades)
 */
wr_judged wr_judged_at(const wr_judged *judged, long min_rel, size_t cut);

void wr_judged_release(wr_judged *judged);

#endif
