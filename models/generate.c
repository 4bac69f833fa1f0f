#include "models/generate.h"

#include <assert.h>
#include <math.h>

static wr_status run(const wr_generator *by, const uint32_t *id, size_t n, const wr_logits *logits)
{
    return wr_decoder_run(by->decoder, by->kv, id, n, logits, by->crew, by->arena, by->budget);
}

static wr_status run_prompt(const wr_generator *by, const uint32_t *id, size_t n, const wr_logits *logits)
{
    size_t have = wr_kv_reuse(by->kv, id, n);
    return run(by, id + have, n - have, logits);
}

static size_t vocabulary(const wr_generator *by)
{
    return wr_decoder_info_get(by->decoder)->vocab;
}

/* Index of the largest, the first of equal ones; n when none is larger than -INFINITY. */
static size_t largest(const float *x, size_t n)
{
    size_t best = n;
    float most = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (x[i] > most) most = x[i], best = i;
    return best;
}

size_t wr_generate_arena_bytes(const wr_decoder *decoder, size_t n, size_t rows, size_t threads)
{
    size_t vocab = wr_decoder_info_get(decoder)->vocab, logits = rows > vocab ? rows : vocab;
    /* rows, fixed text and logits, each a piece of the arena */
    return wr_decoder_arena_bytes(decoder, n, threads) + rows * sizeof(uint32_t) + logits * sizeof(float) +
           3 * WR_ARENA_ALIGN;
}

/* ---- free ---- */

static bool is_stop(const wr_generate_free *how, uint32_t id)
{
    for (size_t i = 0; i < how->nstop; i++)
        if (how->stop[i] == id) return true;
    return false;
}

/* The rows to choose from: those that are allowed, then those that end. NULL rows: the whole vocabulary. */
static wr_status choices(const wr_generator *by, const wr_generate_free *how, wr_logits *logits)
{
    logits->row = NULL;
    logits->n = vocabulary(by);
    if (how->only) {
        uint32_t *row = wr_arena_alloc(by->arena, (how->nonly + how->nstop) * sizeof *row);
        if (!row) return WR_ENOMEM;
        logits->row = row;
        logits->n = how->nonly + how->nstop;
        for (size_t i = 0; i < logits->n; i++) row[i] = i < how->nonly ? how->only[i] : how->stop[i - how->nonly];
    }
    logits->out = wr_arena_alloc(by->arena, logits->n * sizeof *logits->out);
    return logits->out ? WR_OK : WR_ENOMEM;
}

static wr_status generate(const wr_generator *by, const uint32_t *id, size_t n, const wr_generate_free *how,
                          size_t limit, uint32_t *out, size_t *nout)
{
    wr_logits logits;
    wr_status st = choices(by, how, &logits);
    while (!st && *nout < limit) {
        st = *nout ? run(by, out + *nout - 1, 1, &logits) : run_prompt(by, id, n, &logits);
        if (st) break;
        size_t best = largest(logits.out, logits.n);
        if (best == logits.n) best = 0; /* a model of NaNs: anything, but the same every time */
        uint32_t next = logits.row ? logits.row[best] : (uint32_t)best;
        if (is_stop(how, next)) break;
        out[(*nout)++] = next;
    }
    return st;
}

wr_status wr_generate(const wr_generator *by, const uint32_t *id, size_t n, const wr_generate_free *how, size_t limit,
                      uint32_t *out, size_t *nout)
{
    size_t mark = wr_arena_mark(by->arena);
    *nout = 0;
    if (!n || (how->only && !(how->nonly + how->nstop))) return WR_EARG;
    wr_status st = generate(by, id, n, how, limit, out, nout);
    wr_arena_rollback(by->arena, mark);
    return st;
}

/* ---- lists ---- */

/* order[0 .. named) was named, order[named .. n) was not and ascends. */
typedef struct naming {
    const wr_generator *by;
    const wr_generate_list *list;
    size_t *order, named;
    uint32_t *row;   /* [first[n]] rows of those that are left, one behind the other */
    uint32_t *piece; /* [1 + nbehind] an identifier and the text behind it           */
    float *logit;    /* of row[], or of the whole vocabulary                         */
} naming;

static size_t rows_of(const wr_generate_list *list, size_t i)
{
    return list->first[i + 1] - list->first[i];
}

/* Gathers the rows that may come now and says where their logits are wanted. */
static wr_logits wanted(naming *a)
{
    const wr_generate_list *list = a->list;
    wr_logits logits = {NULL, 0, a->logit};
    if (list->plain) return logits;
    for (size_t at = a->named; at < list->n; at++)
        for (size_t j = 0; j < rows_of(list, a->order[at]); j++)
            a->row[logits.n++] = list->row[list->first[a->order[at]] + j];
    logits.row = a->row;
    return logits;
}

/* Takes the most probable of what is left; as that ascends, the first of equal ones is the first identifier. */
static void name_one(naming *a)
{
    const wr_generate_list *list = a->list;
    size_t best = a->named, i = 0;
    uint32_t id = list->row[list->first[a->order[best]]];
    float most = -INFINITY;
    for (size_t at = a->named; at < list->n; at++)
        for (size_t j = 0; j < rows_of(list, a->order[at]); j++, i++) {
            uint32_t row = list->row[list->first[a->order[at]] + j];
            float logit = a->logit[list->plain ? row : i];
            if (logit > most) most = logit, best = at, id = row;
        }
    size_t chosen = a->order[best];
    for (; best > a->named; best--) a->order[best] = a->order[best - 1];
    a->order[a->named++] = chosen;
    a->piece[0] = id;
}

/* The piece goes into the cache, and what comes behind it is asked for. */
static wr_status append(naming *a)
{
    size_t n = 1 + a->list->nbehind;
    wr_logits logits = wanted(a);
    if (!a->list->plain) return run(a->by, a->piece, n, &logits);
    wr_status st = WR_OK;
    for (size_t i = 0; !st && i < n; i++) st = run(a->by, a->piece + i, 1, &logits);
    return st;
}

static wr_status name_all(naming *a, const uint32_t *id, size_t n)
{
    const wr_generate_list *list = a->list;
    wr_logits logits = wanted(a);
    wr_status st = run_prompt(a->by, id, n, &logits);
    while (!st) {
        name_one(a);
        if (!list->plain && a->named + 1 >= list->n) { /* the last one is no question */
            a->named = list->n;
            break;
        }
        bool last = a->named == list->n;
        st = append(a);
        if (last) break;
    }
    return st;
}

/* Memory, and rows that are tokens. */
static wr_status prepare(naming *a)
{
    const wr_generate_list *list = a->list;
    size_t rows = list->first[list->n], vocab = vocabulary(a->by);
    wr_arena *arena = a->by->arena;
    a->row = wr_arena_alloc(arena, rows * sizeof *a->row);
    a->piece = wr_arena_alloc(arena, (1 + list->nbehind) * sizeof *a->piece);
    a->logit = wr_arena_alloc(arena, (list->plain ? vocab : rows) * sizeof *a->logit);
    if (!a->row || !a->piece || !a->logit) return WR_ENOMEM;
    for (size_t i = 0; i < list->nbehind; i++) a->piece[1 + i] = list->behind[i];
    for (size_t i = 0; i < rows; i++)
        if (list->row[i] >= vocab) return WR_EARG;
    return WR_OK;
}

wr_status wr_generate_order(const wr_generator *by, const uint32_t *id, size_t n, const wr_generate_list *list,
                            size_t *order, size_t *named)
{
    naming a = {.by = by, .list = list, .order = order};
    size_t mark = wr_arena_mark(by->arena);
    for (size_t i = 0; i < list->n; i++) {
        assert(rows_of(list, i) > 0);
        order[i] = i;
    }
    wr_status st = !n ? WR_EARG : WR_OK;
    if (!st && list->n) st = prepare(&a);
    if (!st && list->n) st = name_all(&a, id, n);
    wr_arena_rollback(by->arena, mark);
    if (named) *named = a.named;
    return st;
}
