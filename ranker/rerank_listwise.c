#include "ranker/rerank_listwise.h"

#include <math.h>
#include <string.h>

#include "models/generate.h"

static wr_status check(wr_listwise *list, wr_err *err)
{
    wr_listwise_options *o = &list->options;
    list->letters = wr_llm_letters(list->llm, err);
    if (!list->letters) return WR_EUNSUPPORTED;
    size_t most = list->letters->n;
    if (!o->window) o->window = WR_WINDOW < most ? WR_WINDOW : most;
    if (!o->stride) o->stride = o->window / 2;
    if (o->window < 2 || o->window > most)
        return wr_fail(err, WR_EARG, "window: %zu, expected 2 to %zu, the letters that the model has", o->window, most);
    if (o->stride > o->window)
        return wr_fail(err, WR_EARG, "stride: %zu, expected 1 to %zu, the window", o->stride, o->window);
    return WR_OK;
}

wr_status wr_listwise_begin(wr_listwise *list, wr_llm *llm, const wr_listwise_options *options, wr_text query,
                            const wr_passage *passage, size_t n, wr_arena *arena, wr_err *err)
{
    *list = (wr_listwise){.llm = llm, .options = *options, .query = query, .passage = passage, .n = n};
    list->context = wr_llm_tokens(llm) < WR_LISTWISE_CONTEXT ? wr_llm_tokens(llm) : WR_LISTWISE_CONTEXT;
    wr_status st = check(list, err);
    if (st) return st;
    size_t count = wr_windows(n, 0, list->options.window, list->options.stride, NULL, 0);
    list->window = wr_arena_alloc(arena, count * sizeof *list->window);
    list->logit = wr_arena_alloc(arena, count * WR_WINDOW_MAX * sizeof *list->logit);
    list->cut = wr_arena_alloc(arena, count * sizeof *list->cut);
    list->harder = wr_arena_alloc(arena, count * sizeof *list->harder);
    list->item = wr_arena_alloc(arena, n * sizeof *list->item);
    if (!list->window || !list->logit || !list->cut || !list->harder || !list->item)
        return wr_fail(err, WR_ENOMEM, "list: out of memory");
    list->nwindows = wr_windows(n, 0, list->options.window, list->options.stride, list->window, count);
    for (size_t i = 0; i < n; i++) list->item[i] = (uint32_t)i;
    return WR_OK;
}

/* ---- one window, by one token ---- */

/* Tokens of a free answer: 26 letters in brackets with what stands between them are 130, twice as many are a model that
 * explains itself. */
#define ANSWER_MAX 260

/* The logits behind a prompt, those of the window's n letters into logit[n]. */
static wr_status read_letters(const wr_listwise *list, const wr_tokens *ids, size_t n, wr_pool *pool, wr_arena *arena,
                              const wr_budget *budget, float *logit)
{
    const wr_letters *letters = list->letters;
    size_t vocab = wr_decoder_info_get(wr_llm_decoder(list->llm))->vocab;
    float *out = wr_arena_alloc(arena, (list->options.top30 ? vocab : letters->first[n]) * sizeof *out);
    if (!out) return WR_ENOMEM;
    wr_logits wanted = {list->options.top30 ? NULL : letters->row, letters->first[n], out};
    wr_crew *crew = wr_crew_gather(pool);
    wr_status st = wr_llm_read(list->llm, ids, &wanted, crew, arena, budget, NULL);
    wr_crew_dismiss(crew);
    if (st) return st;
    if (list->options.top30)
        wr_letters_read_top30(letters, out, vocab, n, logit);
    else
        wr_letters_read(letters, out, n, logit);
    return WR_OK;
}

/* ---- answers that are generated ---- */

/* "B] > [A] > [C" */
static wr_status spell(const size_t *order, size_t n, wr_arena *arena, wr_text *reply)
{
    static const char between[] = "] > [";
    char *at = wr_arena_alloc(arena, n * sizeof between);
    if (!at) return WR_ENOMEM;
    *reply = (wr_text){at, 0};
    for (size_t i = 0; i < n; i++) {
        if (i) memcpy(at + reply->n, between, sizeof between - 1), reply->n += sizeof between - 1;
        at[reply->n++] = (char)('A' + order[i]);
    }
    return WR_OK;
}

static wr_status generate_list(const wr_listwise *list, const wr_generator *by, const wr_tokens *prompt, size_t n,
                               size_t *order, wr_text *reply, wr_err *err)
{
    wr_tokens between;
    wr_status st = wr_letters_between(wr_decoder_tokenizer(by->decoder), by->arena, &between, err);
    if (st) return st;
    const wr_generate_list how = {n, list->letters->row, list->letters->first, between.id, between.n, false};
    st = wr_generate_order(by, prompt->id, prompt->n, &how, order, NULL);
    return st ? st : spell(order, n, by->arena, reply);
}

static wr_status read_reply(const wr_tokenizer *tok, const uint32_t *id, size_t n, wr_arena *arena, wr_text *reply)
{
    size_t size = 0, at = 0;
    for (size_t i = 0; i < n; i++) size += wr_tokenizer_bytes(tok, id[i], NULL, 0);
    char *bytes = wr_arena_alloc(arena, size + 1);
    if (!bytes) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++) at += wr_tokenizer_bytes(tok, id[i], bytes + at, size - at);
    *reply = (wr_text){bytes, size};
    return WR_OK;
}

static wr_status generate_free(const wr_listwise *list, const wr_generator *by, const wr_tokens *prompt, size_t n,
                               size_t *order, wr_text *reply)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(by->decoder);
    size_t vocab = wr_tokenizer_vocab_size(tok), limit = list->context > prompt->n ? list->context - prompt->n : 0, nout;
    uint32_t *stop = wr_arena_alloc(by->arena, vocab * sizeof *stop), *out = wr_arena_alloc(by->arena, limit * sizeof *out);
    if (!stop || !out) return WR_ENOMEM;
    wr_generate_free how = {.stop = stop};
    for (size_t id = 0; id < vocab; id++)
        if (wr_tokenizer_is_special(tok, (uint32_t)id)) stop[how.nstop++] = (uint32_t)id;
    if (limit > ANSWER_MAX) limit = ANSWER_MAX;
    wr_status st = wr_generate(by, prompt->id, prompt->n, &how, limit, out, &nout);
    if (!st) st = read_reply(tok, out, nout, by->arena, reply);
    if (!st) wr_listwise_parse(*reply, n, order);
    return st;
}

/* The order as logits: places from the end. */
static wr_status generate(const wr_listwise *list, const wr_tokens *ids, size_t n, wr_pool *pool, wr_arena *arena,
                          const wr_budget *budget, float *logit, wr_text *reply, wr_err *err)
{
    size_t order[WR_WINDOW_MAX];
    wr_llm_cache *cache;
    wr_status st = wr_llm_take(list->llm, ids, &cache);
    if (st) return st;
    wr_crew *crew = wr_crew_gather(pool);
    const wr_generator by = {wr_llm_decoder(list->llm), cache->kv, crew, arena, budget};
    st = list->options.answer == WR_ANSWER_LIST ? generate_list(list, &by, ids, n, order, reply, err)
                                                : generate_free(list, &by, ids, n, order, reply);
    wr_crew_dismiss(crew);
    wr_llm_give(list->llm, cache, ids);
    for (size_t i = 0; i < n && !st; i++) logit[order[i]] = (float)(n - i);
    return st;
}

/* ---- a window ---- */

static void permute(const float *logit, size_t n, uint32_t *item)
{
    size_t order[WR_WINDOW_MAX];
    wr_listwise_order(logit, n, order);
    wr_listwise_apply(order, n, item);
}

static wr_status run_window(wr_listwise *list, size_t w, wr_pool *pool, wr_arena *arena, const wr_budget *budget,
                            wr_window_fn seen, void *arg, wr_err *err)
{
    const wr_window *at = &list->window[w];
    const wr_decoder *decoder = wr_llm_decoder(list->llm);
    const wr_listwise_options *o = &list->options;
    wr_passage passage[WR_WINDOW_MAX];
    wr_listwise_prompt prompt;
    wr_text reply = {NULL, 0};
    float *logit = list->logit + w * WR_WINDOW_MAX;
    size_t n = at->end - at->start;
    for (size_t i = 0; i < n; i++) passage[i] = list->passage[list->item[at->start + i]];
    wr_status st = wr_listwise_prompt_make(wr_decoder_tokenizer(decoder), wr_decoder_chat(decoder), o->prompt, list->query,
                                           passage, n, o->window, list->context, arena, &prompt, err);
    if (st) return st;
    st = o->answer == WR_ANSWER_TOKEN ? read_letters(list, &prompt.ids, n, pool, arena, budget, logit)
                                      : generate(list, &prompt.ids, n, pool, arena, budget, logit, &reply, err);
    if (st) return st > 0 ? st : wr_fail(err, st, "list: %s", wr_status_name(st));
    list->cut[w] = prompt.cut;
    list->harder[w] = prompt.words < wr_listwise_words(o->prompt, o->window);
    permute(logit, n, list->item + at->start);
    if (seen) seen(arg, &(wr_window_seen){*at, &prompt, logit, reply});
    return WR_OK;
}

wr_status wr_listwise_step(wr_listwise *list, wr_pool *pool, const wr_budget *budget, wr_window_fn seen, void *arg,
                           wr_err *err)
{
    size_t w = atomic_load_explicit(&list->done, memory_order_relaxed);
    wr_arena *arena = wr_arena_of_thread();
    if (w >= list->nwindows || wr_budget_spent(budget)) return WR_STOPPED;
    if (!arena) return wr_fail(err, WR_ENOMEM, "list: out of memory");
    size_t mark = wr_arena_mark(arena);
    wr_status st = run_window(list, w, pool, arena, budget, seen, arg, err);
    wr_arena_rollback(arena, mark);
    if (!st) atomic_store_explicit(&list->done, w + 1, memory_order_release);
    return st;
}

wr_status wr_listwise_run(wr_listwise *list, wr_pool *pool, const wr_budget *budget, wr_window_fn seen, void *arg,
                          wr_err *err)
{
    wr_status st = WR_OK;
    while (!st && atomic_load_explicit(&list->done, memory_order_relaxed) < list->nwindows)
        st = wr_listwise_step(list, pool, budget, seen, arg, err);
    return st > 0 ? WR_OK : st;
}

/* ---- what came of it ---- */

/* Every window again, from its logits. */
void wr_listwise_result(const wr_listwise *list, uint32_t *item, float *logit, wr_cut *cut, size_t *first)
{
    size_t done = atomic_load_explicit(&list->done, memory_order_acquire);
    *first = done ? list->window[done - 1].start : list->n;
    for (size_t i = 0; i < list->n; i++) {
        item[i] = (uint32_t)i;
        logit[i] = -INFINITY;
        cut[i] = WR_CUT_NOT;
    }
    for (size_t w = 0; w < done; w++) {
        const wr_window *at = &list->window[w];
        const float *row = list->logit + w * WR_WINDOW_MAX;
        for (size_t i = 0; i < at->end - at->start; i++) {
            uint32_t passage = item[at->start + i];
            wr_cut now = !(list->cut[w] >> i & 1) ? WR_CUT_NOT : list->harder[w] ? WR_CUT_HARDER : WR_CUT_RULE;
            logit[passage] = isnan(row[i]) ? -INFINITY : row[i];
            if (now > cut[passage]) cut[passage] = now;
        }
        permute(row, at->end - at->start, item + at->start);
    }
}
