/* What a model is measured by when it becomes smaller: pairs of texts, and the score that it gives each.
 *
 * The score is what the model is for: an embedder's inner product of the two vectors (their cosine where it
 * normalises), a learned sparse model's of the first text's weights as a query and the second's, a cross-encoder's
 * relevance of the second text to the first. Pairs of one query are neighbours: a ranking.
 *
 * Texts come from a file, one a line, or from two small lists of our own. A line "query<TAB>passage" is one pair (but
 * where texts are encoded alone every query of a half is paired with every passage); a plain line is a query, paired
 * with the lines that follow it, the first ones following the last.
 */
#ifndef WR_MODELS_PROBE_H
#define WR_MODELS_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "data/hash.h"
#include "data/pool.h"
#include "data/status.h"
#include "models/model.h"

/* Our own texts: enough that a mean settles, few enough that a hundred passes over them take a minute. */
#define WR_PROBE_CALIBRATION 48
#define WR_PROBE_HELD_OUT 32
extern const char *const wr_probe_calibration[WR_PROBE_CALIBRATION];
extern const char *const wr_probe_held_out[WR_PROBE_HELD_OUT];

/* Of a file so many lines are used, from the beginning of each half: pairs, plain lines, and pairs whose queries and
 * passages are all paired. The file's first 2 * WR_PROBE_MAX_LINES lines are looked at. */
#define WR_PROBE_MAX_LINES 256
#define WR_PROBE_MAX_PLAIN 64
#define WR_PROBE_MAX_CROSSED 32
#define WR_PROBE_MAX_TEXT 8192 /* bytes of a text that are looked at: more than 512 tokens of any language */

/* How many lines a text is paired with. Vectors cost nothing to compare; a cross-encoder pays for each pair, many times
 * over while it is calibrated. Top-10 overlap wants clearly more than ten. */
#define WR_PROBE_EMBED_PARTNERS 31
#define WR_PROBE_CROSS_PARTNERS 4
#define WR_PROBE_CROSS_HELD_OUT_PARTNERS 20

typedef struct wr_probe_pair {
    uint32_t query, passage; /* texts */
} wr_probe_pair;

typedef struct wr_probe {
    char **text; /* [ntexts] owned, NUL-terminated */
    size_t ntexts;
    wr_probe_pair *pair; /* [npairs] by query */
    size_t npairs;
} wr_probe;

/* Our own texts. WR_ENOMEM. */
wr_status wr_probe_own(wr_probe *calibration, wr_probe *held_out, wr_model_kind kind, wr_err *err);

/* The first half of a file's lines to calibrate by, the second to judge by; a query is in one of them only. Empty lines
 * are skipped. WR_EFORMAT when a half has less than three pairs, or a line is no UTF-8 or of another kind than the
 * first. */
wr_status wr_probe_read(wr_probe *calibration, wr_probe *held_out, wr_model_kind kind, const char *path, wr_err *err);

void wr_probe_release(wr_probe *probe); /* a zeroed one is fine */

/* score[npairs] by the model, of whichever kind it is. The same bits whatever the pool, which may be NULL. WR_EFORMAT
 * when one is not finite. */
wr_status wr_probe_score(const wr_probe *probe, const wr_model *model, wr_pool *pool, float *score, wr_err *err);

/* The same by a cross-encoder that ends behind layer `exit`, 0 = the last one. WR_EARG for another kind of model and a
 * layer that it has not. */
wr_status wr_probe_score_exit(const wr_probe *probe, const wr_model *model, size_t exit, wr_pool *pool, float *score,
                              wr_err *err);

/* Of the texts and pairs. */
void wr_probe_sha256(const wr_probe *probe, char hex[WR_SHA256_HEX]);

/* How two lists of scores of the same pairs agree. Sums are in the order of the pairs. */
typedef struct wr_agreement {
    double loss;       /* root mean square of the errors, as a share of the standard deviation of `want` */
    double max_error;  /* largest |got - want|                                                           */
    double mean_error; /* mean |got - want|                                                              */
    double spearman;   /* rank correlation of all pairs                                                  */
    double tau;        /* Kendall's tau-b, the mean over queries with two or more pairs                  */
    double top10;      /* share of a query's first ten that stay there, the mean over queries with more than ten
                          pairs; -1 where there is none                                                  */
} wr_agreement;

/* The loss alone. */
double wr_probe_loss(const wr_probe *probe, const float *want, const float *got);

/* WR_ENOMEM. */
wr_status wr_probe_agreement(const wr_probe *probe, const float *want, const float *got, wr_agreement *out);

/* The same of one query's pairs [begin, end): loss against its own deviation, spearman and tau of its ranking. */
wr_status wr_probe_agreement_of(const float *want, const float *got, size_t begin, size_t end, wr_agreement *out);

/* End of the run of pairs with the query of pair `begin`. */
size_t wr_probe_query_end(const wr_probe *probe, size_t begin);

#endif
