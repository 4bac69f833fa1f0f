#include "models/weights.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"

/* A tensor's name: the longest of a BERT has some 70 bytes. */
#define MAX_NAME 256

/* Task models and wrappers put the encoder under a name of their own. */
static const char *const prefixes[] = {"", "bert.", "distilbert.", "bert_model.", "model.", "0.auto_model."};

bool wr_weights_has(const wr_weights *weights, const char *prefix, const char *name)
{
    char full[MAX_NAME];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return wr_tensors_find(weights->tensors, full) != NULL;
}

wr_status wr_weights_init(wr_weights *weights, const wr_tensors *tensors, const char *dir, wr_err *err)
{
    static const char word[] = "embeddings.word_embeddings.weight";
    *weights = (wr_weights){.tensors = tensors};
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

static wr_status find(const wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                      const wr_tensor **out, wr_err *err)
{
    char full[MAX_NAME], shape[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const wr_tensor *t = *out = wr_tensors_find(weights->tensors, full);
    if (!t) return wr_fail(err, WR_EFORMAT, "tensor %s is missing", full);
    if (has_shape(t, rows, cols)) return WR_OK;
    shape_text(t, shape, sizeof shape);
    if (rows == 0) return wr_fail(err, WR_EFORMAT, "tensor %s has shape %s, expected [%zu]", full, shape, cols);
    return wr_fail(err, WR_EFORMAT, "tensor %s has shape %s, expected [%zu, %zu]", full, shape, rows, cols);
}

wr_status wr_weights_get(wr_weights *weights, const char *prefix, const char *name, size_t rows, size_t cols,
                         const float **out, wr_err *err)
{
    const wr_tensor *t;
    size_t n = (rows ? rows : 1) * cols;
    wr_status st = find(weights, prefix, name, rows, cols, &t, err);
    if (st) return st;
    weights->parameters += n;
    *out = t->data;
    if (t->dtype == WR_F32 && (uintptr_t)t->data % _Alignof(float) == 0) return WR_OK;
    float *values = wr_weights_own(weights, n);
    *out = values;
    return values ? wr_tensor_to_f32(t, values, n, err) : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", name);
}

/* ---- what layers are made of ---- */

wr_status wr_linear_read(wr_linear *linear, wr_weights *weights, const char *prefix, const char *name, size_t out,
                         size_t in, wr_err *err)
{
    char part[MAX_NAME];
    linear->out = out;
    linear->in = in;
    snprintf(part, sizeof part, "%s.weight", name);
    wr_status st = wr_weights_get(weights, prefix, part, out, in, &linear->w, err);
    if (st) return st;
    snprintf(part, sizeof part, "%s.bias", name);
    return wr_weights_get(weights, prefix, part, 0, out, &linear->b, err);
}

/* One tensor into a matrix of several. */
static wr_status fill(wr_weights *weights, const char *prefix, const char *name, const char *what, size_t rows,
                      size_t cols, float *out, wr_err *err)
{
    char part[MAX_NAME];
    const wr_tensor *t;
    size_t n = (rows ? rows : 1) * cols;
    snprintf(part, sizeof part, "%s.%s", name, what);
    wr_status st = find(weights, prefix, part, rows, cols, &t, err);
    if (st) return st;
    weights->parameters += n;
    return wr_tensor_to_f32(t, out, n, err);
}

wr_status wr_linear_init(wr_linear *linear, wr_weights *weights, const float *w, const float *b, size_t out, size_t in)
{
    const wr_kernels *k = wr_kernels_get();
    *linear = (wr_linear){w, b, out, in, false};
    if (!strcmp(k->isa, "ref")) return WR_OK; /* plain C would take a hundred times as long as BLAS */
    float *packed = wr_weights_own(weights, wr_kernels_packed(k, out, in));
    if (!packed) return WR_ENOMEM;
    wr_kernels_pack(k, w, out, in, packed);
    linear->w = packed;
    linear->packed = true;
    return WR_OK;
}

wr_status wr_linear_read_ready(wr_linear *linear, wr_weights *weights, const char *prefix, const char *const *name,
                               size_t n, size_t out, size_t in, wr_err *err)
{
    bool plain = !strcmp(wr_kernels_get()->isa, "ref"); /* then the weights stay as they are */
    float *w = plain ? wr_weights_own(weights, n * out * in) : malloc(n * out * in * sizeof *w);
    float *b = wr_weights_own(weights, n * out);
    wr_status st = w && b ? WR_OK : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", name[0]);
    for (size_t i = 0; i < n && !st; i++) {
        st = fill(weights, prefix, name[i], "weight", out, in, w + i * out * in, err);
        if (!st) st = fill(weights, prefix, name[i], "bias", 0, out, b + i * out, err);
    }
    if (!st && (st = wr_linear_init(linear, weights, w, b, n * out, in)))
        wr_fail(err, st, "tensor %s: out of memory", name[0]);
    if (!plain) free(w);
    return st;
}

wr_status wr_norm_read(wr_norm *norm, wr_weights *weights, const char *prefix, const char *name, size_t dim,
                       wr_err *err)
{
    char gamma[MAX_NAME], beta[MAX_NAME];
    snprintf(gamma, sizeof gamma, "%s.gamma", name);
    snprintf(beta, sizeof beta, "%s.beta", name);
    if (!wr_weights_has(weights, prefix, gamma)) {
        snprintf(gamma, sizeof gamma, "%s.weight", name);
        snprintf(beta, sizeof beta, "%s.bias", name);
    }
    wr_status st = wr_weights_get(weights, prefix, gamma, 0, dim, &norm->gamma, err);
    return st ? st : wr_weights_get(weights, prefix, beta, 0, dim, &norm->beta, err);
}
