#include "ranker/llm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/prompt.h"

struct wr_llm {
    wr_decoder *decoder;
    bool template_given;
    size_t tokens;
    wr_letters letters;
    wr_err no_letters; /* code WR_OK: there are some */
    atomic_uint doubt; /* readings in a row that were not begun */
    pthread_mutex_t lock; /* guards what follows */
    wr_llm_cache *free;   /* [nfree] */
    size_t nfree;
    uint64_t uses;
};

wr_status wr_llm_open(wr_llm **out, const char *name_or_path, const char *chat_template, wr_err *err)
{
    const wr_decoder_options options = {.chat_template = chat_template};
    *out = NULL;
    wr_llm *llm = calloc(1, sizeof *llm);
    if (!llm) return wr_fail(err, WR_ENOMEM, "%s: out of memory", name_or_path);
    wr_status st = wr_decoder_open(&llm->decoder, name_or_path, &options, err);
    if (st) {
        free(llm);
        return st;
    }
    size_t positions = wr_decoder_info_get(llm->decoder)->positions;
    llm->tokens = positions < WR_LLM_MAX_TOKENS ? positions : WR_LLM_MAX_TOKENS;
    llm->template_given = chat_template != NULL;
    if (!wr_letters_find(&llm->letters, wr_decoder_tokenizer(llm->decoder), &llm->no_letters))
        llm->no_letters.code = WR_OK;
    pthread_mutex_init(&llm->lock, NULL);
    *out = llm;
    return WR_OK;
}

static void close_cache(wr_llm_cache *cache)
{
    if (!cache) return;
    wr_kv_close(cache->kv);
    free(cache->id);
    free(cache);
}

void wr_llm_close(wr_llm *llm)
{
    if (!llm) return;
    while (llm->free) {
        wr_llm_cache *cache = llm->free;
        llm->free = cache->next;
        close_cache(cache);
    }
    pthread_mutex_destroy(&llm->lock);
    wr_decoder_close(llm->decoder);
    free(llm);
}

const wr_decoder *wr_llm_decoder(const wr_llm *llm)
{
    return llm->decoder;
}

bool wr_llm_template_given(const wr_llm *llm)
{
    return llm->template_given;
}

size_t wr_llm_tokens(const wr_llm *llm)
{
    return llm->tokens;
}

const wr_letters *wr_llm_letters(const wr_llm *llm, wr_err *err)
{
    if (!llm->no_letters.code) return &llm->letters;
    wr_fail(err, llm->no_letters.code, "%s: %s", wr_decoder_info_get(llm->decoder)->path, llm->no_letters.text);
    return NULL;
}

/* ---- caches ---- */

static wr_llm_cache *new_cache(const wr_llm *llm)
{
    wr_err err;
    wr_llm_cache *cache = calloc(1, sizeof *cache);
    if (cache && (cache->id = malloc(llm->tokens * sizeof *cache->id)) &&
        !wr_kv_open(&cache->kv, llm->decoder, llm->tokens, &err))
        return cache;
    close_cache(cache);
    return NULL;
}

/* Takes the best one out of the list: most in common with the prompt, then the one that was not used for longest. */
static wr_llm_cache *take_free(wr_llm *llm, const wr_tokens *prompt)
{
    wr_llm_cache **best = NULL;
    size_t most = 0;
    for (wr_llm_cache **at = &llm->free; *at; at = &(*at)->next) {
        size_t shared = wr_prompt_shared((*at)->id, (*at)->n, prompt->id, prompt->n);
        if (best && (shared < most || (shared == most && (*at)->used > (*best)->used))) continue;
        best = at;
        most = shared;
    }
    if (!best) return NULL;
    wr_llm_cache *cache = *best;
    *best = cache->next;
    llm->nfree--;
    return cache;
}

wr_status wr_llm_take(wr_llm *llm, const wr_tokens *prompt, wr_llm_cache **out)
{
    pthread_mutex_lock(&llm->lock);
    wr_llm_cache *cache = take_free(llm, prompt);
    pthread_mutex_unlock(&llm->lock);
    *out = cache ? cache : new_cache(llm);
    return *out ? WR_OK : WR_ENOMEM;
}

void wr_llm_give(wr_llm *llm, wr_llm_cache *cache, const wr_tokens *prompt)
{
    size_t n = wr_kv_tokens(cache->kv);
    wr_llm_cache *spare = NULL;
    cache->n = n < prompt->n ? n : prompt->n;
    wr_kv_cut(cache->kv, cache->n);
    if (cache->n) memmove(cache->id, prompt->id, cache->n * sizeof *cache->id);
    pthread_mutex_lock(&llm->lock);
    cache->used = ++llm->uses;
    cache->next = llm->free;
    llm->free = cache;
    if (++llm->nfree > WR_LLM_CACHES) { /* the one that was not used for longest goes */
        wr_llm_cache **oldest = &llm->free;
        for (wr_llm_cache **at = &llm->free; *at; at = &(*at)->next)
            if ((*at)->used < (*oldest)->used) oldest = at;
        spare = *oldest;
        *oldest = spare->next;
        llm->nfree--;
    }
    pthread_mutex_unlock(&llm->lock);
    close_cache(spare);
}

/* ---- reading ---- */

/* Whether so many tokens seem to fit. A prediction that is too high would never be corrected, as nothing runs: each
 * reading that is not begun takes an eighth off the next prediction, until one is begun: of what takes twice the time that
 * there is, one in seven is begun in vain. */
static bool in_time(wr_llm *llm, const wr_budget *budget, size_t ntok)
{
    uint64_t left = wr_budget_left_ns(budget);
    if (left == UINT64_MAX) return true;
    double ns = (double)wr_decoder_predict_ns(llm->decoder, ntok);
    for (unsigned i = atomic_load(&llm->doubt); i && ns > (double)left; i--) ns -= ns / 8;
    bool fits = left && ns <= (double)left;
    if (fits) atomic_store(&llm->doubt, 0);
    else if (left) atomic_fetch_add(&llm->doubt, 1);
    return fits;
}

wr_status wr_llm_read(wr_llm *llm, const wr_tokens *prompt, const wr_logits *logits, wr_crew *crew, wr_arena *arena,
                      const wr_budget *budget, size_t *ran)
{
    wr_llm_cache *cache;
    if (!prompt->n || prompt->n > llm->tokens) return WR_EARG;
    wr_status st = wr_llm_take(llm, prompt, &cache);
    if (st) return st;
    size_t have = wr_prompt_shared(cache->id, cache->n, prompt->id, prompt->n - 1);
    if (ran) *ran = prompt->n - have;
    if (!in_time(llm, budget, prompt->n - have)) {
        const wr_tokens before = {cache->id, cache->n, false};
        wr_llm_give(llm, cache, &before);
        return WR_STOPPED;
    }
    have = wr_kv_reuse(cache->kv, prompt->id, prompt->n);
    st = wr_decoder_run(llm->decoder, cache->kv, prompt->id + have, prompt->n - have, logits, crew, arena, budget);
    wr_llm_give(llm, cache, prompt);
    return st;
}
