#include "tools/rerank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/pool.h"
#include "data/utf8.h"
#include "indexer/topk.h"
#include "ranker/rank.h"
#include "ranker/rerank_listwise.h"
#include "ranker/rerank_pointwise.h"

bool wr_rerank_is_llm(const wr_rerank_options *options)
{
    return options->model && wr_decoder_is(options->model);
}

/* ---- what the command line says ---- */

/* --NAME given: index of the word, 0 when it was not given. */
static wr_status read_choice(const char *name, const char *given, const char *a, const char *b, bool *second, wr_err *err)
{
    *second = given && !strcmp(given, b);
    if (!given || *second || !strcmp(given, a)) return WR_OK;
    return wr_fail(err, WR_EARG, "--%s %s: expected %s or %s", name, given, a, b);
}

static wr_status read_listwise(const wr_rerank_options *o, wr_listwise_options *out, wr_err *err)
{
    bool paper, liberty = false;
    *out = (wr_listwise_options){.window = o->window, .stride = o->stride};
    wr_status st = read_choice("prompt", o->prompt, "template", "paper", &paper, err);
    if (!st) st = read_choice("logits", o->logits, "letters", "top30", &out->top30, err);
    out->prompt = paper ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE;
    if (!st) st = read_choice("generate", o->generate, "list", "free", &liberty, err);
    if (o->generate) out->answer = liberty ? WR_ANSWER_FREE : WR_ANSWER_LIST;
    return st;
}

static wr_status check(const wr_rerank_options *o, wr_err *err)
{
    if (o->listwise && o->pointwise) return wr_fail(err, WR_EARG, "either --listwise or --pointwise was expected");
    if (o->exit) return wr_fail(err, WR_EARG, "--exit goes with a cross-encoder, %s is a decoder", o->model);
    if (o->keep < 1) return wr_fail(err, WR_EARG, "--keep goes with a cross-encoder, %s is a decoder", o->model);
    if (o->precision && strcmp(o->precision, "stored"))
        return wr_fail(err, WR_EARG, "--precision %s: a decoder is multiplied as it is stored", o->precision);
    if (o->pointwise && (o->window || o->stride || o->logits || o->generate))
        return wr_fail(err, WR_EARG, "--window, --stride, --logits and --generate go with --listwise");
    if (o->generate && o->logits) return wr_fail(err, WR_EARG, "--logits: of an answer that is generated none are read");
    if (!o->pointwise && o->instruction) return wr_fail(err, WR_EARG, "--instruction goes with --pointwise");
    return WR_OK;
}

/* ---- listwise ---- */

/* One run of the command. windows: what --json tells about them, NULL without. */
typedef struct run {
    const wr_rerank_options *options;
    wr_texts texts;
    wr_llm *llm;
    wr_pool *pool;
    wr_arena arena;
    json_t *windows;
    bool failed; /* no memory for them */
} run;

/* What was generated need not be valid UTF-8. */
static bool tell_reply(json_t *window, wr_text reply)
{
    char *bytes = malloc(3 * reply.n + 1);
    bool failed = !bytes || json_object_set_new(window, "generated",
                                                json_stringn(bytes, wr_utf8_repair(reply.bytes, reply.n, bytes)));
    free(bytes);
    return failed;
}

/* What is not valid UTF-8 cannot be in a prompt: texts are repaired when they are read. */
static void keep_window(void *arg, const wr_window_seen *seen)
{
    run *r = arg;
    json_t *identifiers = json_array(), *logits = json_array();
    json_t *text = json_stringn(seen->prompt->text.bytes, seen->prompt->text.n);
    for (size_t i = 0; i < seen->at.end - seen->at.start; i++) {
        const char letter[2] = {(char)('A' + i), 0};
        r->failed |= json_array_append_new(identifiers, json_string(letter)) != 0;
        r->failed |= json_array_append_new(logits, isfinite(seen->logit[i]) ? json_real((double)seen->logit[i]) : json_null()) != 0;
    }
    json_t *object = json_pack("{s:o,s:o,s:o}", "prompt", text, "identifiers", identifiers, "logits", logits);
    if (r->options->generate) r->failed |= json_object_del(object, "logits") || tell_reply(object, seen->reply);
    r->failed |= json_array_append_new(r->windows, object) != 0;
}

static wr_status print_list(const run *r, const uint32_t *item, wr_err *err)
{
    json_t *order = json_array();
    bool failed = r->failed;
    for (size_t i = 0; i < r->texts.n; i++) failed |= json_array_append_new(order, json_string(r->texts.id[item[i]])) != 0;
    json_t *reply = json_pack("{s:o,s:O}", "order", order, "windows", r->windows);
    failed |= !reply || json_dumpf(reply, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!failed) putchar('\n');
    json_decref(reply);
    return failed ? wr_fail(err, WR_EIO, "standard output: cannot be written") : WR_OK;
}

static wr_passage *passages_of(const wr_texts *texts, wr_arena *arena)
{
    wr_passage *out = wr_arena_alloc(arena, texts->n * sizeof *out);
    for (size_t i = 0; i < texts->n && out; i++) {
        const wr_text *text = &texts->text[i];
        size_t title = texts->title[i], skip = title ? title + 1 : 0;
        out[i] = (wr_passage){{text->bytes, title}, {text->bytes + skip, text->n - skip}};
    }
    return out;
}

static wr_status print_order(run *r, const wr_listwise *list, wr_err *err)
{
    size_t n = list->n, first;
    uint32_t *item = wr_arena_alloc(&r->arena, n * sizeof *item);
    float *logit = wr_arena_alloc(&r->arena, n * sizeof *logit);
    wr_cut *cut = wr_arena_alloc(&r->arena, n * sizeof *cut);
    if (!item || !logit || !cut) return wr_fail(err, WR_ENOMEM, "order: out of memory");
    wr_listwise_result(list, item, logit, cut, &first);
    return r->options->json ? print_list(r, item, err) : wr_rerank_print(&r->texts, item, logit, false, err);
}

static wr_status by_windows(run *r, wr_err *err)
{
    const wr_text query = {r->options->query, strlen(r->options->query)};
    wr_listwise_options options;
    wr_listwise list;
    wr_status st = read_listwise(r->options, &options, err);
    if (st) return st;
    wr_passage *passage = passages_of(&r->texts, &r->arena);
    if (!passage) return wr_fail(err, WR_ENOMEM, "texts: out of memory");
    st = wr_listwise_begin(&list, r->llm, &options, query, passage, r->texts.n, &r->arena, err);
    if (!st) st = wr_listwise_run(&list, r->pool, NULL, r->windows ? keep_window : NULL, r, err);
    return st ? st : print_order(r, &list, err);
}

/* ---- pointwise ---- */

static wr_status read_pointwise(const wr_rerank_options *o, wr_pointwise_options *out, wr_err *err)
{
    bool monot5;
    *out = (wr_pointwise_options){.judge = WR_JUDGE_AUTO};
    wr_status st = read_choice("prompt", o->prompt, "yesno", "monot5", &monot5, err);
    if (o->prompt) out->judge = monot5 ? WR_JUDGE_MONOT5 : WR_JUDGE_YESNO;
    if (o->instruction) out->instruction = (wr_text){o->instruction, strlen(o->instruction)};
    return st;
}

static wr_status print_scores(run *r, const float *score, wr_err *err)
{
    size_t n = r->texts.n;
    uint32_t *order = wr_arena_alloc(&r->arena, n * sizeof *order);
    float *sorted = wr_arena_alloc(&r->arena, n * sizeof *sorted);
    if (!order || !sorted) return wr_fail(err, WR_ENOMEM, "order: out of memory");
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i, sorted[i] = score[i];
    wr_hits_sort(order, sorted, n);
    return wr_rerank_print(&r->texts, order, score, r->options->json, err);
}

static wr_status by_texts(run *r, wr_err *err)
{
    const wr_text query = {r->options->query, strlen(r->options->query)};
    size_t n = r->texts.n, done;
    wr_pointwise_options options;
    wr_pointwise judge;
    wr_status st = read_pointwise(r->options, &options, err);
    if (st) return st;
    float *score = wr_arena_alloc(&r->arena, n * sizeof *score);
    bool *cut = wr_arena_alloc(&r->arena, n * sizeof *cut);
    if (!score || !cut) return wr_fail(err, WR_ENOMEM, "scores: out of memory");
    st = wr_pointwise_begin(&judge, r->llm, &options, query, &r->arena, err);
    if (!st) st = wr_pointwise_run(&judge, r->texts.text, n, r->pool, NULL, score, cut, &done, err);
    return st ? st : print_scores(r, score, err);
}

/* ---- the command ---- */

/* Address space for what is kept of a list: its passages' places, its windows' logits. */
#define ARENA_BYTES ((size_t)1 << 32)

wr_status wr_rerank_llm(const wr_rerank_options *options, wr_err *err)
{
    run r = {.options = options};
    wr_status st = check(options, err);
    if (st) return st;
    if (wr_arena_init(&r.arena, ARENA_BYTES)) return wr_fail(err, WR_ENOMEM, "no address space for %zu bytes", ARENA_BYTES);
    st = wr_llm_open(&r.llm, options->model, options->chat_template, err);
    if (!st) st = wr_pool_open(&r.pool, (unsigned)options->threads, wr_ranker_thread_start, err);
    if (!st && options->json && !(r.windows = json_array())) st = wr_fail(err, WR_ENOMEM, "reply: out of memory");
    if (!st) st = wr_rerank_read(&r.texts, err);
    if (!st) st = (options->pointwise ? by_texts : by_windows)(&r, err);
    wr_texts_release(&r.texts);
    json_decref(r.windows);
    wr_llm_close(r.llm);
    wr_pool_close(r.pool);
    wr_arena_release(&r.arena);
    return st;
}
