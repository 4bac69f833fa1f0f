#include "models/prune.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_sparse.h"
#include "models/model_config.h"
#include "models/safetensors_write.h"

/* A tensor's name: the longest of a BERT has some 70 bytes. */
#define MAX_NAME 256

typedef struct block {
    float size; /* sum of squares                 */
    uint32_t at;
} block;

/* Smallest first; what is no number counts as large, so it is kept and seen. */
static int by_size(const void *a, const void *b)
{
    const block *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* "...encoder.layer.3.output.dense.weight" and DistilBERT's "...transformer.layer.3.ffn.lin1.weight". */
static bool is_linear(const wr_tensor *t)
{
    static const char end[] = ".weight";
    size_t n = strlen(t->name), m = sizeof end - 1;
    if (t->ndim != 2 || n < m || strcmp(t->name + n - m, end)) return false;
    return strstr(t->name, "encoder.layer.") || strstr(t->name, "transformer.layer.");
}

/* What stands beside "X.weight": "X.weight_scale", "X.input_scale". n numbers into out, ones when it is not there. */
static wr_status scale_of(const wr_tensors *tensors, const wr_tensor *t, const char *what, bool needed, size_t n,
                          float *out, wr_err *err)
{
    char name[MAX_NAME];
    int len = snprintf(name, sizeof name, "%.*s%s", (int)(strlen(t->name) - strlen("weight")), t->name, what);
    const wr_tensor *scale = len < 0 || (size_t)len >= sizeof name ? NULL : wr_tensors_find(tensors, name);
    if (!scale && needed) return wr_fail(err, WR_EFORMAT, "tensor %s is bytes, but there is no %s", t->name, name);
    for (size_t i = 0; i < n && !scale; i++) out[i] = 1;
    return scale ? wr_tensor_to_f32(scale, out, n, err) : WR_OK;
}

/* Each block's sum of squares, [groups][in]. */
static wr_status measure(const wr_tensors *tensors, const wr_tensor *t, block *blocks, wr_err *err)
{
    size_t out = t->dim[0], in = t->dim[1];
    bool bytes = t->dtype == WR_I8;
    float *w = malloc(out * in * sizeof *w), *scale = malloc(out * sizeof *scale), *input = malloc(in * sizeof *input);
    wr_status st = w && scale && input ? WR_OK : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", t->name);
    if (!st) st = wr_tensor_to_f32(t, w, out * in, err);
    if (!st && bytes) st = scale_of(tensors, t, "weight_scale", true, out, scale, err);
    if (!st && bytes) st = scale_of(tensors, t, "input_scale", false, in, input, err);
    for (size_t o = 0; o < out && !st; o++)
        for (size_t i = 0; i < in; i++) {
            size_t b = o / WR_SPARSE_OUTS * in + i;
            float v = bytes ? w[o * in + i] * scale[o] * input[i] : w[o * in + i];
            if (o % WR_SPARSE_OUTS == 0) blocks[b] = (block){0, (uint32_t)b};
            blocks[b].size += v * v;
            if (isnan(blocks[b].size)) blocks[b].size = INFINITY;
        }
    free(w), free(scale), free(input);
    return st;
}

static void clear_block(const wr_tensor *t, unsigned char *data, size_t at)
{
    size_t in = t->dim[1], size = wr_dtype_bytes(t->dtype), first = at / in * WR_SPARSE_OUTS;
    for (size_t o = first; o < first + WR_SPARSE_OUTS && o < t->dim[0]; o++)
        memset(data + (o * in + at % in) * size, 0, size);
}

/* A copy of the tensor's data without its smallest blocks; owned by the caller (free). */
static wr_status prune(const wr_tensors *tensors, const wr_tensor *t, double sparsity, void **copy, wr_pruned *pruned,
                       wr_err *err)
{
    size_t groups = (t->dim[0] + WR_SPARSE_OUTS - 1) / WR_SPARSE_OUTS, n = groups * t->dim[1];
    *copy = NULL;
    if (n == 0 || n > UINT32_MAX || t->dim[0] > SIZE_MAX / sizeof(float) / t->dim[1])
        return wr_fail(err, WR_EUNSUPPORTED, "tensor %s: too large or empty to be pruned", t->name);
    block *blocks = malloc(n * sizeof *blocks);
    unsigned char *data = malloc(t->bytes);
    wr_status st = blocks && data ? WR_OK : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", t->name);
    if (!st) st = measure(tensors, t, blocks, err);
    if (!st) {
        size_t gone = (size_t)(sparsity * (double)n + 0.5), zeros;
        memcpy(data, t->data, t->bytes);
        qsort(blocks, n, sizeof *blocks, by_size);
        for (size_t i = 0; i < gone; i++) clear_block(t, data, blocks[i].at);
        for (zeros = gone; zeros < n && blocks[zeros].size == 0; zeros++) continue;
        *pruned = (wr_pruned){t->name, t->dim[0], t->dim[1], (double)zeros / (double)n};
        *copy = data;
    }
    free(blocks);
    if (st) free(data);
    return st;
}

wr_status wr_model_prune(const char *from, const char *to, double sparsity,
                         void (*each)(const wr_pruned *pruned, void *arg), void *arg, wr_err *err)
{
    wr_model_config config;
    wr_tensors *tensors = NULL;
    wr_tensor *all = NULL;
    void **copy = NULL;
    size_t n = 0, done = 0;
    if (!(sparsity >= 0 && sparsity <= 1)) return wr_fail(err, WR_EARG, "sparsity %g, expected 0 to 1", sparsity);
    wr_status st = wr_model_dir_vacant(to, err);
    if (st || (st = wr_model_config_read(&config, from, err)) || (st = wr_tensors_open(&tensors, config.base, err)))
        return st;
    n = wr_tensors_count(tensors);
    all = calloc(n, sizeof *all);
    copy = calloc(n, sizeof *copy);
    if (!all || !copy) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", from);
    for (size_t i = 0; i < n && !st; i++) {
        wr_pruned pruned;
        all[i] = *wr_tensors_at(tensors, i);
        if (!is_linear(&all[i])) continue;
        if ((st = prune(tensors, &all[i], sparsity, &copy[i], &pruned, err))) continue;
        all[i].data = copy[i];
        done++;
        if (each) each(&pruned, arg);
    }
    if (!st && !done)
        st = wr_fail(err, WR_EFORMAT, "%s: no linear layer under encoder.layer or transformer.layer", from);
    if (!st) st = wr_model_dir_write(from, to, all, n, err);
    for (size_t i = 0; copy && i < n; i++) free(copy[i]);
    free(copy);
    free(all);
    wr_tensors_close(tensors);
    return st;
}
