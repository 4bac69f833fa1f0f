/* The verbs quantize and verify of `weir model`: what cmd_model.c hands over, and what they print. */
#ifndef WR_TOOLS_MODEL_QUANTIZE_H
#define WR_TOOLS_MODEL_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"

typedef struct wr_quantize_args {
    const char *model, *out;
    const char *like;       /* a model whose decisions are taken, or NULL */
    const char *calibrate;  /* a file of texts, NULL = our own           */
    const char *collection; /* a BEIR folder, NULL = none                */
    const char *progress;   /* auto, json or none                        */
    double max_loss;        /* below 0 = WR_QUANTIZE_MAX_LOSS            */
    size_t depth;           /* what a cross-encoder reranks, 0 = 100     */
    size_t threads;         /* 0 = all that the process may use          */
    bool json;
} wr_quantize_args;

/* Writes the model in `out`, its certificate, and a summary to standard output (with json the certificate's). After a
 * failure nothing is left in `out`. */
wr_status wr_model_quantize(const wr_quantize_args *args, wr_err *err);

/* Measures again what a certificate or a publication says of a model; WR_EFORMAT when there is neither. *exit_status is
 * 3 when a figure is missed, and the sentence about it is printed on standard output. With `collection` the
 * certificate's collection is measured too. */
wr_status wr_model_verify(const wr_quantize_args *args, int *exit_status, wr_err *err);

#endif
