#include "models/encoder.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"

/* Rows of one matrix product: enough for BLAS to be at its peak, few enough that [rows, ffn] stays in cache. */
#define BLOCK_ROWS 384

/* With a deadline a block is no more work than this (multiply-adds, about 4 ms of one core), but at least LEAST_ROWS,
 * below which BLAS spends its time copying the weights. */
#define BLOCK_WORK 200000000u
#define LEAST_ROWS 48

/* Query rows whose attention scores are held at a time: [64, 512] floats are an eighth of a second-level cache. */
#define ATTEND_ROWS 64

/* Tokens of one batch; keeps every size that BLAS sees within an int. */
#define MAX_TOKENS (1u << 20)

/* ---- reading ---- */

typedef struct layer_names {
    const char *layers; /* what comes before a layer's number */
    const char *query, *keys_values[2], *attended, *attended_norm, *up, *down, *output_norm;
} layer_names;

static const layer_names bert_names = {
    .layers = "encoder.layer.",
    .query = "attention.self.query",
    .keys_values = {"attention.self.key", "attention.self.value"},
    .attended = "attention.output.dense",
    .attended_norm = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .output_norm = "output.LayerNorm",
};

static const layer_names distil_names = {
    .layers = "transformer.layer.",
    .query = "attention.q_lin",
    .keys_values = {"attention.k_lin", "attention.v_lin"},
    .attended = "attention.out_lin",
    .attended_norm = "sa_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
    .output_norm = "output_layer_norm",
};

static wr_status read_layer(wr_encoder *e, size_t i, const layer_names *names, wr_weights *weights, wr_err *err)
{
    char prefix[128];
    wr_layer *l = &e->layer[i];
    size_t dim = e->dim;
    wr_status st;
    snprintf(prefix, sizeof prefix, "%s%s%zu.", weights->prefix, names->layers, i);
    if ((st = wr_linear_read_ready(&l->query, weights, prefix, &names->query, 1, dim, dim, err)) ||
        (st = wr_linear_read_ready(&l->keys_values, weights, prefix, names->keys_values, 2, dim, dim, err)) ||
        (st = wr_linear_read_ready(&l->attended, weights, prefix, &names->attended, 1, dim, dim, err)) ||
        (st = wr_norm_read(&l->attended_norm, weights, prefix, names->attended_norm, dim, err)) ||
        (st = wr_linear_read_ready(&l->up, weights, prefix, &names->up, 1, e->ffn, dim, err)) ||
        (st = wr_linear_read_ready(&l->down, weights, prefix, &names->down, 1, dim, e->ffn, err)))
        return st;
    return wr_norm_read(&l->output_norm, weights, prefix, names->output_norm, dim, err);
}

static wr_status read_embeddings(wr_encoder *e, bool distil, wr_weights *weights, wr_err *err)
{
    const char *prefix = weights->prefix;
    wr_status st;
    if ((st = wr_weights_get(weights, prefix, "embeddings.word_embeddings.weight", e->vocab, e->dim, &e->word, err)) ||
        (st = wr_weights_get(weights, prefix, "embeddings.position_embeddings.weight", e->positions, e->dim,
                             &e->position, err)))
        return st;
    if (!distil && (st = wr_weights_get(weights, prefix, "embeddings.token_type_embeddings.weight", e->types, e->dim,
                                        &e->type, err)))
        return st;
    return wr_norm_read(&e->embedding_norm, weights, prefix, "embeddings.LayerNorm", e->dim, err);
}

wr_status wr_encoder_open(wr_encoder *encoder, const wr_model_config *config, wr_weights *weights, wr_err *err)
{
    *encoder = (wr_encoder){.layers = config->layers,
                            .dim = config->dim,
                            .heads = config->heads,
                            .ffn = config->ffn,
                            .vocab = config->vocab,
                            .positions = config->positions,
                            .types = config->types,
                            .eps = config->eps,
                            .act = config->act};
    encoder->layer = calloc(config->layers, sizeof *encoder->layer);
    if (!encoder->layer) return wr_fail(err, WR_ENOMEM, "out of memory");
    wr_status st = read_embeddings(encoder, config->distil, weights, err);
    const layer_names *names = config->distil ? &distil_names : &bert_names;
    for (size_t i = 0; i < config->layers && !st; i++) st = read_layer(encoder, i, names, weights, err);
    if (st) wr_encoder_close(encoder);
    return st;
}

void wr_encoder_close(wr_encoder *encoder)
{
    free(encoder->layer);
    *encoder = (wr_encoder){0};
}

/* ---- multiplying ---- */

size_t wr_padded_rows(size_t rows)
{
    return (rows + WR_ROW_STEP - 1) / WR_ROW_STEP * WR_ROW_STEP;
}

void wr_linear_multiply(const wr_linear *linear, const float *x, size_t rows, float *y)
{
    if (linear->packed)
        wr_kernels_get()->gemm_f32(x, linear->in, rows, linear->in, linear->w, linear->out, y, linear->out);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)wr_padded_rows(rows), (int)linear->out,
                    (int)linear->in, 1, x, (int)linear->in, linear->w, (int)linear->in, 0, y, (int)linear->out);
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

/* ---- one forward pass ---- */

/* What one pass works on. Matrices have padded rows; the rows beyond the real ones are zero in x and ctx, and stay zero
 * in every product of them. */
typedef struct pass {
    const wr_encoder *e;
    const wr_kernels *k;
    const wr_batch *batch;
    const wr_budget *budget;
    size_t ntok, block; /* block: rows of one product                          */
    float *x;           /* [ntok, dim] states                                  */
    float *q;           /* [ntok, dim]                                         */
    float *kv;          /* [ntok, 2 dim] key and value side by side            */
    float *ctx;         /* [ntok, dim] what attention gathered                 */
    float *y;           /* [block, dim]                                        */
    float *mid;         /* [block, ffn]                                        */
    float *scores;      /* [ATTEND_ROWS, longest]                              */
} pass;

static size_t block_rows(const wr_encoder *e, const wr_budget *budget)
{
    size_t rows = BLOCK_ROWS, work = e->dim * e->ffn;
    if (wr_budget_has_deadline(budget) && work * rows > BLOCK_WORK) rows = BLOCK_WORK / work;
    return wr_padded_rows(rows > LEAST_ROWS ? rows : LEAST_ROWS);
}

/* y = x w' + b for all rows, block by block. */
static wr_status multiply(const pass *p, const wr_linear *linear, const float *x, size_t rows, float *y)
{
    for (size_t at = 0; at < rows; at += p->block) {
        size_t n = rows - at < p->block ? rows - at : p->block;
        if (wr_budget_spent(p->budget)) return WR_STOPPED;
        wr_linear_multiply(linear, x + at * linear->in, n, y + at * linear->out);
        p->k->bias_f32(y + at * linear->out, linear->b, n, linear->out);
    }
    return WR_OK;
}

/* Attention of nq query rows (of q and ctx, [nq, dim]) over one sequence of n tokens (of kv, [n, 2 dim]). The sizes
 * that BLAS sees depend on this sequence alone. */
static void attend(const pass *p, const float *q, size_t nq, const float *kv, size_t n, float *ctx)
{
    size_t dim = p->e->dim, width = dim / p->e->heads;
    float scale = 1 / sqrtf((float)width);
    for (size_t h = 0; h < dim; h += width)
        for (size_t at = 0; at < nq; at += ATTEND_ROWS) {
            size_t rows = nq - at < ATTEND_ROWS ? nq - at : ATTEND_ROWS;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)width, scale, q + at * dim + h,
                        (int)dim, kv + h, 2 * (int)dim, 0, p->scores, (int)n);
            p->k->softmax_f32(p->scores, rows, n);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)width, (int)n, 1, p->scores, (int)n,
                        kv + dim + h, 2 * (int)dim, 0, ctx + at * dim + h, (int)dim);
        }
}

/* Attention of every sequence: of all its tokens, or with first_only of its first, then q and ctx are [nseq, dim]. */
static wr_status attend_all(const pass *p, const float *q, bool first_only, float *ctx)
{
    size_t dim = p->e->dim;
    for (size_t s = 0; s < p->batch->nseq; s++) {
        size_t begin = p->batch->cu[s], n = p->batch->cu[s + 1] - begin, row = first_only ? s : begin;
        if (wr_budget_spent(p->budget)) return WR_STOPPED;
        attend(p, q + row * dim, first_only ? 1 : n, p->kv + begin * 2 * dim, n, ctx + row * dim);
    }
    return WR_OK;
}

/* The rest of a layer behind attention, for `rows` states in x and what they gathered in ctx. */
static wr_status finish(const pass *p, const wr_layer *l, float *x, const float *ctx, size_t rows)
{
    const wr_encoder *e = p->e;
    for (size_t at = 0; at < rows; at += p->block) {
        size_t n = rows - at < p->block ? rows - at : p->block;
        float *state = x + at * e->dim;
        if (wr_budget_spent(p->budget)) return WR_STOPPED;
        wr_linear_multiply(&l->attended, ctx + at * e->dim, n, p->y);
        p->k->add_norm_f32(state, p->y, l->attended.b, l->attended_norm.gamma, l->attended_norm.beta, e->eps, n,
                           e->dim);
        wr_linear_multiply(&l->up, state, n, p->mid);
        (e->act == WR_ACT_GELU ? p->k->bias_gelu_f32 : p->k->bias_relu_f32)(p->mid, l->up.b, n, e->ffn);
        if (wr_budget_spent(p->budget)) return WR_STOPPED;
        wr_linear_multiply(&l->down, p->mid, n, p->y);
        p->k->add_norm_f32(state, p->y, l->down.b, l->output_norm.gamma, l->output_norm.beta, e->eps, n, e->dim);
    }
    return WR_OK;
}

static wr_status run_layer(const pass *p, const wr_layer *l)
{
    wr_status st;
    if ((st = multiply(p, &l->query, p->x, p->ntok, p->q)) ||
        (st = multiply(p, &l->keys_values, p->x, p->ntok, p->kv)) || (st = attend_all(p, p->q, false, p->ctx)))
        return st;
    return finish(p, l, p->x, p->ctx, p->ntok);
}

static float *matrix(wr_arena *arena, size_t rows, size_t cols)
{
    return wr_arena_calloc(arena, wr_padded_rows(rows) * cols, sizeof(float));
}

/* The last layer where only each sequence's first token matters: keys and values of every token, all else of the first
 * ones. Leaves their states in *first [nseq, dim]. */
static wr_status run_last_layer(const pass *p, const wr_layer *l, wr_arena *arena, const float **first)
{
    size_t dim = p->e->dim, nseq = p->batch->nseq;
    wr_status st;
    float *x = matrix(arena, nseq, dim), *q = matrix(arena, nseq, dim), *ctx = matrix(arena, nseq, dim);
    if (!x || !q || !ctx) return WR_ENOMEM;
    for (size_t s = 0; s < nseq; s++) memcpy(x + s * dim, p->x + p->batch->cu[s] * dim, dim * sizeof *x);
    *first = x;
    if ((st = multiply(p, &l->query, x, nseq, q)) || (st = multiply(p, &l->keys_values, p->x, p->ntok, p->kv)) ||
        (st = attend_all(p, q, true, ctx)))
        return st;
    return finish(p, l, x, ctx, nseq);
}

/* word + position + type, normalised; DistilBERT has no types. */
static void embed(const pass *p, const float *zeros)
{
    const wr_encoder *e = p->e;
    for (size_t s = 0; s < p->batch->nseq; s++)
        for (size_t begin = p->batch->cu[s], t = begin; t < p->batch->cu[s + 1]; t++) {
            size_t type = p->batch->type ? p->batch->type[t] : 0;
            float *x = p->x + t * e->dim;
            memcpy(x, e->word + p->batch->id[t] * e->dim, e->dim * sizeof *x);
            p->k->add_norm_f32(x, e->type ? e->type + type * e->dim : zeros, e->position + (t - begin) * e->dim,
                               e->embedding_norm.gamma, e->embedding_norm.beta, e->eps, 1, e->dim);
        }
}

/* Sizes, ids and types in range; *longest is the longest sequence. */
static bool is_valid(const wr_encoder *e, const wr_batch *batch, size_t *longest)
{
    *longest = 0;
    if (!batch->nseq || batch->nseq > MAX_TOKENS || batch->cu[0] || batch->cu[batch->nseq] > MAX_TOKENS) return false;
    for (size_t s = 0; s < batch->nseq; s++) {
        if (batch->cu[s + 1] <= batch->cu[s] || batch->cu[s + 1] - batch->cu[s] > e->positions) return false;
        size_t n = batch->cu[s + 1] - batch->cu[s];
        if (n > *longest) *longest = n;
    }
    for (size_t t = 0; t < batch->cu[batch->nseq]; t++)
        if (batch->id[t] >= e->vocab || (e->type && batch->type && batch->type[t] >= e->types)) return false;
    return true;
}

wr_status wr_encoder_run(const wr_encoder *encoder, const wr_batch *batch, bool first_only, wr_arena *arena,
                         const wr_budget *budget, const float **states)
{
    size_t longest, dim = encoder->dim, ffn = encoder->ffn;
    *states = NULL;
    if (!is_valid(encoder, batch, &longest)) return WR_EARG;
    pass p = {.e = encoder,
              .k = wr_kernels_get(),
              .batch = batch,
              .budget = budget,
              .ntok = batch->cu[batch->nseq],
              .block = block_rows(encoder, budget)};
    size_t block = p.ntok < p.block ? p.ntok : p.block;
    p.x = matrix(arena, p.ntok, dim);
    p.ctx = matrix(arena, p.ntok, dim);
    p.q = wr_arena_alloc(arena, wr_padded_rows(p.ntok) * dim * sizeof *p.q);
    p.kv = wr_arena_alloc(arena, wr_padded_rows(p.ntok) * 2 * dim * sizeof *p.kv);
    p.y = wr_arena_alloc(arena, wr_padded_rows(block) * dim * sizeof *p.y);
    p.mid = wr_arena_alloc(arena, wr_padded_rows(block) * ffn * sizeof *p.mid);
    p.scores = wr_arena_alloc(arena, ATTEND_ROWS * longest * sizeof *p.scores);
    float *zeros = wr_arena_calloc(arena, dim, sizeof *zeros);
    if (!p.x || !p.ctx || !p.q || !p.kv || !p.y || !p.mid || !p.scores || !zeros) return WR_ENOMEM;
    embed(&p, zeros);
    wr_status st = WR_OK;
    for (size_t i = 0; i + first_only < encoder->layers && !st; i++) st = run_layer(&p, &encoder->layer[i]);
    *states = p.x;
    if (!st && first_only) st = run_last_layer(&p, &encoder->layer[encoder->layers - 1], arena, states);
    return st;
}

size_t wr_encoder_arena_bytes(const wr_encoder *encoder, size_t ntok, size_t longest)
{
    size_t rows = wr_padded_rows(ntok), block = wr_padded_rows(ntok < BLOCK_ROWS ? ntok : BLOCK_ROWS);
    size_t floats = rows * 5 * encoder->dim   /* x, ctx, q, kv                        */
                    + rows * 3 * encoder->dim /* first tokens: at most as many as all */
                    + block * (encoder->dim + encoder->ffn) + ATTEND_ROWS * longest + encoder->dim;
    return floats * sizeof(float) + 16 * WR_ARENA_ALIGN;
}
