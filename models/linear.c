#include "models/linear.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

wr_status wr_linear_read(wr_linear *linear, wr_weights *weights, const char *prefix, const char *name, size_t out,
                         size_t in, wr_err *err)
{
    char part[WR_MAX_TENSOR_NAME];
    *linear = (wr_linear){.out = out, .in = in};
    snprintf(part, sizeof part, "%s.weight", name);
    wr_status st = wr_weights_get(weights, prefix, part, out, in, &linear->w, err);
    if (st) return st;
    snprintf(part, sizeof part, "%s.bias", name);
    return wr_weights_get(weights, prefix, part, 0, out, &linear->b, err);
}

/* One of the matrices that are read side by side. */
typedef struct part {
    const wr_tensor *weight, *bias, *scale; /* scale of what is stored as bytes, else NULL */
    const float *migrate;                   /* [in] or NULL                                */
    float *seen;                            /* [in] or NULL                                */
    wr_precision precision;
} part;

static wr_status find_part(part *p, wr_weights *weights, const char *prefix, const char *name, size_t out, size_t in,
                           wr_precision precision, wr_err *err)
{
    char weight[WR_MAX_TENSOR_NAME], bias[WR_MAX_TENSOR_NAME], scale[WR_MAX_TENSOR_NAME], input[WR_MAX_TENSOR_NAME];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    snprintf(scale, sizeof scale, "%s.weight_scale", name);
    snprintf(input, sizeof input, "%s.input_scale", name);
    *p = (part){.precision = precision};
    wr_status st;
    if ((st = wr_weights_find(weights, prefix, weight, out, in, &p->weight, err)) ||
        (st = wr_weights_find(weights, prefix, bias, 0, out, &p->bias, err)))
        return st;
    if (p->weight->dtype == WR_I8) {
        if ((st = wr_weights_find(weights, prefix, scale, 0, out, &p->scale, err))) return st;
        if (wr_weights_has(weights, prefix, input) &&
            (st = wr_weights_get(weights, prefix, input, 0, in, &p->migrate, err)))
            return st;
    }
    const wr_linear_plan *plan = wr_weights_plan(weights, prefix, name);
    if (plan) {
        p->precision = plan->precision;
        if (plan->migrate) p->migrate = plan->migrate;
        p->seen = plan->seen;
    }
    if (p->precision == WR_PRECISION_STORED) p->precision = p->scale ? WR_PRECISION_INT8 : WR_PRECISION_FP32;
    weights->parameters += out * in + out;
    return WR_OK;
}

/* w [out, in] as floats; what is stored as bytes is taken back to what it stands for. */
static wr_status floats_of(const part *p, size_t out, size_t in, float *w, wr_err *err)
{
    wr_status st = wr_tensor_to_f32(p->weight, w, out * in, err);
    if (st || !p->scale) return st;
    float *scale = malloc(out * sizeof *scale);
    if (!scale) return wr_fail(err, WR_ENOMEM, "out of memory");
    st = wr_tensor_to_f32(p->scale, scale, out, err);
    for (size_t o = 0; o < out && !st; o++)
        for (size_t i = 0; i < in; i++) w[o * in + i] *= p->migrate ? scale[o] * p->migrate[i] : scale[o];
    free(scale);
    return st;
}

static wr_status bytes_of(const part *p, size_t out, size_t in, int8_t *q, float *scale, wr_err *err)
{
    if (p->scale) {
        memcpy(q, p->weight->data, out * in);
        return wr_tensor_to_f32(p->scale, scale, out, err);
    }
    float *w = malloc(out * in * sizeof *w);
    if (!w) return wr_fail(err, WR_ENOMEM, "out of memory");
    wr_status st = wr_tensor_to_f32(p->weight, w, out * in, err);
    if (!st) wr_round_rows(w, p->migrate, out, in, q, scale);
    free(w);
    return st;
}

/* ---- making ready ---- */

/* Plain C would take a hundred times as long as BLAS; but a model with bytes has the same bits everywhere. */
static bool takes_blas(const wr_weights *weights)
{
    return !weights->portable && !strcmp(wr_kernels_get()->isa, "ref");
}

static wr_status pack_floats(wr_linear *l, wr_weights *weights, const float *w)
{
    const wr_kernels *k = wr_kernels_get();
    float *packed = wr_weights_own(weights, wr_kernels_packed(k, l->out, l->in));
    if (!packed) return WR_ENOMEM;
    wr_kernels_pack(k, w, l->out, l->in, packed);
    l->form = WR_LINEAR_F32;
    l->w = packed;
    return WR_OK;
}

/* The same as bf16, in the memory of half as many floats. */
static wr_status pack_halves(wr_linear *l, wr_weights *weights, const float *w)
{
    if (!wr_kernels_get()->gemm_bf16) return WR_EUNSUPPORTED;
    uint16_t *packed = (uint16_t *)(void *)wr_weights_own(weights, (wr_kernels_packed_bf16(l->out, l->in) + 1) / 2);
    if (!packed) return WR_ENOMEM;
    wr_kernels_pack_bf16(w, l->out, l->in, packed);
    l->form = WR_LINEAR_BF16;
    l->w = NULL;
    l->bf16 = packed;
    return WR_OK;
}

/* Without the zero blocks, where there are so many that this pays; sparse.w stays NULL where not. */
static wr_status pack_sparse(wr_linear *l, wr_weights *weights, const int8_t *q, const float *scale)
{
    size_t bytes = wr_s8_sparse_bytes(q, l->out, l->in);
    if (!bytes || wr_s8_sparsity(q, l->out, l->in) < WR_SPARSE_FROM) return WR_OK;
    float *packed = wr_weights_own(weights, (bytes + 3) / 4);
    if (!packed) return WR_ENOMEM;
    wr_s8_sparse_pack(q, l->out, l->in, packed, &l->sparse);
    l->sparse.scale = scale;
    return WR_OK;
}

static wr_status pack_all(wr_linear *l, wr_weights *weights, const int8_t *q, const float *scale)
{
    const wr_kernels *k = wr_kernels_get();
    float *packed = wr_weights_own(weights, (k->packed_s8(l->out, l->in) + 3) / 4);
    if (!packed) return WR_ENOMEM;
    k->pack_s8(q, l->out, l->in, packed);
    l->s8 = (wr_s8_weights){.packed = packed, .scale = scale, .out = l->out, .in = l->in};
    l->form = WR_LINEAR_S8;
    return WR_OK;
}

static wr_status pack_bytes(wr_linear *l, wr_weights *weights, const int8_t *q, const float *scale,
                            const float *migrate)
{
    l->form = WR_LINEAR_S8;
    l->migrate = migrate;
    wr_status st = pack_sparse(l, weights, q, scale);
    return st || l->sparse.w ? st : pack_all(l, weights, q, scale);
}

wr_status wr_linear_init_max(wr_linear *linear, wr_weights *weights, const int8_t *q, const float *scale, size_t out,
                             size_t in)
{
    *linear = (wr_linear){.out = out, .in = in};
    return pack_all(linear, weights, q, scale);
}

wr_status wr_linear_round_max(wr_linear *linear, wr_weights *weights, const float *w, size_t out, size_t in)
{
    int8_t *q = malloc(out * in);
    float *scale = wr_weights_own(weights, out);
    wr_status st = q && scale ? WR_OK : WR_ENOMEM;
    if (!st) {
        wr_round_rows(w, NULL, out, in, q, scale);
        st = wr_linear_init_max(linear, weights, q, scale, out, in);
    }
    free(q);
    return st;
}

wr_status wr_linear_init(wr_linear *linear, wr_weights *weights, const float *w, const float *b, size_t out, size_t in,
                         wr_precision precision)
{
    *linear = (wr_linear){.form = WR_LINEAR_BLAS, .w = w, .b = b, .out = out, .in = in};
    if (precision == WR_PRECISION_BF16) return pack_halves(linear, weights, w);
    if (precision != WR_PRECISION_INT8) return takes_blas(weights) ? WR_OK : pack_floats(linear, weights, w);
    int8_t *q = malloc(out * in);
    float *scale = wr_weights_own(weights, out);
    wr_status st = q && scale ? WR_OK : WR_ENOMEM;
    if (!st) {
        wr_round_rows(w, NULL, out, in, q, scale);
        st = pack_bytes(linear, weights, q, scale, NULL);
    }
    free(q);
    return st;
}

static wr_status ready_floats(wr_linear *l, wr_weights *weights, const part *p, size_t n, size_t out, bool halves,
                              wr_err *err)
{
    bool blas = !halves && takes_blas(weights); /* then the weights stay as they are */
    size_t count = n * out * l->in;
    float *w = blas ? wr_weights_own(weights, count) : malloc(count * sizeof *w);
    wr_status st = w ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !st; i++) st = floats_of(&p[i], out, l->in, w + i * out * l->in, err);
    l->w = w;
    if (!st && !blas) {
        st = halves ? pack_halves(l, weights, w) : pack_floats(l, weights, w);
        if (st == WR_ENOMEM) wr_fail(err, st, "out of memory");
        if (st == WR_EUNSUPPORTED)
            wr_fail(err, st, "precision bf16: this CPU has no AVX512-BF16, or WEIR_ISA does not let it");
    }
    if (!blas) free(w);
    return st;
}

static wr_status ready_bytes(wr_linear *l, wr_weights *weights, const part *p, size_t n, size_t out, wr_err *err)
{
    int8_t *q = malloc(n * out * l->in);
    float *scale = wr_weights_own(weights, n * out);
    wr_status st = q && scale ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !st; i++) st = bytes_of(&p[i], out, l->in, q + i * out * l->in, scale + i * out, err);
    if (!st && (st = pack_bytes(l, weights, q, scale, p->migrate))) wr_fail(err, st, "out of memory");
    free(q);
    return st;
}

/* Bytes only where all ask for them with the same input scale. */
static bool all_bytes(const part *p, size_t n, size_t in)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i].precision != WR_PRECISION_INT8 || !p[i].migrate != !p->migrate) return false;
        if (p->migrate && memcmp(p[i].migrate, p->migrate, in * sizeof *p->migrate)) return false;
    }
    return true;
}

/* Stored, int8, bf16, fp32: the later, the higher. */
static wr_precision highest(const part *p, size_t n)
{
    wr_precision most = p->precision;
    for (size_t i = 1; i < n; i++) most = p[i].precision > most ? p[i].precision : most;
    return most;
}

enum { MAX_PARTS = 2 };

wr_status wr_linear_read_ready(wr_linear *linear, wr_weights *weights, const char *prefix, const char *const *name,
                               size_t n, size_t out, size_t in, wr_precision precision, wr_err *err)
{
    part p[MAX_PARTS];
    *linear = (wr_linear){.form = WR_LINEAR_BLAS, .out = n * out, .in = in};
    float *b = wr_weights_own(weights, n * out);
    wr_status st = b && n <= MAX_PARTS ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !st; i++) {
        st = find_part(&p[i], weights, prefix, name[i], out, in, precision, err);
        if (!st) st = wr_tensor_to_f32(p[i].bias, b + i * out, out, err);
    }
    linear->b = b;
    if (!st) linear->seen = p->seen;
    if (!st)
        st = all_bytes(p, n, in) ? ready_bytes(linear, weights, p, n, out, err)
                                 : ready_floats(linear, weights, p, n, out, highest(p, n) == WR_PRECISION_BF16, err);
    if (st == WR_ENOMEM) wr_fail_prefix(err, "tensor %s", name[0]);
    return st;
}

/* ---- multiplying ---- */

size_t wr_padded_rows(size_t rows)
{
    return (rows + WR_ROW_STEP - 1) / WR_ROW_STEP * WR_ROW_STEP;
}

bool wr_s8_rows_init(wr_s8_rows *to, wr_arena *arena, size_t rows, size_t n)
{
    to->stride = wr_s8_stride(n);
    to->q = wr_arena_alloc(arena, rows * to->stride);
    to->scale = wr_arena_alloc(arena, rows * sizeof *to->scale);
    to->sum = wr_arena_alloc(arena, rows * sizeof *to->sum);
    return to->q && to->scale && to->sum;
}

size_t wr_s8_rows_bytes(size_t rows, size_t n)
{
    return rows * (wr_s8_stride(n) + 2 * sizeof(float)) + 3 * WR_ARENA_ALIGN;
}

void wr_linear_quantize(const wr_linear *linear, const float *x, size_t rows, const wr_s8_rows *bytes)
{
    wr_s8_rows to = *bytes;
    to.stride = wr_s8_stride(linear->in);
    wr_kernels_get()->quantize_s8(x, rows, linear->in, linear->migrate, &to);
}

/* Outputs from .. to of a product of bytes. What the sparse kernel needs beside its inputs is the thread's own; where
 * the system refuses that, the plain C twin needs nothing. */
static void multiply_bytes(const wr_linear *l, const wr_s8_rows *x, size_t rows, const float *bias, size_t from,
                           size_t to, wr_s8_act act, float *y)
{
    if (!l->sparse.w) {
        wr_s8_weights w = l->s8;
        w.bias = bias;
        wr_kernels_get()->gemm_s8(x, rows, &w, from, to, act, y, l->out);
        return;
    }
    wr_s8_sparse w = l->sparse;
    wr_arena *arena = wr_arena_of_thread();
    size_t mark = arena ? wr_arena_mark(arena) : 0;
    void *scratch = arena ? wr_arena_alloc(arena, wr_s8_sparse_scratch(l->in)) : NULL;
    w.bias = bias;
    (scratch ? wr_kernels_get()->spmm_s8 : wr_spmm_s8_plain)(x, rows, &w, from, to, act, scratch, y, l->out);
    if (arena) wr_arena_rollback(arena, mark);
}

/* One product, of which strips of outputs are worked out by whoever comes. */
typedef struct product {
    const wr_linear *l;
    const float *x;          /* [rows, in], unless bytes */
    const wr_s8_rows *bytes; /* of S8                    */
    size_t rows, strip;      /* strip: outputs of one    */
    wr_linear_end end;
    float *y; /* [rows, out] */
} product;

static void run_bytes(const product *p, size_t from, size_t to)
{
    wr_s8_rows x = *p->bytes;
    wr_s8_act act = p->end == WR_LINEAR_GELU ? WR_S8_GELU : p->end == WR_LINEAR_RELU ? WR_S8_RELU : WR_S8_PLAIN;
    x.stride = wr_s8_stride(p->l->in);
    multiply_bytes(p->l, &x, p->rows, p->end == WR_LINEAR_SUM ? NULL : p->l->b, from, to, act, p->y);
}

/* Bias and activation of `n` outputs in each row. */
static void end_floats(const product *p, size_t from, size_t n)
{
    const wr_kernels *k = wr_kernels_get();
    void (*f)(float *y, const float *bias, size_t rows, size_t n) = p->end == WR_LINEAR_GELU   ? k->bias_gelu_f32
                                                                    : p->end == WR_LINEAR_RELU ? k->bias_relu_f32
                                                                                               : k->bias_f32;
    if (p->end == WR_LINEAR_SUM) return;
    if (n == p->l->out)
        f(p->y, p->l->b, p->rows, n);
    else
        for (size_t r = 0; r < p->rows; r++) f(p->y + r * p->l->out + from, p->l->b + from, 1, n);
}

static void run_floats(const product *p, size_t from, size_t to)
{
    const wr_linear *l = p->l;
    const wr_kernels *k = wr_kernels_get();
    float *y = p->y + from;
    if (l->form == WR_LINEAR_F32)
        k->gemm_f32(p->x, l->in, p->rows, l->in, l->w + from * l->in, to - from, y, l->out);
    else if (l->form == WR_LINEAR_BF16)
        k->gemm_bf16(p->x, l->in, p->rows, l->in, l->bf16 + from * ((l->in + 1) / 2 * 2), to - from, y, l->out);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)wr_padded_rows(p->rows), (int)l->out, (int)l->in, 1,
                    p->x, (int)l->in, l->w, (int)l->in, 0, p->y, (int)l->out);
    end_floats(p, from, to - from);
}

static void run_strip(void *arg, size_t i)
{
    const product *p = arg;
    size_t from = i * p->strip, to = from + p->strip < p->l->out ? from + p->strip : p->l->out;
    if (p->l->form == WR_LINEAR_S8)
        run_bytes(p, from, to);
    else
        run_floats(p, from, to);
}

/* Panels that a kernel holds in registers are not cut; strips are so many that one late thread is not waited for long.
 */
#define STRIPS_PER_THREAD 3

/* Outputs that a strip of a sparse product is a multiple of: rows of blocks are 4, and rows that are handed out singly
 * would share lines of the result. */
#define SPARSE_STRIP 32

static void run_product(product *p, wr_crew *crew)
{
    const wr_kernels *k = wr_kernels_get();
    size_t panel = p->l->form != WR_LINEAR_S8 ? k->gemm_cols : p->l->sparse.w ? SPARSE_STRIP : k->s8_cols;
    size_t n = STRIPS_PER_THREAD * wr_crew_size(crew);
    p->strip = p->l->out;
    if (crew && p->l->form != WR_LINEAR_BLAS) p->strip = ((p->l->out + n - 1) / n + panel - 1) / panel * panel;
    wr_crew_for(crew, (p->l->out + p->strip - 1) / p->strip, run_strip, p);
}

void wr_linear_run_bytes(const wr_linear *linear, const wr_s8_rows *bytes, size_t rows, wr_linear_end end, float *y,
                         wr_crew *crew)
{
    run_product(&(product){.l = linear, .bytes = bytes, .rows = rows, .end = end, .y = y}, crew);
}

static void see(const wr_linear *l, const float *x, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < l->in; i++)
            if (fabsf(x[r * l->in + i]) > l->seen[i]) l->seen[i] = fabsf(x[r * l->in + i]);
}

void wr_linear_run_shared(const wr_linear *linear, const float *x, size_t rows, wr_linear_end end,
                          const wr_s8_rows *bytes, float *y, wr_crew *crew)
{
    if (linear->seen) see(linear, x, rows);
    if (linear->form == WR_LINEAR_S8) wr_linear_quantize(linear, x, rows, bytes);
    run_product(&(product){.l = linear, .x = x, .bytes = bytes, .rows = rows, .end = end, .y = y}, crew);
}

void wr_linear_run(const wr_linear *linear, const float *x, size_t rows, wr_linear_end end, const wr_s8_rows *bytes,
                   float *y)
{
    wr_linear_run_shared(linear, x, rows, end, bytes, y, NULL);
}

/* By way of [ROWS, COLS] outputs on the stack, 72 KB. */
static void max_with_blas(const wr_linear *l, const float *x, size_t rows, const float *bias, float *m)
{
    enum { ROWS = 8 * WR_ROW_STEP, COLS = 192 };
    float y[ROWS * COLS];
    for (size_t o = 0; o < l->out; o++) m[o] = -INFINITY;
    for (size_t from = 0; from < l->out; from += COLS)
        for (size_t at = 0; at < rows; at += ROWS) {
            size_t cols = l->out - from < COLS ? l->out - from : COLS, some = rows - at < ROWS ? rows - at : ROWS;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)wr_padded_rows(some), (int)cols, (int)l->in, 1,
                        x + at * l->in, (int)l->in, l->w + from * l->in, (int)l->in, 0, y, COLS);
            for (size_t r = 0; r < some; r++)
                for (size_t o = 0; o < cols; o++)
                    m[from + o] = y[r * COLS + o] > m[from + o] ? y[r * COLS + o] : m[from + o];
        }
    for (size_t o = 0; o < l->out; o++) m[o] += bias[o];
}

void wr_linear_max(const wr_linear *linear, const float *x, const wr_s8_rows *bytes, size_t rows, const float *bias,
                   float *m)
{
    const wr_kernels *k = wr_kernels_get();
    size_t in = linear->in, out = linear->out;
    if (linear->form == WR_LINEAR_S8) {
        wr_s8_weights w = linear->s8;
        w.bias = bias;
        k->gemm_max_s8(bytes, rows, &w, 0, out, m);
    } else if (linear->form == WR_LINEAR_BF16) {
        k->gemm_max_bf16(x, in, rows, in, linear->bf16, out, bias, m);
    } else if (linear->form == WR_LINEAR_F32) {
        k->gemm_max_f32(x, in, rows, in, linear->w, out, bias, m);
    } else {
        max_with_blas(linear, x, rows, bias, m);
    }
}

static void hold_blas(void)
{
    openblas_set_num_threads(1);
}

void wr_linear_thread_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hold_blas);
}
