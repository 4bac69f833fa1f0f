/* Which parts of an encoder become bytes, and the directory that holds them.
 *
 * A part is what can be rounded by itself: the word embeddings (with a learned
 * sparse model's decoder, which is made of them), and in each layer the product of the queries, of the
 * keys and values (one product), of what was attended, up and down. Errors are not guessed from the weights: the whole
 * model is run on the calibration pairs, and its scores are compared with fp32's.
 *
 *     loss     root mean square of the scores' errors, as a share of the scores' standard deviation (models/probe.h).
 *              A loss of r turns round about r / pi of the pairs of texts, and Spearman's correlation is about 1 - r r
 * / 2. Of a cross-encoder with exits it is the largest of theirs and the last layer's: bytes must do for all.
 *
 * Step 1: every part alone as bytes, without and with an input scale (SmoothQuant, arXiv 2211.10438 and 2312.03788):
 *         s_j = max|X_j|^a / max|W_j|^(1 - a), activations are divided by s and weights multiplied, a = .25, .5, .75,
 *         max|X_j| as fp32 meets it on the calibration texts. The scale that lowers the loss most is kept, if it lowers
 *         it by a tenth at least: less is the chance of few texts, and costs a multiplication.
 * Step 2: in the order of the network, what each part adds to the parts before it, all of them bytes: squares of losses
 *         of independent errors would add up, and what is beyond that is the parts' interaction. (Papers give pairs of
 *         layers and traces of Hessians; with bytes for all that came before, one run a part tells what matters.)
 * Step 3: the parts in the order of (loss alone)^2 + interaction / 2, half of which is the others'; and bisection for
 *         the most of them that may be bytes together within the allowed loss. The rest stay as they are stored.
 *
 * Or the decisions of another model are taken over, one that was quantised before: two models that share an encoder of
 * floats then share its bytes as well, so that a text may pass through it once for both.
 *
 * About 7 runs a part over the calibration pairs, 2 in all where decisions are taken over. Biases, norms, positions,
 * types and heads stay as they are: together they are a hundredth of a model.
 */
#ifndef WR_MODELS_QUANTIZE_H
#define WR_MODELS_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/pool.h"
#include "data/status.h"
#include "models/probe.h"
#include "models/weights.h"

/* The loss that is allowed unless told otherwise: one pair of texts in sixty changes its order, Spearman .9987. */
#define WR_QUANTIZE_MAX_LOSS .05

typedef struct wr_quant_part {
    char name[2][WR_MAX_TENSOR_NAME]; /* [nnames] without ".weight"                                         */
    size_t nnames, rows, cols;        /* of each                                                            */
    bool table;                       /* the word embeddings                                                */
    double alone;                     /* loss when nothing else is bytes; 0 where adopted, as the next two  */
    double added;                     /* square of the loss that it adds to the parts before it             */
    double exponent;                  /* a of the input scale, 0 = none                                     */
    float *migrate;                   /* [cols] the input scale, 1 / s, or NULL; owned                      */
    bool bytes;                       /* what was decided                                                   */
} wr_quant_part;

typedef struct wr_quant {
    wr_quant_part *part; /* [n] in the order of the network */
    size_t n;
    double loss;     /* of what was decided, on the calibration pairs */
    double all_loss; /* with every part as bytes; 0 where adopted     */
    size_t runs;     /* of the model                                  */
    bool adopted;    /* the decisions are another model's             */
} wr_quant;

/* Told after each run of the model: so many of about so many. */
typedef void wr_quant_progress(void *arg, size_t run, size_t runs);

/* Decides for the model in dir, whose weights must be floats (else WR_EARG). The same decisions whatever the pool. */
wr_status wr_quant_decide(wr_quant *quant, const char *dir, const wr_probe *calibration, double max_loss, wr_pool *pool,
                          wr_quant_progress *progress, void *arg, wr_err *err);

/* Takes the decisions of the model in `other`, which was quantised before: what is I8 there becomes bytes here, with
 * the same input scale, and the rest stays as it is. Both have the same layers and sizes; their kinds, heads and the
 * names in front of the encoder's tensors may differ. A decoder of the vocabulary follows the word embeddings. Where
 * the floats are those that `other` was made from, wr_quant_write() gives its bytes and its scales. quant->loss is
 * measured, and is the caller's to judge. WR_EARG when other has other sizes or no bytes, WR_EFORMAT when a tensor of
 * it is missing or damaged; the rest as above. */
wr_status wr_quant_adopt(wr_quant *quant, const char *dir, const char *other, const wr_probe *calibration,
                         wr_pool *pool, wr_quant_progress *progress, void *arg, wr_err *err);

/* Writes model directory `to`, which must be vacant: `from` with the parts that were decided on as I8 with
 * ".weight_scale", and ".input_scale" where they have one (models/linear.h). */
wr_status wr_quant_write(const wr_quant *quant, const char *from, const char *to, wr_err *err);

/* What wr_model_open() must be told to run `dir` as `quant` says without writing it: precision "int8" and this plan.
 * plan has room for 2 * quant->n; returns how many were filled. Borrows from quant. */
size_t wr_quant_plan(const wr_quant *quant, wr_linear_plan *plan);

void wr_quant_release(wr_quant *quant); /* a zeroed one is fine */

#endif
