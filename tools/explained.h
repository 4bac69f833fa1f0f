/* An explained hit (ranker/explain.h) as indented lines for a terminal: a line for each stage, below it what its score is
 * the sum of.
 *
 *     bm25      rank 3              11.2034
 *                2.57741 = 4.21050 x 0.612138  tide
 *     dense     -                            not in its list
 *     lin       rank 2             0.273141
 *               0.273141 = 0.3 x 0.910470      bm25: 11.2034 in 3.1 .. 12, rank 3
 *                      0                       dense: not in its list
 *     cross     rank 2 -> 1         7.31054  weir-cross, 2 layers
 */
#ifndef WR_TOOLS_EXPLAINED_H
#define WR_TOOLS_EXPLAINED_H

#include "ranker/rank.h"

/* Prints hit->explain to stdout; nothing when it is NULL. */
void wr_explained_print(const wr_hit *hit, const wr_response *reply);

#endif
