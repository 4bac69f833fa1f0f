#include "models/decoder_verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/decoder_parts.h"
#include "models/probe.h"

/* ---- what is stored ---- */

/* Rows of one task: a megabyte or so of a model's usual widths, far more than handing it over costs. */
#define UNIT_ROWS 256

typedef struct reading {
    const wr_blocks *w;
    _Atomic size_t bad; /* the first row that is not finite; w->out: none */
    atomic_bool starved;
} reading;

static bool is_finite(const float *x, size_t n)
{
    float zero = 0;
    for (size_t i = 0; i < n; i++) zero += x[i] * 0; /* NaN of what is not finite */
    return zero == 0;
}

static void read_unit(void *arg, size_t i)
{
    reading *r = arg;
    size_t end = (i + 1) * UNIT_ROWS < r->w->out ? (i + 1) * UNIT_ROWS : r->w->out;
    float *x = malloc(r->w->in * sizeof *x);
    if (!x) atomic_store(&r->starved, true);
    for (size_t row = i * UNIT_ROWS; row < end && x; row++) {
        wr_blocks_row(r->w, row, x);
        if (is_finite(x, r->w->in)) continue;
        size_t first = atomic_load(&r->bad);
        while (row < first && !atomic_compare_exchange_weak(&r->bad, &first, row)) continue;
        break;
    }
    free(x);
}

static wr_status read_tensor(const wr_decoder *d, const char *name, const wr_blocks *w, wr_pool *pool, wr_err *err)
{
    reading r = {.w = w, .bad = w->out};
    wr_pool_for(pool, (w->out + UNIT_ROWS - 1) / UNIT_ROWS, read_unit, &r);
    if (atomic_load(&r.starved)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    size_t bad = atomic_load(&r.bad);
    if (bad == w->out) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: tensor %s: row %zu holds what is no finite number", d->path, name, bad);
}

static bool nth_tensor(const wr_decoder *d, size_t i, const char **name, wr_blocks *w)
{
    if (d->gguf) {
        const wr_blocks *found = wr_gguf_tensor(d->gguf, *name = wr_gguf_tensor_name(d->gguf, i));
        if (found) *w = *found;
        return found != NULL;
    }
    const wr_tensor *t = wr_tensors_at(d->tensors, i);
    *name = t->name;
    return wr_decoder_blocks(t, w);
}

static wr_status read_tensors(const wr_decoder *d, wr_pool *pool, size_t *count, wr_err *err)
{
    size_t n = d->gguf ? wr_gguf_ntensors(d->gguf) : wr_tensors_count(d->tensors);
    const char *name;
    wr_blocks w;
    wr_status st = WR_OK;
    for (size_t i = 0; i < n && !st; i++) {
        if (!nth_tensor(d, i, &name, &w)) continue; /* one that nobody reads (decoder_read.c) */
        st = read_tensor(d, name, &w, pool, err);
        ++*count;
    }
    return st;
}

/* ---- what it reads ---- */

static wr_status check_chat(const wr_decoder *d, wr_arena *arena, wr_err *err)
{
    wr_text out, text = {wr_probe_held_out[0], strlen(wr_probe_held_out[0])};
    wr_message user = {"user", text};
    if (!d->chat) return WR_OK;
    wr_status st = wr_chat_render(d->chat, &user, 1, true, arena, &out, err);
    return st ? wr_fail_prefix(err, "%s: chat template", d->path) : WR_OK;
}

/* n ids: our texts one behind the other, as often as it takes; without a tokenizer every 7th token. */
static wr_status probe_ids(const wr_decoder *d, wr_arena *arena, uint32_t *id, size_t n, wr_err *err)
{
    size_t have = 0, more = 1;
    for (size_t i = 0; have < n && d->tokenizer; i++) {
        const char *text = wr_probe_held_out[i % WR_PROBE_HELD_OUT];
        wr_tokens t;
        wr_status st = wr_tokenizer_encode(d->tokenizer, text, strlen(text), arena, n - have, &t);
        if (st) return wr_fail(err, st, "%s: out of memory", d->path);
        if (i % WR_PROBE_HELD_OUT == 0 && !more) break; /* a whole round gave no token */
        if (i % WR_PROBE_HELD_OUT == 0) more = 0;
        memcpy(id + have, t.id, t.n * sizeof *id);
        have += t.n, more += t.n;
    }
    for (; have < n; have++) id[have] = (uint32_t)(have * 7 % d->config.vocab);
    return WR_OK;
}

/* ---- what it computes ---- */

/* id[0..n) behind what is in kv, in pieces of so many tokens, logits of the last piece. */
static wr_status run_pieces(const wr_decoder *d, wr_kv *kv, const uint32_t *id, size_t n, size_t piece, wr_crew *crew,
                            wr_arena *arena, float *out)
{
    wr_logits logits = {.out = out};
    wr_status st = WR_OK;
    for (size_t at = 0, take; at < n && !st; at += take) {
        take = n - at < piece ? n - at : piece;
        st = wr_decoder_run(d, kv, id + at, take, at + take == n ? &logits : NULL, crew, arena, NULL);
    }
    return st;
}

static bool same(const wr_decoder *d, const float *a, const float *b)
{
    return !memcmp(a, b, d->config.vocab * sizeof *a);
}

/* a and b: [vocab] each. */
static wr_status compare_runs(const wr_decoder *d, wr_pool *pool, wr_kv *kv, const uint32_t *id, size_t n, float *a,
                              float *b, wr_arena *arena, char *missed, size_t cap)
{
    wr_crew *crew = wr_crew_gather(pool);
    wr_status st = run_pieces(d, kv, id, n, n, crew, arena, a);
    wr_crew_dismiss(crew);
    if (st) return st;
    if (!is_finite(a, d->config.vocab)) {
        snprintf(missed, cap, "a logit behind %zu tokens is no finite number", n);
        return WR_OK;
    }
    size_t kept = wr_kv_reuse(kv, id, n);
    if ((st = run_pieces(d, kv, id + kept, n - kept, n, NULL, arena, b))) return st;
    if (!same(d, a, b)) snprintf(missed, cap, "logits behind %zu kept tokens are others than those of one run", kept);
    wr_kv_cut(kv, 0);
    if (*missed || (st = run_pieces(d, kv, id, n, (n + 2) / 3, NULL, arena, b))) return st;
    if (!same(d, a, b)) snprintf(missed, cap, "%zu tokens in pieces by one thread give other logits than in one run", n);
    return WR_OK;
}

static wr_status check_runs(const wr_decoder *d, wr_pool *pool, wr_decoder_verified *v, char *missed, size_t cap,
                            wr_err *err)
{
    size_t n = d->info.positions < WR_DECODER_VERIFY_TOKENS ? d->info.positions : WR_DECODER_VERIFY_TOKENS;
    size_t texts = (size_t)4 << 20; /* tokenising our texts and rendering one takes far less */
    wr_arena arena = {0};
    wr_kv *kv = NULL;
    uint32_t *id = malloc(n * sizeof *id);
    float *out = malloc(2 * d->config.vocab * sizeof *out);
    wr_status st = id && out ? WR_OK : WR_ENOMEM;
    if (!st) st = wr_arena_init(&arena, texts + wr_decoder_arena_bytes(d, n, wr_pool_threads(pool) + 1));
    if (st) wr_fail(err, st, "%s: out of memory", d->path);
    if (!st) st = check_chat(d, &arena, err);
    if (!st) st = probe_ids(d, &arena, id, n, err);
    if (!st) {
        wr_arena_reset(&arena, SIZE_MAX);
        st = wr_kv_open(&kv, d, n, err);
    }
    if (!st && (st = compare_runs(d, pool, kv, id, n, out, out + d->config.vocab, &arena, missed, cap)))
        wr_fail(err, st, "%s: the run of %zu tokens failed", d->path, n);
    v->tokens = n;
    wr_kv_close(kv);
    wr_arena_release(&arena);
    free(id), free(out);
    return st;
}

wr_status wr_decoder_verify(const wr_decoder *decoder, wr_pool *pool, wr_decoder_verified *verified, char *missed,
                            size_t cap, wr_err *err)
{
    *verified = (wr_decoder_verified){0};
    *missed = 0;
    wr_status st = read_tensors(decoder, pool, &verified->tensors, err);
    return st ? st : check_runs(decoder, pool, verified, missed, cap, err);
}
