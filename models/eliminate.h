/* Word-vector elimination: a pass drops the tokens that the others attend to least, so that later layers have fewer
 * rows (arXiv 2003.05673's idea with a speed that is chosen at run time).
 *
 * Contribution. What token j receives in a layer: the sum of column j of the attention matrix over heads and queries
 * (divided by their number it would be the mean; the order is the same). Equal ones go by position, the earlier stays.
 *
 * Where. Right behind a layer's attention: the dropped tokens' values have reached the others by then, and nobody reads
 * their own state any more, so that the rest of that layer is spared too.
 *
 * Schedule. Of the n tokens of a sequence that may be dropped, ceil(share * n) go on behind each layer:
 *
 *     share = 1                                behind the first F layers
 *     share = 1 / (1 + t (1 / keep - 1))       then, t = 1/D, 2/D .. 1 over the D layers that follow
 *     none are dropped                         in the last layer, where no attention follows, and in layers that see
 *                                              a passage without its query: attention says nothing of relevance there
 *
 * keep is the share at the end. 1 / share grows by equal steps: six layers with keep 0.5 go on with 100, 100, 75, 60,
 * 50, 50 %. F = 2, since attention in the first layers is about neighbours and says little about what matters; of few
 * layers at most half of those that can drop (F = 0 of two layers, 1 of three or four). One layer drops nothing.
 *
 * Kept always. In a pair (some token has type 1) all of type 0, that is [CLS], the query and [SEP], and the last token;
 * in a single text the first and the last one. Where a pair's parts begin apart, the passage's [CLS] as well.
 *
 * A sequence's choice depends on that sequence alone.
 */
#ifndef WR_MODELS_ELIMINATE_H
#define WR_MODELS_ELIMINATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/status.h"

/* One group of sequences on its way through the layers. */
typedef struct wr_elimination {
    float keep;    /* 0 and 1 drop nothing                                                    */
    size_t layers; /* that are run                                                            */
    size_t apart;  /* the first ones, that see a passage without its query; set behind init   */
    bool parts;    /* passages have a [CLS] of their own; set behind init                     */
    size_t nseq;
    const uint32_t *whole; /* [nseq + 1] cumulative lengths at the beginning                  */
    uint32_t *cu;          /* [nseq + 1] of what is left, from 0                              */
    uint8_t *fixed;        /* [cu[nseq]] 1 = kept always                                      */
    float *received;       /* [cu[nseq]] what tokens receive in the layer that runs           */
    float *heads;          /* room for what one sequence's receive of single heads            */
    uint64_t *order;       /* for sorting                                                     */
} wr_elimination;

/* Memory for groups of up to `rows` tokens, and `heads` floats; WR_ENOMEM. Nothing is taken when nothing is dropped. */
wr_status wr_elimination_init(wr_elimination *e, wr_arena *arena, float keep, size_t layers, size_t rows, size_t heads);

/* Upper bound of the arena bytes of that. */
size_t wr_elimination_bytes(size_t rows, size_t heads);

/* A new group: cu [nseq + 1] need not begin at 0, type (may be NULL) belongs to its first token. Both are borrowed. */
void wr_elimination_begin(wr_elimination *e, const uint32_t *cu, size_t nseq, const uint8_t *type);

/* Whether tokens are dropped in layer i, from 0; then received is zeroed and the layer's attention must
 * add to it. */
bool wr_elimination_due(wr_elimination *e, size_t i);

/* Drops tokens: moves the rows that stay together in x and ctx [cu[nseq], dim], updates cu, returns cu[nseq]. */
size_t wr_elimination_run(wr_elimination *e, size_t i, float *x, float *ctx, size_t dim);

/* The share of tokens that go on behind layer i, from 0, of `layers`. */
double wr_keep_share(float keep, size_t i, size_t layers);

/* Tokens that go on of a sequence of n, `fixed` of which are kept always. */
size_t wr_keep_count(float keep, size_t i, size_t layers, size_t n, size_t fixed);

#endif
