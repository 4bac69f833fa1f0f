#include "models/encoder.h"

#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/eliminate.h"
#include "models/kernels.h"

/* Rows of one chunk, if its sequences are not longer: enough that weights are read from the third-level cache rarely
 * (and for BLAS to be at its peak), few enough that what a layer writes for them stays in the second-level cache. */
#define CHUNK_ROWS 384

/* Rows of one product. Bytes: what it writes, [rows, ffn] floats, stays in the second-level cache. Floats: their
 * weights are four times as large, so more rows must share them. */
#define BLOCK_ROWS 96
#define BLOCK_ROWS_F32 384

/* With a deadline a block is no more work than this (multiply-adds, about 4 ms of one core), but at least LEAST_ROWS,
 * below which BLAS spends its time copying the weights. */
#define BLOCK_WORK 200000000u
#define LEAST_ROWS 48

/* BLAS: query rows whose attention scores are held at a time: [64, 512] floats are an eighth of a second-level cache.
 */
#define ATTEND_ROWS 64

/* Tokens of one batch; keeps every size that BLAS sees within an int. */
#define MAX_TOKENS (1u << 20)

/* Sequences that go through the layers together. Matrices have padded rows. */
typedef struct chunk {
    const wr_encoder *e;
    const wr_kernels *k;
    const wr_budget *budget;
    wr_crew *crew;
    const uint32_t *id;  /* [ntok]                                              */
    const uint8_t *type; /* [ntok] or NULL                                      */
    const uint32_t *cu;  /* [nseq + 1] sequence s is rows cu[s] - cu[0] ...     */
    size_t nseq, ntok, block;
    uint32_t *part;       /* [2 npairs + 1] bounds of the pairs' parts, while they are apart    */
    uint32_t *part_id;    /* [ntok] their ids                                                   */
    const uint32_t *pair; /* [npairs + 1] cu, kept meanwhile                                    */
    size_t npairs, query; /* query: rows of the one that all pairs share, which is run once; or 0 */
    float *x;         /* [ntok, dim] states                                     */
    float *q;         /* [ntok, dim]                                            */
    float *kv;        /* [ntok, 2 dim] key and value side by side               */
    float *ctx;       /* [ntok, dim] what attention gathered                    */
    float *y;         /* [block, dim]                                           */
    float *mid;       /* [block, ffn]                                           */
    float *first[3];  /* [nseq, dim] states, queries and ctx of the first rows  */
    wr_s8_rows bytes; /* of the input of a product                              */
    void *scratch;    /* of attention                                           */
    size_t head_scratch; /* bytes between the heads' parts, where a crew shares them */
    float *received;  /* [heads, n] what attention gives to a sequence's tokens, or NULL */
    uint64_t *rows;   /* [layers] rows that passed, or NULL                     */
    wr_elimination drop;
} chunk;

static size_t block_rows(const wr_encoder *e, const wr_budget *budget)
{
    size_t rows = e->integers ? BLOCK_ROWS : BLOCK_ROWS_F32, work = e->dim * e->ffn;
    if (wr_budget_has_deadline(budget) && work * rows > BLOCK_WORK) rows = BLOCK_WORK / work;
    return wr_padded_rows(rows > LEAST_ROWS ? rows : LEAST_ROWS);
}

/* q, and keys and values, of all rows; qx and nq say whose queries are wanted. The two products share an input: taken
 * to bytes once where they agree on how. */
static wr_status project(const chunk *c, const wr_layer *l, const float *qx, size_t nq, float *q)
{
    size_t dim = c->e->dim;
    bool shared = qx == c->x && l->query.form == WR_LINEAR_S8 && l->keys_values.form == WR_LINEAR_S8 &&
                  !l->query.migrate && !l->keys_values.migrate;
    for (size_t at = 0; at < c->ntok; at += c->block) {
        size_t n = c->ntok - at < c->block ? c->ntok - at : c->block;
        const float *x = c->x + at * dim;
        if (wr_budget_spent(c->budget)) return WR_STOPPED;
        wr_linear_run_shared(&l->keys_values, x, n, WR_LINEAR_BIAS, &c->bytes, c->kv + at * 2 * dim,
                             c->crew);
        if (shared) wr_linear_run_bytes(&l->query, &c->bytes, n, WR_LINEAR_BIAS, q + at * dim, c->crew);
    }
    for (size_t at = 0; at < nq && !shared; at += c->block) {
        size_t n = nq - at < c->block ? nq - at : c->block;
        if (wr_budget_spent(c->budget)) return WR_STOPPED;
        wr_linear_run_shared(&l->query, qx + at * dim, n, WR_LINEAR_BIAS, &c->bytes, q + at * dim, c->crew);
    }
    return WR_OK;
}

/* Attention of nq query rows (of q and ctx, [nq, dim]) over one sequence of n tokens (of kv, [n, 2 dim]) with BLAS. The
 * sizes that it sees depend on this sequence alone. */
static void attend_blas(const chunk *c, const float *q, size_t nq, const float *kv, size_t n, float *ctx)
{
    size_t dim = c->e->dim, width = dim / c->e->heads;
    float scale = 1 / sqrtf((float)width), *scores = c->scratch;
    for (size_t h = 0; h < dim; h += width)
        for (size_t at = 0; at < nq; at += ATTEND_ROWS) {
            size_t rows = nq - at < ATTEND_ROWS ? nq - at : ATTEND_ROWS;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)width, scale, q + at * dim + h,
                        (int)dim, kv + h, 2 * (int)dim, 0, scores, (int)n);
            c->k->softmax_f32(scores, rows, n);
            for (size_t r = 0; r < rows && c->received; r++)
                c->k->bias_f32(c->received + h / width * n, scores + r * n, 1, n);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)width, (int)n, 1, scores, (int)n,
                        kv + dim + h, 2 * (int)dim, 0, ctx + at * dim + h, (int)dim);
        }
}

/* One sequence with our own kernels; a crew shares its heads, each with scratch of its own. */
typedef struct sequence {
    const chunk *c;
    const float *q, *kv;
    size_t nq, n;
    float *ctx;
} sequence;

static void attend_head(void *arg, size_t h)
{
    const sequence *s = arg;
    const wr_encoder *e = s->c->e;
    size_t width = e->dim / e->heads, at = h * width;
    wr_attention a = {.q = s->q + at,
                      .k = s->kv + at,
                      .v = s->kv + e->dim + at,
                      .q_stride = e->dim,
                      .kv_stride = 2 * e->dim,
                      .nq = s->nq,
                      .n = s->n,
                      .width = width,
                      .ctx = s->ctx + at,
                      .ctx_stride = e->dim,
                      .scratch = (char *)s->c->scratch + (s->c->crew ? h * s->c->head_scratch : 0),
                      .received = s->c->received ? s->c->received + h * s->n : NULL};
    if (e->integers)
        s->c->k->attend_s16(&a);
    else
        wr_attend_f32(s->c->k, &a);
}

static void attend(const chunk *c, const float *q, size_t nq, const float *kv, size_t n, float *ctx)
{
    sequence s = {c, q, kv, nq, n, ctx};
    wr_crew_for(c->crew, c->e->heads, attend_head, &s);
}

/* Floats in plain C would take a hundred times as long. */
static bool attends_with_blas(const wr_encoder *e)
{
    return !e->integers && !strcmp(wr_kernels_get()->isa, "ref");
}

/* What the tokens of one sequence receive of all heads, which were done in any order. */
static void add_received(const chunk *c, size_t n, float *sum)
{
    for (size_t h = 0; h < c->e->heads; h++) c->k->bias_f32(sum, c->received + h * n, 1, n);
}

/* Attention of every sequence: of all its tokens, or with first_only of its first, then q and ctx are [nseq, dim]. */
static wr_status attend_all(const chunk *c, const float *q, bool first_only, float *ctx)
{
    size_t dim = c->e->dim;
    bool blas = attends_with_blas(c->e);
    for (size_t s = 0; s < c->nseq; s++) {
        size_t begin = c->cu[s] - c->cu[0], n = c->cu[s + 1] - c->cu[s], row = first_only ? s : begin;
        if (wr_budget_spent(c->budget)) return WR_STOPPED;
        if (c->received) memset(c->received, 0, c->e->heads * n * sizeof *c->received);
        (blas ? attend_blas : attend)(c, q + row * dim, first_only ? 1 : n, c->kv + begin * 2 * dim, n,
                                      ctx + row * dim);
        if (c->received) add_received(c, n, c->drop.received + begin);
    }
    return WR_OK;
}

/* The rest of a layer behind attention, for `rows` states in x and what they gathered in ctx. */
static wr_status finish(const chunk *c, const wr_layer *l, float *x, const float *ctx, size_t rows)
{
    const wr_encoder *e = c->e;
    wr_linear_end act = e->act == WR_ACT_GELU ? WR_LINEAR_GELU : WR_LINEAR_RELU;
    for (size_t at = 0; at < rows; at += c->block) {
        size_t n = rows - at < c->block ? rows - at : c->block;
        float *state = x + at * e->dim;
        if (wr_budget_spent(c->budget)) return WR_STOPPED;
        wr_linear_run_shared(&l->attended, ctx + at * e->dim, n, WR_LINEAR_SUM, &c->bytes, c->y, c->crew);
        c->k->add_norm_f32(state, c->y, l->attended.b, l->attended_norm.gamma, l->attended_norm.beta, e->eps, n,
                           e->dim);
        wr_linear_run_shared(&l->up, state, n, act, &c->bytes, c->mid, c->crew);
        if (wr_budget_spent(c->budget)) return WR_STOPPED;
        wr_linear_run_shared(&l->down, c->mid, n, WR_LINEAR_SUM, &c->bytes, c->y, c->crew);
        c->k->add_norm_f32(state, c->y, l->down.b, l->output_norm.gamma, l->output_norm.beta, e->eps, n, e->dim);
    }
    return WR_OK;
}

/* Layer i, which may drop tokens: then the chunk has fewer rows from its attention on. */
static wr_status run_layer(chunk *c, size_t i)
{
    const wr_layer *l = &c->e->layer[i];
    bool due = wr_elimination_due(&c->drop, i);
    wr_status st = project(c, l, c->x, c->ntok, c->q);
    if (st) return st;
    c->received = due ? c->drop.heads : NULL;
    if ((st = attend_all(c, c->q, false, c->ctx))) return st;
    c->received = NULL;
    if (due) {
        c->ntok = wr_elimination_run(&c->drop, i, c->x, c->ctx, c->e->dim);
        c->cu = c->drop.cu;
    }
    if (c->rows) c->rows[i] += c->ntok;
    return finish(c, l, c->x, c->ctx, c->ntok);
}

/* The last layer where only each sequence's first token matters: keys and values of every token, all else of the first
 * ones. Leaves their states in first[0]. */
static wr_status run_last_layer(const chunk *c, size_t i)
{
    const wr_layer *l = &c->e->layer[i];
    size_t dim = c->e->dim;
    wr_status st;
    if (c->rows) c->rows[i] += c->nseq;
    for (size_t s = 0; s < c->nseq; s++)
        memcpy(c->first[0] + s * dim, c->x + (c->cu[s] - c->cu[0]) * dim, dim * sizeof(float));
    if ((st = project(c, l, c->first[0], c->nseq, c->first[1])) || (st = attend_all(c, c->first[1], true, c->first[2])))
        return st;
    return finish(c, l, c->first[0], c->first[2], c->nseq);
}

/* word + position + type, normalised; DistilBERT has no types. */
static void embed(const chunk *c, const float *zeros)
{
    const wr_encoder *e = c->e;
    for (size_t s = 0; s < c->nseq; s++)
        for (size_t t = c->cu[s] - c->cu[0], begin = t; t < c->cu[s + 1] - c->cu[0]; t++) {
            size_t type = c->type && !e->parts ? c->type[t] : 0; /* of parts it says which */
            float *x = c->x + t * e->dim;
            wr_table_row(&e->word, c->id[t], x);
            c->k->add_norm_f32(x, e->type ? e->type + type * e->dim : zeros, e->position + (t - begin) * e->dim,
                               e->embedding_norm.gamma, e->embedding_norm.beta, e->eps, 1, e->dim);
        }
}

/* Tokens of a pair's first part; 0 when types do not tell two parts. */
static size_t first_part(const uint8_t *type, size_t n)
{
    size_t first = 0, end;
    while (type && first < n && type[first] == 0) first++;
    for (end = first; end < n && type && type[end] == 1; end++) continue;
    return first < n && end == n ? first : 0;
}

static bool has_parts(const wr_batch *batch)
{
    for (size_t s = 0; s < batch->nseq; s++)
        if (!batch->type || !first_part(batch->type + batch->cu[s], batch->cu[s + 1] - batch->cu[s])) return false;
    return true;
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
        if (batch->id[t] >= e->vocab || (e->type && !e->parts && batch->type && batch->type[t] >= e->types))
            return false;
    return !e->parts || has_parts(batch);
}

/* ---- the whole pass ---- */

/* BLAS reads whole groups of rows, so those beyond the real ones must be numbers; our kernels read what there is. */
static float *matrix(wr_arena *arena, size_t rows, size_t cols)
{
    size_t bytes = wr_padded_rows(rows) * cols * sizeof(float);
    if (!strcmp(wr_kernels_get()->isa, "ref")) return wr_arena_calloc(arena, bytes, 1);
    return wr_arena_alloc(arena, bytes);
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rows of the longest chunk. */
static size_t chunk_rows(size_t ntok, size_t longest)
{
    size_t rows = most(CHUNK_ROWS, longest);
    return ntok < rows ? ntok : rows;
}

static size_t head_scratch(const wr_encoder *e, size_t longest)
{
    if (e->integers) return (wr_attend_scratch(longest, longest, e->dim / e->heads) + 63) / 64 * 64;
    if (!attends_with_blas(e))
        return (wr_attend_f32_scratch(wr_kernels_get(), longest, e->dim / e->heads) + 63) / 64 * 64;
    return ATTEND_ROWS * longest * sizeof(float);
}

/* Memory for chunks of up to `rows` rows, which are at most as many sequences. */
static bool make_room(chunk *c, wr_arena *arena, size_t rows, size_t longest, bool first_only)
{
    const wr_encoder *e = c->e;
    size_t block = rows < c->block ? rows : c->block;
    c->ctx = matrix(arena, rows, e->dim);
    c->q = matrix(arena, rows, e->dim);
    c->kv = matrix(arena, rows, 2 * e->dim);
    c->y = matrix(arena, block, e->dim);
    c->mid = matrix(arena, block, e->ffn);
    c->head_scratch = head_scratch(e, longest);
    c->scratch = wr_arena_alloc(arena, c->head_scratch * (c->crew && !attends_with_blas(e) ? e->heads : 1));
    if (e->parts && (!(c->part = wr_arena_alloc(arena, (rows + 1) * sizeof *c->part)) ||
                     !(c->part_id = wr_arena_alloc(arena, rows * sizeof *c->part_id))))
        return false;
    for (size_t i = 0; i < 3 && first_only; i++)
        if (!(c->first[i] = matrix(arena, rows, e->dim))) return false;
    return c->ctx && c->q && c->kv && c->y && c->mid && c->scratch &&
           wr_s8_rows_init(&c->bytes, arena, block, most(e->dim, e->ffn));
}

static size_t layers_of(const wr_encoder *e, const wr_pass *pass)
{
    return pass->exit && pass->exit < e->layers ? pass->exit : e->layers;
}

/* Tokens of the first part that all pairs have alike; 0 when they have not, or there is one pair. */
static size_t shared_part(const chunk *c)
{
    size_t n = first_part(c->type, c->cu[1] - c->cu[0]);
    for (size_t s = 1; s < c->nseq; s++) {
        size_t begin = c->cu[s] - c->cu[0];
        if (first_part(c->type + begin, c->cu[s + 1] - c->cu[s]) != n ||
            memcmp(c->id, c->id + begin, n * sizeof *c->id) != 0)
            return 0;
    }
    return c->nseq > 1 ? n : 0;
}

/* From here on every part of a pair is a sequence, a query that all pairs share only once and before all passages. */
static void take_apart(chunk *c)
{
    size_t ntok = 0, nparts = 0;
    c->query = shared_part(c);
    c->pair = c->cu;
    c->npairs = c->nseq;
    c->part[0] = 0;
    for (size_t s = 0; s < c->npairs; s++) {
        size_t begin = c->pair[s] - c->pair[0], n = c->pair[s + 1] - c->pair[s];
        size_t first = first_part(c->type + begin, n), skip = s && c->query ? first : 0;
        memcpy(c->part_id + ntok, c->id + begin + skip, (n - skip) * sizeof *c->id);
        if (!skip) c->part[++nparts] = (uint32_t)(ntok + first);
        c->part[++nparts] = (uint32_t)(ntok += n - skip);
    }
    c->id = c->part_id;
    c->cu = c->part;
    c->nseq = nparts;
    c->ntok = ntok;
}

/* From the last pair on, so that nothing is overwritten that is still to be moved. */
static void put_together(chunk *c)
{
    size_t dim = c->e->dim, row = dim * sizeof *c->x;
    for (size_t s = c->npairs; s-- > 1 && c->query;) {
        float *to = c->x + (c->pair[s] - c->pair[0]) * dim;
        memmove(to + c->query * dim, c->x + c->part[s + 1] * dim, (c->part[s + 2] - c->part[s + 1]) * row);
        memcpy(to, c->x, c->query * row);
    }
    c->cu = c->pair;
    c->nseq = c->npairs;
    c->ntok = c->pair[c->npairs] - c->pair[0];
}

static wr_status run_chunk(chunk *c, bool first_only, const float *zeros)
{
    size_t layers = c->drop.layers, i = 0;
    wr_status st = WR_OK;
    wr_elimination_begin(&c->drop, c->cu, c->nseq, c->type);
    if (c->e->parts) take_apart(c);
    embed(c, zeros);
    for (; i < c->e->join && i < layers && !st; i++) st = run_layer(c, i);
    if (c->e->parts) put_together(c);
    for (; i + first_only < layers && !st; i++) st = run_layer(c, i);
    if (!st && first_only) st = run_last_layer(c, layers - 1);
    return st;
}

/* The sequences from s on that make a chunk: as many as fit, at least one. */
static size_t chunk_end(const wr_batch *batch, size_t s)
{
    size_t end = s + 1;
    while (end < batch->nseq && batch->cu[end + 1] - batch->cu[s] <= CHUNK_ROWS) end++;
    return end;
}

/* The lengths that a chunk's sequences, from s on, have at the end. */
static void note_lengths(const chunk *c, size_t s, size_t row, const wr_kept *kept)
{
    if (!kept || !kept->cu) return;
    for (size_t i = 0; i <= c->nseq; i++) kept->cu[s + i] = (uint32_t)row + c->cu[i] - c->cu[0];
}

static bool is_complete(const wr_encoder *e, const wr_pass *pass)
{
    bool drops = pass->keep > 0 && pass->keep < 1;
    if (pass->kept && pass->kept->rows) memset(pass->kept->rows, 0, e->layers * sizeof *pass->kept->rows);
    return !drops || pass->first_only || (pass->kept && pass->kept->cu);
}

wr_status wr_encoder_run(const wr_encoder *encoder, const wr_batch *batch, const wr_pass *pass, wr_arena *arena,
                         const wr_budget *budget, const float **states)
{
    size_t longest, dim = encoder->dim, row = 0;
    *states = NULL;
    if (!is_valid(encoder, batch, &longest) || !is_complete(encoder, pass)) return WR_EARG;
    size_t ntok = batch->cu[batch->nseq], rows = chunk_rows(ntok, longest);
    chunk c = {.e = encoder, .k = wr_kernels_get(), .budget = budget, .block = block_rows(encoder, budget)};
    c.crew = pass->crew;
    float *out = matrix(arena, pass->first_only ? batch->nseq : ntok, dim), *zeros = wr_arena_calloc(arena, dim, sizeof *zeros);
    float *x = pass->first_only ? matrix(arena, rows, dim) : out;
    if (!out || !zeros || !x || !make_room(&c, arena, rows, longest, pass->first_only)) return WR_ENOMEM;
    wr_status st = wr_elimination_init(&c.drop, arena, pass->keep, layers_of(encoder, pass), rows,
                                       encoder->heads * longest);
    c.drop.apart = encoder->join;
    c.drop.parts = encoder->parts;
    c.rows = pass->kept ? pass->kept->rows : NULL;
    for (size_t s = 0, end; s < batch->nseq && !st; s = end) {
        end = chunk_end(batch, s);
        size_t begin = batch->cu[s];
        c.id = batch->id + begin;
        c.type = batch->type ? batch->type + begin : NULL;
        c.cu = batch->cu + s;
        c.nseq = end - s;
        c.ntok = batch->cu[end] - begin;
        c.x = pass->first_only ? x : out + row * dim;
        st = run_chunk(&c, pass->first_only, zeros);
        if (!st && pass->first_only) memcpy(out + s * dim, c.first[0], c.nseq * dim * sizeof *out);
        note_lengths(&c, s, row, pass->kept);
        row += c.ntok;
    }
    *states = out;
    return st;
}

double wr_encoder_work(const wr_encoder *e, const wr_pass *pass, size_t n)
{
    size_t layers = layers_of(e, pass), fixed = n < 2 ? n : 2;
    double dim = (double)e->dim, ffn = (double)e->ffn, rows = (double)n, work = 0;
    for (size_t i = 0; i < layers; i++) {
        bool last = pass->first_only && i + 1 == layers;
        double queries = last ? 1 : rows;
        double left = last ? 1 : i < e->join ? rows : (double)wr_keep_count(pass->keep, i, layers, n, fixed);
        work += rows * 2 * dim * dim + queries * dim * (dim + 2 * rows) + left * dim * (dim + 2 * ffn);
        rows = left;
    }
    return work;
}

size_t wr_encoder_arena_bytes(const wr_encoder *encoder, size_t ntok, size_t longest)
{
    size_t rows = wr_padded_rows(chunk_rows(ntok, longest));
    size_t block = rows < BLOCK_ROWS_F32 ? rows : BLOCK_ROWS_F32, dim = encoder->dim;
    size_t floats = wr_padded_rows(ntok) * dim /* out */ + rows * dim * 8 /* x, ctx, q, kv, first */ +
                    block * (dim + encoder->ffn) + WR_ROW_STEP * dim;
    return floats * sizeof(float) + head_scratch(encoder, longest) * encoder->heads +
           wr_s8_rows_bytes(block, most(dim, encoder->ffn)) + wr_elimination_bytes(rows, encoder->heads * longest) +
           (2 * rows + 1) * sizeof(uint32_t) /* parts */ + 18 * WR_ARENA_ALIGN;
}
