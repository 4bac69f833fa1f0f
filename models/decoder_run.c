#include <math.h>
#include <string.h>

#include "models/decoder_parts.h"
#include "models/kernels.h"
#include "models/kernels_blocks.h"
#include "models/kernels_causal.h"

/* Rows of one task between products: a microsecond or more each. */
#define UNIT_ROWS 8

/* Queries of one task of attention: heads of keys may be fewer than threads. */
#define UNIT_QUERIES 64

/* Outputs of gate and up at a time, whole panels: [256, 64] floats stay in the second-level cache until they are
 * multiplied with each other. Of few rows more, for long runs through memory. */
#define UNIT_COLS 64
#define UNIT_COLS_FEW 256
#define FEW_ROWS 16

/* Tasks of a product for each thread, so that who comes late finds some left. */
#define TASKS_PER_THREAD 4

/* A crew has no more threads than bits here (data/crew.h). */
#define MOST_SLOTS 32

/* Forms of one input: what Q4_K and Q6_K, say, want of the same numbers differs. */
enum { FORMS = 3 };

typedef struct input {
    const wr_blocks *w; /* what it is made for */
    char *rows;         /* [rows] of wr_block_input_bytes(w, 1) */
} input;

/* A chunk of tokens on its way through the layers. Matrices have a row for each token. */
typedef struct pass {
    const wr_decoder *d;
    wr_kv *kv;
    wr_crew *crew;
    const wr_decoder_layer *l;
    size_t layer, first, rows; /* positions first .. first + rows */
    size_t from;               /* rows before it give keys and values only */
    bool added;                /* y is in x */
    float *x, *y;              /* [rows, dim] */
    float *q, *ctx;            /* [rows, heads * head_dim] */
    float *k, *v;              /* [rows, kv_heads * head_dim] */
    float *mid;                /* [rows, ffn] */
    float *cosine, *sine;      /* [rows, head_dim / 2] */
    char *form[FORMS];         /* memory of inputs */
    input in[FORMS];           /* [nin] */
    size_t nin;
    char *scratch; /* [slots] of slot_bytes */
    size_t slot_bytes;
    atomic_uint taken; /* a bit for each slot */
} pass;

/* A thread's own memory while it is at a task. There are as many as threads, so one is always free. */
static size_t take_slot(pass *p)
{
    unsigned taken = atomic_load_explicit(&p->taken, memory_order_relaxed), bit;
    do bit = ~taken & (taken + 1);
    while (!atomic_compare_exchange_weak_explicit(&p->taken, &taken, taken | bit, memory_order_acquire,
                                                  memory_order_relaxed));
    return (size_t)__builtin_ctz(bit);
}

static void give_slot(pass *p, size_t slot)
{
    atomic_fetch_and_explicit(&p->taken, ~(1u << slot), memory_order_release);
}

static char *slot_memory(const pass *p, size_t slot)
{
    return p->scratch + slot * p->slot_bytes;
}

/* ---- inputs of products ---- */

/* The form that w wants, made ready for filling unless another matrix of this input wants the same. */
static void want_form(pass *p, const wr_blocks *w)
{
    for (size_t i = 0; i < p->nin; i++)
        if (wr_block_input_fits(p->in[i].w, w)) return;
    p->in[p->nin] = (input){w, p->form[p->nin]};
    p->nin++;
}

static const char *form_of(const pass *p, const wr_blocks *w, size_t row)
{
    size_t i = 0;
    while (!wr_block_input_fits(p->in[i].w, w)) i++;
    return p->in[i].rows + row * wr_block_input_bytes(w, 1);
}

static void fill_forms(const pass *p, size_t row, const float *x)
{
    for (size_t i = 0; i < p->nin; i++)
        wr_block_input(p->in[i].w, x, p->in[i].w->in, 1, p->in[i].rows + row * wr_block_input_bytes(p->in[i].w, 1));
}

/* All rows by fn, shared out. */
static void by_rows(pass *p, void (*fn)(void *arg, size_t i))
{
    wr_crew_for(p->crew, (p->rows + UNIT_ROWS - 1) / UNIT_ROWS, fn, p);
}

static size_t unit_end(const pass *p, size_t i)
{
    return (i + 1) * UNIT_ROWS < p->rows ? (i + 1) * UNIT_ROWS : p->rows;
}

static size_t unit_begin(size_t i, size_t from)
{
    return i * UNIT_ROWS > from ? i * UNIT_ROWS : from;
}

static void add_rows(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

/* x += y of what came before, and its norm as input. */
static void enter(pass *p, size_t i, size_t from, const float *norm)
{
    size_t dim = p->d->config.dim, slot = take_slot(p);
    float *h = (float *)(void *)slot_memory(p, slot);
    for (size_t r = unit_begin(i, from); r < unit_end(p, i); r++) {
        if (!p->added) add_rows(p->x + r * dim, p->y + r * dim, dim);
        wr_rms_norm(p->x + r * dim, norm, p->d->config.eps, dim, h);
        fill_forms(p, r, h);
    }
    give_slot(p, slot);
}

static void enter_attention(void *arg, size_t i)
{
    pass *p = arg;
    enter(p, i, 0, p->l->norm_in);
}

static void enter_ffn(void *arg, size_t i)
{
    pass *p = arg;
    enter(p, i, p->from, p->l->norm_post);
}

static void enter_output(void *arg, size_t i)
{
    pass *p = arg;
    size_t n = p->l->out.w.in;
    for (size_t r = unit_begin(i, p->from); r < unit_end(p, i); r++) fill_forms(p, r, p->ctx + r * n);
}

static void enter_down(void *arg, size_t i)
{
    pass *p = arg;
    size_t n = p->l->down.w.in;
    for (size_t r = unit_begin(i, p->from); r < unit_end(p, i); r++) fill_forms(p, r, p->mid + r * n);
}

/* ---- products ---- */

typedef struct product {
    const wr_projection *by;
    size_t from; /* first row */
    float *y;    /* [rows, out] */
} product;

typedef struct products {
    pass *p;
    product of[FORMS];
    size_t n, cols; /* outputs of a task */
} products;

static void multiply(const pass *p, const product *m, size_t begin, size_t end, void *scratch)
{
    size_t out = m->by->w.out, rows = p->rows - m->from;
    float *y = m->y + m->from * out;
    wr_block_gemm(&m->by->w, form_of(p, &m->by->w, m->from), rows, begin, end, y, out, scratch);
    for (size_t r = 0; r < rows && m->by->bias; r++)
        add_rows(y + r * out + begin, m->by->bias + begin, end - begin);
}

static size_t tasks_of(size_t out, size_t cols)
{
    return (out + cols - 1) / cols;
}

static void multiply_task(void *arg, size_t i)
{
    const products *all = arg;
    size_t j = 0, n;
    while (i >= (n = tasks_of(all->of[j].by->w.out, all->cols))) i -= n, j++;
    const product *m = &all->of[j];
    size_t begin = i * all->cols, end = begin + all->cols, slot = take_slot(all->p);
    multiply(all->p, m, begin, end < m->by->w.out ? end : m->by->w.out, slot_memory(all->p, slot));
    give_slot(all->p, slot);
}

static void run_products(products *all)
{
    size_t out = 0, tasks = 0, parts = TASKS_PER_THREAD * wr_crew_size(all->p->crew);
    for (size_t j = 0; j < all->n; j++) out += all->of[j].by->w.out;
    if (!all->p->crew) parts = 1;
    all->cols = (out + parts * UNIT_COLS - 1) / (parts * UNIT_COLS) * UNIT_COLS;
    for (size_t j = 0; j < all->n; j++) tasks += tasks_of(all->of[j].by->w.out, all->cols);
    wr_crew_for(all->p->crew, tasks, multiply_task, all);
}

static void run_product(pass *p, const wr_projection *by, float *y)
{
    products all = {.p = p, .of = {{by, p->from, y}}, .n = 1};
    run_products(&all);
}

/* ---- attention ---- */

/* Turns heads of one row by its position. */
static void turn(const pass *p, size_t r, float *x, size_t heads)
{
    size_t dim = p->d->config.head_dim, half = dim / 2;
    bool adjacent = p->d->config.rope.adjacent;
    const float *c = p->cosine + r * half, *s = p->sine + r * half;
    for (size_t h = 0; h < heads; h++, x += dim)
        for (size_t i = 0; i < half; i++) {
            float *a = adjacent ? x + 2 * i : x + i, *b = adjacent ? a + 1 : x + half + i;
            float u = *a, v = *b;
            *a = u * c[i] - v * s[i];
            *b = v * c[i] + u * s[i];
        }
}

static void norm_heads(const pass *p, float *x, size_t heads, const float *norm)
{
    size_t dim = p->d->config.head_dim;
    for (size_t h = 0; h < heads && norm; h++, x += dim) wr_rms_norm(x, norm, p->d->config.eps, dim, x);
}

/* Number of the first of a layer's head in the cache. */
static size_t kv_at(const pass *p, size_t head)
{
    const wr_decoder_config *c = &p->d->config;
    return (p->layer * c->kv_heads + head) * p->kv->room * c->head_dim;
}

static void keep(const pass *p, char *cache, size_t r, const float *x)
{
    const wr_decoder_config *c = &p->d->config;
    for (size_t h = 0; h < c->kv_heads; h++, x += c->head_dim) {
        char *at = cache + (kv_at(p, h) + (p->first + r) * c->head_dim) * p->kv->width;
        if (p->d->half)
            wr_halves_from(x, c->head_dim, (uint16_t *)(void *)at);
        else
            memcpy(at, x, c->head_dim * sizeof *x);
    }
}

static void place_heads(void *arg, size_t i)
{
    pass *p = arg;
    const wr_decoder_config *c = &p->d->config;
    size_t nq = c->heads * c->head_dim, nk = c->kv_heads * c->head_dim;
    for (size_t r = unit_begin(i, 0); r < unit_end(p, i); r++) {
        if (r >= p->from) {
            norm_heads(p, p->q + r * nq, c->heads, p->l->norm_q);
            turn(p, r, p->q + r * nq, c->heads);
        }
        norm_heads(p, p->k + r * nk, c->kv_heads, p->l->norm_k);
        turn(p, r, p->k + r * nk, c->kv_heads);
        keep(p, p->kv->keys, r, p->k + r * nk);
        keep(p, p->kv->values, r, p->v + r * nk);
    }
}

static void attend(void *arg, size_t i)
{
    pass *p = arg;
    const wr_decoder_config *c = &p->d->config;
    size_t head = i % c->kv_heads, group = c->heads / c->kv_heads, n = c->heads * c->head_dim;
    size_t row = p->from + i / c->kv_heads * UNIT_QUERIES, left = p->rows - row, slot = take_slot(p);
    size_t at = row * n + head * group * c->head_dim, cache = kv_at(p, head) * p->kv->width;
    wr_causal a = {.q = p->q + at,
                   .q_stride = n,
                   .nq = left < UNIT_QUERIES ? left : UNIT_QUERIES,
                   .group = group,
                   .width = c->head_dim,
                   .scale = 1 / sqrtf((float)c->head_dim),
                   .first = p->first + row,
                   .window = p->l->window,
                   .k = p->kv->keys + cache,
                   .v = p->kv->values + cache,
                   .kv_stride = c->head_dim,
                   .half = p->d->half,
                   .ctx = p->ctx + at,
                   .ctx_stride = n,
                   .scratch = slot_memory(p, slot)};
    wr_causal_attend(&a);
    give_slot(p, slot);
}

/* ---- a layer ---- */

static void run_keys(pass *p)
{
    const wr_decoder_layer *l = p->l;
    products all = {.p = p, .of = {{&l->k, 0, p->k}, {&l->v, 0, p->v}, {&l->q, p->from, p->q}}, .n = 3};
    if (p->from == p->rows) all.n = 2;
    p->nin = 0;
    for (size_t i = 0; i < all.n; i++) want_form(p, &all.of[i].by->w);
    by_rows(p, enter_attention);
    p->added = true;
    run_products(&all);
    by_rows(p, place_heads);
}

static void run_attention(pass *p)
{
    size_t units = (p->rows - p->from + UNIT_QUERIES - 1) / UNIT_QUERIES;
    wr_crew_for(p->crew, units * p->d->config.kv_heads, attend, p);
    p->nin = 0;
    want_form(p, &p->l->out.w);
    by_rows(p, enter_output);
    run_product(p, &p->l->out, p->y);
    p->added = false;
}

static size_t ffn_cols(const pass *p)
{
    return p->rows - p->from < FEW_ROWS ? UNIT_COLS_FEW : UNIT_COLS;
}

/* Outputs begin .. end of gate, and of up into the thread's own memory, and their product. */
static void gate_task(void *arg, size_t i)
{
    pass *p = arg;
    const wr_projection *up = &p->l->up;
    size_t ffn = up->w.out, cols = ffn_cols(p), begin = i * cols, end = begin + cols < ffn ? begin + cols : ffn;
    size_t rows = p->rows - p->from, n = end - begin, row_bytes = 0, slot = take_slot(p);
    char *scratch = slot_memory(p, slot);
    float *mid = p->mid + p->from * ffn + begin, *y = (float *)(void *)(scratch + WR_BLOCK_PANEL_BYTES);
    void (*silu_times)(float *y, const float *by, size_t n) = wr_kernels_get()->silu_times_f32;
    wr_blocks_bytes(up->w.type, 1, up->w.in, &row_bytes);
    wr_blocks part = {up->w.type, (const char *)up->w.data + begin * row_bytes, n, up->w.in};
    multiply(p, &(product){&p->l->gate, p->from, p->mid}, begin, end, scratch);
    wr_block_gemm(&part, form_of(p, &up->w, p->from), rows, 0, n, y, n, scratch);
    for (size_t r = 0; r < rows; r++) {
        if (up->bias) add_rows(y + r * n, up->bias + begin, n);
        silu_times(mid + r * ffn, y + r * n, n);
    }
    give_slot(p, slot);
}

static void run_ffn(pass *p)
{
    p->nin = 0;
    want_form(p, &p->l->gate.w);
    want_form(p, &p->l->up.w);
    by_rows(p, enter_ffn);
    wr_crew_for(p->crew, tasks_of(p->d->config.ffn, ffn_cols(p)), gate_task, p);
    p->nin = 0;
    want_form(p, &p->l->down.w);
    by_rows(p, enter_down);
    run_product(p, &p->l->down, p->y);
}

/* ---- logits ---- */

/* Rows that follow each other in the vocabulary are multiplied together. */
static void some_rows(pass *p, const wr_logits *logits)
{
    const wr_blocks *head = &p->d->head;
    size_t row_bytes = 0, n;
    wr_blocks_bytes(head->type, 1, head->in, &row_bytes);
    for (size_t i = 0; i < logits->n; i += n) {
        for (n = 1; i + n < logits->n && logits->row[i + n] == logits->row[i] + n;) n++;
        wr_blocks part = {head->type, (const char *)head->data + logits->row[i] * row_bytes, n, head->in};
        wr_block_gemm(&part, p->in[0].rows, 1, 0, n, logits->out + i, n, slot_memory(p, 0));
    }
}

/* Of the last row. */
static void run_head(pass *p, const wr_logits *logits)
{
    size_t dim = p->d->config.dim, last = p->rows - 1;
    float *x = p->x + last * dim;
    wr_projection all = {.w = p->d->head};
    add_rows(x, p->y + last * dim, dim);
    wr_rms_norm(x, p->d->norm, p->d->config.eps, dim, x);
    p->nin = 0;
    want_form(p, &all.w);
    fill_forms(p, 0, x);
    p->rows = 1;
    p->from = 0;
    if (logits->row)
        some_rows(p, logits);
    else
        run_product(p, &all, logits->out);
}

/* ---- the whole ---- */

static size_t lines(size_t bytes)
{
    return (bytes + WR_ARENA_ALIGN - 1) / WR_ARENA_ALIGN * WR_ARENA_ALIGN;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t slot_bytes(const wr_decoder *d, size_t rows, size_t keys)
{
    const wr_decoder_config *c = &d->config;
    size_t up = sizeof(float) * most(rows * UNIT_COLS, FEW_ROWS * UNIT_COLS_FEW);
    return lines(most(most(WR_BLOCK_PANEL_BYTES + up, c->dim * sizeof(float)), wr_causal_scratch(keys, c->head_dim)));
}

/* The widest row of an input, whichever matrix it is for: floats are the widest form but for a few. */
static size_t form_bytes(const wr_decoder *d)
{
    const wr_decoder_config *c = &d->config;
    size_t n = most(most(c->dim, c->ffn), c->heads * c->head_dim);
    wr_blocks plain = {WR_BLOCK_F32, NULL, 1, n}, fine = {WR_BLOCK_Q6_K, NULL, 1, (n + 255) / 256 * 256};
    return most(wr_block_input_bytes(&plain, 1), wr_block_input_bytes(&fine, 1));
}

static size_t threads_of(const wr_crew *crew)
{
    size_t n = wr_crew_size(crew);
    return n < MOST_SLOTS ? n : MOST_SLOTS;
}

static bool prepare(pass *p, wr_arena *arena, size_t rows, size_t keys)
{
    const wr_decoder_config *c = &p->d->config;
    size_t q = c->heads * c->head_dim, k = c->kv_heads * c->head_dim, half = c->head_dim / 2, form = form_bytes(p->d);
    p->slot_bytes = slot_bytes(p->d, rows, keys);
    bool got = (p->x = wr_arena_alloc(arena, rows * c->dim * sizeof(float))) &&
               (p->y = wr_arena_alloc(arena, rows * c->dim * sizeof(float))) &&
               (p->q = wr_arena_alloc(arena, rows * q * sizeof(float))) &&
               (p->ctx = wr_arena_alloc(arena, rows * q * sizeof(float))) &&
               (p->k = wr_arena_alloc(arena, rows * k * sizeof(float))) &&
               (p->v = wr_arena_alloc(arena, rows * k * sizeof(float))) &&
               (p->mid = wr_arena_alloc(arena, rows * c->ffn * sizeof(float))) &&
               (p->cosine = wr_arena_alloc(arena, rows * half * sizeof(float))) &&
               (p->sine = wr_arena_alloc(arena, rows * half * sizeof(float))) &&
               (p->scratch = wr_arena_alloc(arena, threads_of(p->crew) * p->slot_bytes));
    for (size_t i = 0; i < FORMS && got; i++) got = (p->form[i] = wr_arena_alloc(arena, rows * form)) != NULL;
    return got;
}

size_t wr_decoder_arena_bytes(const wr_decoder *d, size_t n, size_t threads)
{
    const wr_decoder_config *c = &d->config;
    size_t rows = n < WR_DECODER_CHUNK ? n : WR_DECODER_CHUNK, q = c->heads * c->head_dim;
    size_t row = sizeof(float) * (2 * c->dim + 2 * q + 2 * c->kv_heads * c->head_dim + c->ffn + c->head_dim);
    threads = threads < 1 ? 1 : threads < MOST_SLOTS ? threads : MOST_SLOTS;
    return rows * row + FORMS * lines(rows * form_bytes(d)) + threads * slot_bytes(d, rows, d->info.positions) +
           16 * WR_ARENA_ALIGN;
}

/* States and angles of a chunk. */
static void begin_chunk(pass *p, const uint32_t *id)
{
    size_t dim = p->d->config.dim, half = p->d->config.head_dim / 2;
    p->added = true;
    for (size_t r = 0; r < p->rows; r++) {
        wr_blocks_row(&p->d->table, id[r], p->x + r * dim);
        for (size_t i = 0; i < half; i++) {
            float angle = (float)(p->first + r) * p->d->turn[i];
            p->cosine[r * half + i] = (float)cos((double)angle);
            p->sine[r * half + i] = (float)sin((double)angle);
        }
    }
}

/* One chunk through all layers; *layers counts those that are done. logits are NULL where none are wanted of it. */
static wr_status run_chunk(pass *p, const uint32_t *id, const wr_logits *logits, const wr_budget *budget, size_t *layers)
{
    size_t n = p->d->config.layers;
    bool whole = atomic_load_explicit(&p->d->whole, memory_order_relaxed);
    begin_chunk(p, id);
    for (size_t i = 0; i < n; i++, ++*layers) {
        if (wr_budget_spent(budget)) return WR_STOPPED;
        p->l = &p->d->layer[i];
        p->layer = i;
        p->from = whole || i + 1 < n ? 0 : logits ? p->rows - 1 : p->rows;
        run_keys(p);
        if (p->from == p->rows) continue;
        run_attention(p);
        run_ffn(p);
    }
    memcpy(p->kv->id + p->first, id, p->rows * sizeof *id);
    p->kv->n = p->first + p->rows;
    if (logits) run_head(p, logits);
    return WR_OK;
}

static bool is_valid(const wr_decoder *d, const wr_kv *kv, const uint32_t *id, size_t n, const wr_logits *logits)
{
    if (kv->decoder != d || n < 1 || n > kv->room - kv->n) return false;
    for (size_t i = 0; i < n; i++)
        if (id[i] >= d->config.vocab) return false;
    for (size_t i = 0; logits && logits->row && i < logits->n; i++)
        if (logits->row[i] >= d->config.vocab) return false;
    return true;
}

wr_status wr_decoder_run(const wr_decoder *d, wr_kv *kv, const uint32_t *id, size_t n, const wr_logits *logits,
                         wr_crew *crew, wr_arena *arena, const wr_budget *budget)
{
    pass p = {.d = d, .kv = kv, .crew = crew};
    const wr_clock *clock = budget ? budget->clock : &wr_clock_system;
    uint64_t start = wr_clock_now(clock);
    size_t mark = wr_arena_mark(arena), layers = 0, chunks = (n + WR_DECODER_CHUNK - 1) / WR_DECODER_CHUNK;
    wr_status st = WR_OK;
    if (!is_valid(d, kv, id, n, logits)) return WR_EARG;
    if (!prepare(&p, arena, n < WR_DECODER_CHUNK ? n : WR_DECODER_CHUNK, kv->n + n)) st = WR_ENOMEM;
    for (size_t at = 0; at < n && !st; at += p.rows) {
        p.first = kv->n;
        p.rows = n - at < WR_DECODER_CHUNK ? n - at : WR_DECODER_CHUNK;
        bool last = at + p.rows == n;
        st = run_chunk(&p, id + at, last ? logits : NULL, budget, &layers);
        if (last) break;
    }
    if (st >= 0) wr_decoder_learn(d, n, (double)layers / (double)(chunks * d->config.layers), wr_clock_now(clock) - start);
    wr_arena_rollback(arena, mark);
    return st;
}
