#include "models/weights.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Task models and wrappers put the encoder under a name of their own. */
static const char *const prefixes[] = {"", "bert.", "distilbert.", "bert_model.", "model.", "0.auto_model."};

bool wr_weights_has(const wr_weights *weights, const char *prefix, const char *name)
{
    char full[WR_MAX_TENSOR_NAME];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return wr_tensors_find(weights->tensors, full) != NULL;
}

wr_status wr_weights_init(wr_weights *weights, const wr_tensors *tensors, const char *dir, wr_err *err)
{
    static const char word[] = "embeddings.word_embeddings.weight";
    weights->tensors = tensors;
    weights->portable = weights->precision == WR_PRECISION_INT8;
    for (size_t i = 0; i < wr_tensors_count(tensors) && weights->precision == WR_PRECISION_STORED; i++)
        if (wr_tensors_at(tensors, i)->dtype == WR_I8) weights->portable = true;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (!wr_weights_has(weights, prefixes[i], word)) continue;
        weights->prefix = prefixes[i];
        return WR_OK;
    }
    return wr_fail(err, WR_EFORMAT, "%s: no tensor %s, neither plain nor after bert. or distilbert.", dir, word);
}

void wr_weights_release(wr_weights *weights)
{
    for (size_t i = 0; i < weights->nowned; i++) free(weights->owned[i]);
    free(weights->owned);
    *weights = (wr_weights){0};
}

float *wr_weights_own(wr_weights *weights, size_t n)
{
    float **more = realloc(weights->owned, (weights->nowned + 1) * sizeof *more);
    if (!more) return NULL;
    weights->owned = more;
    size_t bytes = (n * sizeof **more + 63) / 64 * 64; /* aligned_alloc wants a multiple of the cache line */
    float *values = aligned_alloc(64, bytes ? bytes : 64);
    if (values) more[weights->nowned++] = values;
    return values;
}

static bool has_shape(const wr_tensor *t, size_t rows, size_t cols)
{
    if (rows == 0) return t->ndim == 1 && t->dim[0] == cols;
    return t->ndim == 2 && t->dim[0] == rows && t->dim[1] == cols;
}

/* "[384, 1536]" */
static const char *shape_text(const wr_tensor *t, char *out, size_t cap)
{
    size_t at = (size_t)snprintf(out, cap, "[");
    for (size_t i = 0; i < t->ndim && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%zu", i ? ", " : "", t->dim[i]);
    if (at < cap) snprintf(out + at, cap - at, "]");
    return out;
}

wr_status wr_weights_find(const wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                          const wr_tensor **out, wr_err *err)
{
    char full[WR_MAX_TENSOR_NAME], shape[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const wr_tensor *t = *out = wr_tensors_find(weights->tensors, full);
    if (!t) return wr_fail(err, WR_EFORMAT, "tensor %s is missing", full);
    if (has_shape(t, rows, cols)) return WR_OK;
    shape_text(t, shape, sizeof shape);
    if (rows == 0) return wr_fail(err, WR_EFORMAT, "tensor %s has shape %s, expected [%zu]", full, shape, cols);
    return wr_fail(err, WR_EFORMAT, "tensor %s has shape %s, expected [%zu, %zu]", full, shape, rows, cols);
}

const wr_linear_plan *wr_weights_plan(const wr_weights *weights, const char *prefix, const char *name)
{
    char full[WR_MAX_TENSOR_NAME];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (size_t i = 0; i < weights->nplan; i++)
        if (!strcmp(weights->plan[i].name, full)) return &weights->plan[i];
    return NULL;
}

/* Bytes as the floats that they stand for. */
static wr_status unscaled(wr_weights *weights, const char *prefix, const char *name, const wr_tensor *t, size_t rows,
                          size_t cols, const float **out, wr_err *err)
{
    char scale_name[WR_MAX_TENSOR_NAME];
    const float *scale;
    if (rows == 0) return wr_fail(err, WR_EFORMAT, "tensor %s%s is I8, expected floats", prefix, name);
    snprintf(scale_name, sizeof scale_name, "%s_scale", name);
    wr_status st = wr_weights_get(weights, prefix, scale_name, 0, rows, &scale, err);
    if (st) return st;
    float *values = wr_weights_own(weights, rows * cols);
    if (!values) return wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", name);
    *out = values;
    if ((st = wr_tensor_to_f32(t, values, rows * cols, err))) return st;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) values[r * cols + c] *= scale[r];
    return WR_OK;
}

wr_status wr_weights_get(wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                         const float **out, wr_err *err)
{
    const wr_tensor *t;
    size_t n = (rows ? rows : 1) * cols;
    wr_status st = wr_weights_find(weights, prefix, name, rows, cols, &t, err);
    if (st) return st;
    weights->parameters += n;
    *out = t->data;
    if (t->dtype == WR_I8) return unscaled(weights, prefix, name, t, rows, cols, out, err);
    if (t->dtype == WR_F32 && (uintptr_t)t->data % _Alignof(float) == 0) return WR_OK;
    float *values = wr_weights_own(weights, n);
    *out = values;
    return values ? wr_tensor_to_f32(t, values, n, err) : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", name);
}

/* ---- what layers are made of ---- */

void wr_round_rows(const float *w, const float *migrate, size_t rows, size_t cols, int8_t *q, float *scale)
{
    for (size_t r = 0; r < rows; r++, w += cols, q += cols) {
        float max = 0;
        for (size_t c = 0; c < cols; c++) {
            float v = fabsf(migrate ? w[c] / migrate[c] : w[c]);
            if (v > max) max = v;
        }
        scale[r] = max / 127;
        for (size_t c = 0; c < cols; c++) {
            float v = (migrate ? w[c] / migrate[c] : w[c]) * (max > 0 ? 127 / max : 0);
            q[c] = (int8_t)(fabsf(v) <= 127 ? lrintf(v) : v > 0 ? 127 : -127); /* what is no number counts as -127 */
        }
    }
}

static wr_status round_table(wr_table *table, wr_weights *weights, size_t rows, wr_err *err)
{
    float *bytes = wr_weights_own(weights, (rows * table->cols + 3) / 4), *scale = wr_weights_own(weights, rows);
    if (!bytes || !scale) return wr_fail(err, WR_ENOMEM, "word embeddings: out of memory");
    wr_round_rows(table->f32, NULL, rows, table->cols, (int8_t *)bytes, scale);
    table->s8 = (int8_t *)bytes;
    table->scale = scale;
    table->f32 = NULL;
    return WR_OK;
}

wr_status wr_table_read(wr_table *table, wr_weights *weights, const char *prefix, const char *name, size_t rows,
                        size_t cols, wr_err *err)
{
    char weight[WR_MAX_TENSOR_NAME], scale[WR_MAX_TENSOR_NAME];
    const wr_tensor *t;
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(scale, sizeof scale, "%s.weight_scale", name);
    *table = (wr_table){.cols = cols};
    wr_status st = wr_weights_find(weights, prefix, weight, rows, cols, &t, err);
    if (st) return st;
    if (t->dtype != WR_I8) {
        const wr_linear_plan *plan = wr_weights_plan(weights, prefix, name);
        st = wr_weights_get(weights, prefix, weight, rows, cols, &table->f32, err);
        return st || !plan || plan->precision != WR_PRECISION_INT8 ? st : round_table(table, weights, rows, err);
    }
    table->s8 = t->data;
    weights->parameters += rows * cols;
    return wr_weights_get(weights, prefix, scale, 0, rows, &table->scale, err);
}

void wr_table_row(const wr_table *table, size_t row, float *out)
{
    if (table->f32)
        memcpy(out, table->f32 + row * table->cols, table->cols * sizeof *out);
    else
        for (size_t i = 0; i < table->cols; i++) out[i] = (float)table->s8[row * table->cols + i] * table->scale[row];
}

wr_status wr_norm_read(wr_norm *norm, wr_weights *weights, const char *prefix, const char *name, size_t dim,
                       wr_err *err)
{
    char gamma[WR_MAX_TENSOR_NAME], beta[WR_MAX_TENSOR_NAME];
    snprintf(gamma, sizeof gamma, "%s.gamma", name);
    snprintf(beta, sizeof beta, "%s.beta", name);
    if (!wr_weights_has(weights, prefix, gamma)) {
        snprintf(gamma, sizeof gamma, "%s.weight", name);
        snprintf(beta, sizeof beta, "%s.bias", name);
    }
    wr_status st = wr_weights_get(weights, prefix, gamma, 0, dim, &norm->gamma, err);
    return st ? st : wr_weights_get(weights, prefix, beta, 0, dim, &norm->beta, err);
}
