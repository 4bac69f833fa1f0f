#include "models/heads_mlm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens that are transformed at a time, a multiple of WR_ROW_STEP. */
#define BLOCK_ROWS 96

/* ---- reading ---- */

typedef struct mlm_names {
    const char *transform, *norm, *decoder, *bias;
} mlm_names;

static const mlm_names bert_names = {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
                                     "cls.predictions.decoder", "cls.predictions.bias"};
static const mlm_names distil_names = {"vocab_transform", "vocab_layer_norm", "vocab_projector",
                                       "vocab_projector.bias"};

static const mlm_names *names_of(bool distil)
{
    return distil ? &distil_names : &bert_names;
}

bool wr_mlm_is_in(const wr_weights *weights, bool distil)
{
    char name[WR_MAX_TENSOR_NAME];
    snprintf(name, sizeof name, "%s.weight", names_of(distil)->transform);
    return wr_weights_has(weights, "", name);
}

const char *wr_mlm_decoder_name(bool distil)
{
    return names_of(distil)->decoder;
}

/* One tile: the decoder's rows [from, from + n). Bytes are packed as they are; floats stands for d's where d has bytes
 * and floats are wanted, else it is NULL. */
static wr_status make_tile(wr_linear *tile, wr_weights *weights, const wr_table *d, float *floats, size_t from,
                           size_t n, wr_precision precision)
{
    size_t dim = d->cols;
    bool bytes = precision == WR_PRECISION_INT8;
    if (bytes && d->s8) return wr_linear_init_max(tile, weights, d->s8 + from * dim, d->scale + from, n, dim);
    for (size_t r = 0; floats && r < n; r++) wr_table_row(d, from + r, floats + (from + r) * dim);
    const float *w = (floats ? floats : d->f32) + from * dim;
    return bytes ? wr_linear_round_max(tile, weights, w, n, dim)
                 : wr_linear_init(tile, weights, w, NULL, n, dim, precision);
}

static wr_status make_tiles(wr_mlm *mlm, const wr_table *d, wr_weights *weights, wr_err *err)
{
    const wr_linear_plan *plan = wr_weights_plan(weights, weights->prefix, "embeddings.word_embeddings");
    wr_precision precision = plan ? plan->precision : weights->precision;
    if (precision == WR_PRECISION_STORED) precision = d->s8 ? WR_PRECISION_INT8 : WR_PRECISION_FP32;
    mlm->ntiles = (mlm->vocab + WR_MLM_TILE - 1) / WR_MLM_TILE;
    mlm->tile = calloc(mlm->ntiles, sizeof *mlm->tile);
    bool taken_back = d->s8 && precision != WR_PRECISION_INT8;
    float *floats = taken_back ? wr_weights_own(weights, mlm->vocab * mlm->dim) : NULL;
    wr_status st = mlm->tile && (floats || !taken_back) ? WR_OK : WR_ENOMEM;
    for (size_t t = 0; t < mlm->ntiles && !st; t++) {
        size_t from = t * WR_MLM_TILE, n = mlm->vocab - from < WR_MLM_TILE ? mlm->vocab - from : WR_MLM_TILE;
        st = make_tile(&mlm->tile[t], weights, d, floats, from, n, precision);
    }
    if (st == WR_ENOMEM) return wr_fail(err, st, "the decoder of the vocabulary: out of memory");
    return st ? wr_fail(err, st, "the decoder of the vocabulary: this CPU cannot multiply in the precision asked for")
              : WR_OK;
}

wr_status wr_mlm_open(wr_mlm *mlm, const wr_model_config *config, const wr_table *word, wr_weights *weights,
                      wr_err *err)
{
    const mlm_names *names = names_of(config->distil);
    char decoder[WR_MAX_TENSOR_NAME];
    wr_table own = *word;
    *mlm = (wr_mlm){.act = config->act, .eps = config->eps, .dim = config->dim, .vocab = config->vocab};
    /* a hundredth of the decoder's work: it stays as it is stored */
    wr_status st = wr_linear_read_ready(&mlm->transform, weights, "", &names->transform, 1, mlm->dim, mlm->dim,
                                        WR_PRECISION_STORED, err);
    if (!st) st = wr_norm_read(&mlm->norm, weights, "", names->norm, mlm->dim, err);
    if (!st) st = wr_weights_get(weights, "", names->bias, 0, mlm->vocab, &mlm->bias, err);
    snprintf(decoder, sizeof decoder, "%s.weight", names->decoder);
    if (!st && wr_weights_has(weights, "", decoder))
        st = wr_table_read(&own, weights, "", names->decoder, mlm->vocab, mlm->dim, err);
    return st ? st : make_tiles(mlm, &own, weights, err);
}

void wr_mlm_close(wr_mlm *mlm)
{
    free(mlm->tile);
    *mlm = (wr_mlm){0};
}

/* ---- running ---- */

typedef struct run {
    const wr_mlm *mlm;
    const wr_batch *batch;
    const float *h;   /* [ntok, dim] what the decoder multiplies, in floats */
    wr_s8_rows bytes; /* or as bytes                                        */
    bool integers;
    float *m; /* [nseq, vocab]                                              */
} run;

/* h = LayerNorm(act(x Wt' + bt)), all tokens. */
static wr_status transform(const wr_mlm *mlm, const float *x, size_t ntok, wr_arena *arena, float *h)
{
    const wr_kernels *k = wr_kernels_get();
    wr_s8_rows bytes = {0};
    size_t mark = wr_arena_mark(arena), dim = mlm->dim;
    float *y = wr_arena_calloc(arena, BLOCK_ROWS * dim, sizeof *y), *zeros = wr_arena_calloc(arena, dim, sizeof *zeros);
    bool integers = mlm->transform.form == WR_LINEAR_S8;
    if (!y || !zeros || (integers && !wr_s8_rows_init(&bytes, arena, BLOCK_ROWS, dim))) return WR_ENOMEM;
    for (size_t at = 0; at < ntok; at += BLOCK_ROWS) {
        size_t n = ntok - at < BLOCK_ROWS ? ntok - at : BLOCK_ROWS;
        wr_linear_run(&mlm->transform, x + at * dim, n, mlm->act == WR_ACT_RELU ? WR_LINEAR_RELU : WR_LINEAR_GELU,
                      &bytes, y);
        memset(h + at * dim, 0, n * dim * sizeof *h);
        k->add_norm_f32(h + at * dim, y, zeros, mlm->norm.gamma, mlm->norm.beta, mlm->eps, n, dim);
    }
    wr_arena_rollback(arena, mark);
    return WR_OK;
}

static wr_status run_tiles(const run *r, const wr_budget *budget)
{
    const wr_mlm *mlm = r->mlm;
    const uint32_t *cu = r->batch->cu;
    for (size_t t = 0, from = 0; t < mlm->ntiles; from += mlm->tile[t++].out) {
        if (wr_budget_spent(budget)) return WR_STOPPED;
        for (size_t s = 0; s < r->batch->nseq; s++) {
            wr_s8_rows bytes = r->bytes;
            if (r->integers) bytes.q += cu[s] * bytes.stride, bytes.scale += cu[s], bytes.sum += cu[s];
            wr_linear_max(&mlm->tile[t], r->h + cu[s] * mlm->dim, &bytes, cu[s + 1] - cu[s], mlm->bias + from,
                          r->m + s * mlm->vocab + from);
        }
    }
    return WR_OK;
}

/* BLAS reads the rows of each text in whole groups, so the last text's may reach behind the end. */
static size_t h_rows(size_t ntok)
{
    return ntok + WR_ROW_STEP - 1;
}

wr_status wr_mlm_max(const wr_mlm *mlm, const float *states, const wr_batch *batch, wr_arena *arena,
                     const wr_budget *budget, float *m)
{
    size_t ntok = batch->cu[batch->nseq];
    run r = {.mlm = mlm, .batch = batch, .m = m, .integers = mlm->tile[0].form == WR_LINEAR_S8};
    float *h = wr_arena_calloc(arena, h_rows(ntok) * mlm->dim, sizeof *h);
    if (!h || (r.integers && !wr_s8_rows_init(&r.bytes, arena, ntok, mlm->dim))) return WR_ENOMEM;
    r.h = h;
    wr_status st = transform(mlm, states, ntok, arena, h);
    if (st) return st;
    if (r.integers) wr_linear_quantize(&mlm->tile[0], h, ntok, &r.bytes);
    return run_tiles(&r, budget);
}

size_t wr_mlm_arena_bytes(const wr_mlm *mlm, size_t ntok)
{
    size_t rows = h_rows(ntok), dim = mlm->dim;
    return (rows * dim + BLOCK_ROWS * dim + dim) * sizeof(float) + wr_s8_rows_bytes(ntok, dim) +
           wr_s8_rows_bytes(BLOCK_ROWS, dim) + 8 * WR_ARENA_ALIGN;
}
