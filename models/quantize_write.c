/* The writing half of models/quantize.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model_config.h"
#include "models/quantize.h"
#include "models/safetensors_write.h"

/* Tensors that are written; what was made for them is owned. */
typedef struct output {
    wr_tensor *tensor;
    size_t n;
    void **owned; /* [nowned] */
    size_t nowned;
} output;

static const wr_quant_part *part_of(const wr_quant *quant, const char *tensor)
{
    const char *dot = strrchr(tensor, '.');
    if (!dot || strcmp(dot, ".weight")) return NULL;
    size_t n = (size_t)(dot - tensor);
    for (size_t i = 0; i < quant->n; i++)
        for (size_t k = 0; k < quant->part[i].nnames; k++)
            if (quant->part[i].bytes && strlen(quant->part[i].name[k]) == n &&
                !memcmp(quant->part[i].name[k], tensor, n))
                return &quant->part[i];
    return NULL;
}

static void *own(output *out, size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (memory) out->owned[out->nowned++] = memory;
    return memory;
}

/* "X.weight" -> "X.weight_scale", "X.input_scale" beside it. */
static wr_status add_vector(output *out, const char *weight, const char *ending, const float *values, size_t n)
{
    size_t stem = strlen(weight) - strlen("weight"), cap = stem + strlen(ending) + 1;
    char *name = own(out, cap);
    if (!name) return WR_ENOMEM;
    snprintf(name, cap, "%.*s%s", (int)stem, weight, ending);
    out->tensor[out->n++] =
        (wr_tensor){.name = name, .dtype = WR_F32, .ndim = 1, .dim = {n}, .data = values, .bytes = n * sizeof *values};
    return WR_OK;
}

static wr_status add_bytes(output *out, const wr_tensor *t, const wr_quant_part *p, wr_err *err)
{
    size_t n = p->rows * p->cols;
    float *w = malloc(n * sizeof *w), *scale = own(out, p->rows * sizeof *scale);
    int8_t *q = own(out, n);
    wr_status st = w && scale && q ? wr_tensor_to_f32(t, w, n, err) : wr_fail(err, WR_ENOMEM, "out of memory");
    if (!st) {
        wr_round_rows(w, p->migrate, p->rows, p->cols, q, scale);
        wr_tensor *to = &out->tensor[out->n++];
        *to = *t;
        to->dtype = WR_I8;
        to->data = q;
        to->bytes = n;
        st = add_vector(out, t->name, "weight_scale", scale, p->rows);
        if (!st && p->migrate) st = add_vector(out, t->name, "input_scale", p->migrate, p->cols);
        if (st) wr_fail(err, st, "out of memory");
    }
    free(w);
    return st;
}

static wr_status collect(output *out, const wr_quant *quant, const wr_tensors *tensors, wr_err *err)
{
    size_t n = wr_tensors_count(tensors);
    out->tensor = calloc(3 * n, sizeof *out->tensor);
    out->owned = calloc(4 * n, sizeof *out->owned); /* bytes, scale, and two names */
    wr_status st = out->tensor && out->owned ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !st; i++) {
        const wr_tensor *t = wr_tensors_at(tensors, i);
        const wr_quant_part *p = part_of(quant, t->name);
        if (p)
            st = add_bytes(out, t, p, err);
        else
            out->tensor[out->n++] = *t;
    }
    return st;
}

wr_status wr_quant_write(const wr_quant *quant, const char *from, const char *to, wr_err *err)
{
    output out = {0};
    wr_model_config config;
    wr_tensors *tensors = NULL;
    wr_status st = wr_model_config_read(&config, from, err);
    if (!st) st = wr_tensors_open(&tensors, config.base, err);
    if (!st) st = collect(&out, quant, tensors, err);
    if (!st) st = wr_model_dir_write(from, to, out.tensor, out.n, err);
    for (size_t i = 0; i < out.nowned; i++) free(out.owned[i]);
    free(out.owned);
    free(out.tensor);
    wr_tensors_close(tensors);
    return st;
}
