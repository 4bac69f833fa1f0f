/* Windows of arbitrary text through a decoder: every permutation is complete and no text becomes a special token.
 *
 *     list_windows MODEL [WINDOWS [SEED]]
 *
 * Texts are those of tests/testlib_passages.h (brackets, control characters, broken UTF-8, special tokens in pieces, orders to
 * the model, 20,000 characters with and without white space, none); every query, title and passage of a window is one, for
 * 1 to 20 passages, both prompts, both readings of the logits. Ends with the number of windows that were checked, 10,000 where
 * none is given; stops with exit status 1 at the first that is wrong. A query that leaves no room is made anew: it is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ranker/rank.h"
#include "ranker/rerank_listwise.h"
#include "tests/testlib_passages.h"

typedef struct check {
    const wr_tokenizer *tok;
    size_t specials, tokens, longest; /* special tokens of every prompt; of all prompts; of the longest */
    bool wrong;
} check;

static void look(void *arg, const wr_window_seen *seen)
{
    check *c = arg;
    const wr_tokens *ids = &seen->prompt->ids;
    int64_t unknown = wr_tokenizer_unknown(c->tok);
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++) n += wr_tokenizer_is_special(c->tok, ids->id[i]) && ids->id[i] != unknown;
    if (!c->specials) c->specials = n;
    c->wrong = n != c->specials || ids->n > WR_LISTWISE_CONTEXT;
    c->tokens += ids->n;
    if (ids->n > c->longest) c->longest = ids->n;
}

static bool is_complete(const uint32_t *item, size_t n)
{
    bool seen[WR_WINDOW] = {false};
    for (size_t i = 0; i < n; i++) {
        if (item[i] >= n || seen[item[i]]) return false;
        seen[item[i]] = true;
    }
    return true;
}

/* One window; WR_EARG: its query is too long. */
static wr_status run(wr_llm *llm, wr_pool *pool, wr_test_random *random, wr_arena *arena, check *c, wr_err *err)
{
    wr_listwise_options options = {.prompt = wr_test_below(random, 2) ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE,
                                   .top30 = wr_test_below(random, 2)};
    size_t n = 1 + wr_test_below(random, WR_WINDOW), first;
    wr_passage passage[WR_WINDOW];
    uint32_t item[WR_WINDOW];
    float logit[WR_WINDOW];
    wr_cut cut[WR_WINDOW];
    wr_listwise list;
    for (size_t i = 0; i < n; i++) passage[i] = (wr_passage){wr_test_hostile(random, arena), wr_test_hostile(random, arena)};
    wr_text query = wr_test_hostile(random, arena);
    wr_status st = wr_listwise_begin(&list, llm, &options, query, passage, n, arena, err);
    if (!st) st = wr_listwise_run(&list, pool, NULL, look, c, err);
    if (st) return st;
    wr_listwise_result(&list, item, logit, cut, &first);
    c->wrong |= first != 0 || !is_complete(item, n);
    return WR_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) return fputs("usage: list_windows MODEL [WINDOWS [SEED]]\n", stderr), 2;
    size_t windows = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000, refused = 0, done = 0;
    wr_test_random random = {argc > 3 ? strtoul(argv[3], NULL, 10) : 1};
    wr_llm *llm;
    wr_pool *pool;
    wr_arena arena;
    wr_err err;
    if (wr_llm_open(&llm, argv[1], NULL, &err) || wr_pool_open(&pool, 0, wr_ranker_thread_start, &err) ||
        wr_arena_init(&arena, (size_t)1 << 30))
        return fprintf(stderr, "%s\n", err.text), 1;
    check c = {.tok = wr_decoder_tokenizer(wr_llm_decoder(llm))};
    while (done < windows && !c.wrong) {
        wr_status st = run(llm, pool, &random, &arena, &c, &err);
        wr_arena_reset(&arena, (size_t)8 << 20);
        if (st == WR_EARG) refused++;
        else if (st) break;
        else done++;
    }
    if (done < windows || c.wrong) fprintf(stderr, "window %zu is wrong: %s\n", done, c.wrong ? "see the check" : err.text);
    else
        printf("%zu windows complete, %zu tokens, the longest prompt %zu; %zu queries left no room\n", done, c.tokens, c.longest,
               refused);
    wr_pool_close(pool);
    wr_llm_close(llm);
    wr_arena_release(&arena);
    return done < windows || c.wrong;
}
