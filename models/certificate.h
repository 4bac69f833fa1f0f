/* What became of a model's scores when it was quantised: certificate.json in the directory of the result.
 *
 * It is measured on texts that calibration has not seen, and holds all that is needed to measure it again without the
 * model that it came from: those texts, and the scores that fp32 gave them, rounded to six digits. Figures are computed
 * from the rounded ones, and the bytes' own scores have the same bits on every CPU: so every figure is reproduced to
 * its last digit, anywhere. The fields are described in MODEL.md.
 *
 *     wr_certificate c;
 *     if ((st = wr_certificate_read(&c, dir, err))) ...
 *     st = wr_certificate_verify(&c, model, pool, missed, sizeof missed, err);
 */
#ifndef WR_MODELS_CERTIFICATE_H
#define WR_MODELS_CERTIFICATE_H

#include <jansson.h>
#include <stddef.h>

#include "data/pool.h"
#include "data/status.h"
#include "models/model.h"
#include "models/probe.h"
#include "models/quantize.h"

#define WR_CERTIFICATE_NAME "certificate.json"

/* How many of the worst queries it names. */
#define WR_CERTIFICATE_WORST 5

/* What is put down in a certificate beside what is measured for it. */
typedef struct wr_certificate_facts {
    const wr_quant *quant;
    const wr_probe *calibration, *held_out;
    const char *calibration_from, *held_out_from; /* "our own texts", "first half of FILE" */
    double max_loss;
    const char *like_name, *like_sha256; /* the model whose decisions were taken over, NULL = none */
} wr_certificate_facts;

/* Scores the held-out pairs with the model in `source` (as fp32) and with the one in `result` (as it is stored), and
 * writes it all down. *out is owned by the caller (json_decref). */
wr_status wr_certificate_make(json_t **out, const wr_certificate_facts *facts, const char *source, const char *result,
                              wr_pool *pool, wr_err *err);

/* dir/certificate.json, every list one entry a line. */
wr_status wr_certificate_write(const json_t *certificate, const char *dir, wr_err *err);

/* What became of the scores behind an earlier layer of a cross-encoder. */
typedef struct wr_certificate_exit {
    size_t layer;
    float *want; /* [held_out.npairs] of fp32 */
    const char *scores_sha256;
    double figure[6];
} wr_certificate_exit;

typedef struct wr_certificate {
    json_t *json;
    wr_model_kind kind;
    wr_probe held_out;
    float *want;               /* [held_out.npairs] of fp32  */
    const char *model_sha256;  /* of the result              */
    const char *scores_sha256; /* of its scores, as floats   */
    double figure[6];          /* in the order of wr_agreement */
    wr_certificate_exit *exit; /* [nexits]                   */
    size_t nexits;
} wr_certificate;

/* WR_ENOTFOUND when there is none, WR_EFORMAT when it is not what this header says. Release in any case. */
wr_status wr_certificate_read(wr_certificate *certificate, const char *dir, wr_err *err);

/* The same from its text; path is for the error's sentence. */
wr_status wr_certificate_parse(wr_certificate *certificate, const char *text, size_t n, const char *path, wr_err *err);
void wr_certificate_release(wr_certificate *certificate); /* a zeroed one is fine */

/* Measures again what the certificate says of model. missed[cap] is one sentence on the first figure that is not
 * reproduced, "" when all are: the model's hash, the hash of its scores, then the figures; of exits likewise. */
wr_status wr_certificate_verify(const wr_certificate *certificate, const wr_model *model, wr_pool *pool, char *missed,
                                size_t cap, wr_err *err);

/* A number as it stands in a certificate: six digits, decimal. */
double wr_certificate_round(double value);

#endif
