/* Several ranked lists into one.
 *
 * rrf: reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): score(d) = sum_i w_i / (60 + rank_i(d)), ranks from 1.
 * lin: score(d) = sum_i w_i * (s_i(d) - min_i) / (max_i - min_i) over the lists that hold d; a list whose scores are
 *      all equal gives 1 to each of its documents.
 */
#ifndef WR_RANKER_FUSE_H
#define WR_RANKER_FUSE_H

#include <stddef.h>

#include "data/arena.h"
#include "data/status.h"
#include "indexer/topk.h"

#define WR_RRF_K 60 /* the paper's constant: flat optimum between 20 and 100 */

/* list[n] with weight[n]; the best `depth` go to out, borrowed from arena. A document stands at most once in a list.
 * Cost: O(total log total). */
wr_status wr_fuse_rrf(const wr_hits *list, const double *weight, size_t n, size_t depth, wr_arena *arena, wr_hits *out);
wr_status wr_fuse_lin(const wr_hits *list, const double *weight, size_t n, size_t depth, wr_arena *arena, wr_hits *out);

/* x[i] -> (x[i] - min) / (max - min), all 1 when max == min. */
void wr_minmax(const float *x, size_t n, double *out);

/* Makes scores strictly falling in the served order, so that sorting by (score, docno) descending gives it back:
 * head[0..nhead) keep their scores, those behind are shifted by one constant to begin below the head's last, and a score
 * that is not below the one before is lowered to the next float. */
void wr_scores_monotone(float *score, size_t n, size_t nhead);

#endif
