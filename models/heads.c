#include "models/heads.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/kernels.h"

/* ---- pooling ---- */

static void mean_of(const float *x, size_t rows, size_t dim, float *out)
{
    memset(out, 0, dim * sizeof *out);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < dim; i++) out[i] += x[r * dim + i];
    for (size_t i = 0; i < dim; i++) out[i] /= (float)rows;
}

static void max_of(const float *x, size_t rows, size_t dim, float *out)
{
    memcpy(out, x, dim * sizeof *out);
    for (size_t r = 1; r < rows; r++)
        for (size_t i = 0; i < dim; i++)
            if (x[r * dim + i] > out[i]) out[i] = x[r * dim + i];
}

void wr_pool_states(wr_pooling pooling, bool normalize, const float *states, const wr_batch *batch, size_t dim,
                    float *out)
{
    const wr_kernels *k = wr_kernels_get();
    for (size_t s = 0; s < batch->nseq; s++, out += dim) {
        const float *x = states + batch->cu[s] * dim;
        size_t rows = batch->cu[s + 1] - batch->cu[s];
        if (pooling == WR_POOL_MEAN)
            mean_of(x, rows, dim, out);
        else if (pooling == WR_POOL_MAX)
            max_of(x, rows, dim, out);
        else
            memcpy(out, states + s * dim, dim * sizeof *out);
        if (!normalize) continue;
        float norm = sqrtf(k->dot_f32(out, out, dim));
        for (size_t i = 0; i < dim; i++) out[i] /= fmaxf(norm, 1e-12f);
    }
}

/* ---- classification ---- */

/* matchmaker's name for the one layer of its re-rankers. */
static const char margin_mse[] = "_classification_layer";

bool wr_classifier_is_in(const wr_weights *weights)
{
    return wr_weights_has(weights, "", "classifier.weight") ||
           wr_weights_has(weights, "", "_classification_layer.weight");
}

static wr_status read_dense(wr_classifier *c, const wr_model_config *config, bool matchmaker, wr_weights *weights,
                            wr_err *err)
{
    size_t dim = config->dim;
    if (config->distil && matchmaker) return WR_OK;
    static const char *const pre = "pre_classifier", *const pooler = "pooler.dense";
    c->act = config->distil ? WR_DENSE_RELU : WR_DENSE_TANH;
    if (config->distil)
        return wr_linear_read_ready(&c->dense, weights, "", &pre, 1, dim, dim, WR_PRECISION_STORED, err);
    return wr_linear_read_ready(&c->dense, weights, weights->prefix, &pooler, 1, dim, dim, WR_PRECISION_STORED, err);
}

wr_status wr_classifier_read(wr_classifier *classifier, const wr_model_config *config, wr_weights *weights, wr_err *err)
{
    bool matchmaker = !wr_weights_has(weights, "", "classifier.weight");
    const wr_tensor *t =
        wr_tensors_find(weights->tensors, matchmaker ? "_classification_layer.weight" : "classifier.weight");
    *classifier = (wr_classifier){0};
    if (!t) return wr_fail(err, WR_EFORMAT, "no classifier.weight, which %s needs", config->architecture);
    size_t nlabels = t->ndim == 2 ? t->dim[0] : 0;
    if (nlabels > 2) return wr_fail(err, WR_EUNSUPPORTED, "%zu labels, expected one score or two (no, yes)", nlabels);
    wr_status st = read_dense(classifier, config, matchmaker, weights, err);
    if (st) return st;
    return wr_linear_read(&classifier->out, weights, "", matchmaker ? margin_mse : "classifier", nlabels, config->dim,
                          err);
}

wr_status wr_classifier_read_exit(wr_classifier *classifier, const wr_classifier *own, size_t layer,
                                  const wr_model_config *config, wr_weights *weights, bool *found, wr_err *err)
{
    const char *dense = config->distil ? "pre_classifier" : "pooler.dense";
    char prefix[32], name[64];
    size_t dim = config->dim;
    wr_status st = WR_OK;
    *classifier = *own;
    snprintf(prefix, sizeof prefix, "exits.%zu.", layer);
    snprintf(name, sizeof name, "%s.weight", dense);
    bool has_dense = own->act != WR_DENSE_NONE && wr_weights_has(weights, prefix, name);
    bool plain = wr_weights_has(weights, prefix, "classifier.weight");
    *found = has_dense || plain || wr_weights_has(weights, prefix, "_classification_layer.weight");
    if (has_dense)
        st = wr_linear_read_ready(&classifier->dense, weights, prefix, &dense, 1, dim, dim, WR_PRECISION_STORED, err);
    if (!st && plain)
        st = wr_linear_read(&classifier->out, weights, prefix, "classifier", own->out.out, dim, err);
    else if (!st && wr_weights_has(weights, prefix, "_classification_layer.weight"))
        st = wr_linear_read(&classifier->out, weights, prefix, margin_mse, own->out.out, dim, err);
    return st;
}

static void activate(const wr_classifier *c, float *y, size_t nseq)
{
    const wr_kernels *k = wr_kernels_get();
    size_t n = c->dense.out;
    if (c->act == WR_DENSE_RELU) {
        k->bias_relu_f32(y, c->dense.b, nseq, n);
        return;
    }
    k->bias_f32(y, c->dense.b, nseq, n);
    for (size_t i = 0; i < nseq * n; i++) y[i] = tanhf(y[i]);
}

wr_status wr_classifier_run(const wr_classifier *classifier, const float *states, size_t nseq, wr_arena *arena,
                            float *out)
{
    const wr_kernels *k = wr_kernels_get();
    const wr_linear *last = &classifier->out;
    if (classifier->act != WR_DENSE_NONE) {
        float *y = wr_arena_alloc(arena, wr_padded_rows(nseq) * classifier->dense.out * sizeof *y);
        if (!y) return WR_ENOMEM;
        wr_s8_rows bytes = {0};
        if (classifier->dense.form == WR_LINEAR_S8 && !wr_s8_rows_init(&bytes, arena, nseq, classifier->dense.in))
            return WR_ENOMEM;
        wr_linear_run(&classifier->dense, states, nseq, WR_LINEAR_SUM, &bytes, y);
        activate(classifier, y, nseq);
        states = y;
    }
    for (size_t s = 0; s < nseq; s++)
        for (size_t label = 0; label < last->out; label++)
            out[s * last->out + label] =
                k->dot_f32(states + s * last->in, last->w + label * last->in, last->in) + last->b[label];
    return WR_OK;
}
