/* What first-token ranking saves: the order of a list of 20 passages from one token of each window (FIRST, arXiv
 * 2406.15657) against the whole answer "[B] > [A] > ...", on the same decoder, prompts and threads.
 *
 *     bench_listwise MODEL THREADS [PASSAGE [ROUNDS [BEHIND]]]
 *
 * PASSAGE: tokens of a passage (135, some 100 words), BEHIND: tokens of the text between two letters (4: "]", ">", "[" and
 * a space; an answer of 20 letters has 99 tokens with the "[" in front, the last "]" and the end, as in the paper). Only
 * the number of tokens matters here, so prompts are made of arbitrary ones and MODEL may have random weights
 * (tools/peers/decoder/run leaves some in build/peers/decoder).
 *
 * For windows of 5, 10 and 20 with a stride of half a window, lists in turn, the best of the rounds:
 *     first     one prefill a window, the letters' rows of the head
 *     grammar   generation that runs fixed text along with the letter in front of it, and asks for what may come only
 *     plain     generation token by token, the logits of the whole vocabulary each time (models/generate.h)
 * and what first saves of both. All three reuse the keys and values of the instructions in front of the passages, and run
 * on the same kernels. The first letter of every window must be the same with all three.
 */
#include <stdio.h>
#include <stdlib.h>

#include "data/pool.h"
#include "models/generate.h"
#include "ranker/listwise.h"
#include "tests/testlib.h"

/* Tokens of the published prompt in Qwen's chat template, without passages: in front of them, "[A] " and a line's end
 * around each, and behind them with a query of ten words and the assistant's turn. */
enum { LIST = 20, BEFORE = 66, AROUND = 5, AFTER = 100, MOST_PASSAGE = 400, MOST_ROUNDS = 100 };
enum { LETTERS = 100, BEHIND_IDS = 200, ORDINARY = 300, NORDINARY = 1500, MOST_BEHIND = 8 }; /* ids */

typedef enum way { FIRST, GRAMMAR, PLAIN, WAYS } way;

typedef struct bench {
    wr_generator by;
    size_t passage, behind;
    uint32_t text[LIST][MOST_PASSAGE];
    uint32_t id[BEFORE + LIST * (AROUND + MOST_PASSAGE) + AFTER];
    uint32_t row[LIST], between[MOST_BEHIND];
    size_t first[LIST + 1];
    size_t prompt_tokens, passes; /* of a list: run by a prefill, passes that generate */
} bench;

static void die(const char *what)
{
    fprintf(stderr, "bench_listwise: %s\n", what);
    exit(1);
}

static double now(void)
{
    return (double)wr_clock_now(&wr_clock_system) / 1e9;
}

static void ordinary(wr_test_random *random, uint32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++) id[i] = (uint32_t)(ORDINARY + wr_test_below(random, NORDINARY));
}

/* The prompt of some passages; what is not a passage is the same in every prompt of as many. */
static size_t prompt(bench *b, const uint32_t *item, size_t n)
{
    wr_test_random fixed = {7};
    size_t at = BEFORE;
    ordinary(&fixed, b->id, at);
    for (size_t i = 0; i < n; i++) {
        ordinary(&fixed, b->id + at, AROUND);
        b->id[at + 1] = b->row[i];
        at += AROUND;
        for (size_t j = 0; j < b->passage; j++) b->id[at++] = b->text[item[i]][j];
    }
    ordinary(&fixed, b->id + at, AFTER);
    return at + AFTER;
}

static void from_one_token(bench *b, size_t tokens, size_t n, size_t *order)
{
    float logit[LIST];
    wr_logits logits = {b->row, n, logit};
    size_t have = wr_kv_reuse(b->by.kv, b->id, tokens);
    b->prompt_tokens += tokens - have;
    if (wr_decoder_run(b->by.decoder, b->by.kv, b->id + have, tokens - have, &logits, b->by.crew, b->by.arena, NULL))
        die("a prefill failed");
    wr_listwise_order(logit, n, order);
}

static void from_an_answer(bench *b, size_t tokens, size_t n, bool plain, size_t *order)
{
    wr_generate_list list = {n, b->row, b->first, b->between, b->behind, plain};
    if (wr_generate_order(&b->by, b->id, tokens, &list, order, NULL)) die("a generation failed");
    b->passes += plain ? n * (1 + b->behind) : n - 2;
}

/* Reranks one list; seconds. best[] gets the first of every window. */
static double rerank(bench *b, way how, size_t window, size_t *best)
{
    wr_window span[LIST];
    uint32_t item[LIST];
    size_t order[LIST], count = wr_windows(LIST, 0, window, (window + 1) / 2, span, LIST);
    for (size_t i = 0; i < LIST; i++) item[i] = (uint32_t)i;
    b->prompt_tokens = b->passes = 0;
    wr_kv_cut(b->by.kv, BEFORE); /* the instructions stay from the list before */
    double start = now();
    for (size_t w = 0; w < count; w++) {
        size_t n = span[w].end - span[w].start, tokens = prompt(b, item + span[w].start, n);
        if (how == FIRST)
            from_one_token(b, tokens, n, order);
        else
            from_an_answer(b, tokens, n, how == PLAIN, order);
        best[w] = order[0]; /* passages stay where they are, so that all three read the same prompts */
    }
    return now() - start;
}

static void measure(bench *b, size_t window, size_t rounds)
{
    double least[WAYS] = {1e30, 1e30, 1e30};
    size_t best[WAYS][LIST] = {{0}}, passes[WAYS] = {0}, prompt_tokens = 0;
    size_t count = wr_windows(LIST, 0, window, (window + 1) / 2, NULL, 0);
    for (size_t round = 0; round < rounds; round++) {
        wr_test_random random = {1 + round};
        for (size_t i = 0; i < LIST; i++) ordinary(&random, b->text[i], b->passage);
        for (way how = FIRST; how < WAYS; how++) {
            double seconds = rerank(b, how, window, best[how]);
            if (seconds < least[how]) least[how] = seconds;
            if (how == FIRST) prompt_tokens = b->prompt_tokens;
            passes[how] = b->passes;
            for (size_t w = 0; w < count; w++)
                if (best[how][w] != best[FIRST][w]) die("the first letter depends on the way that it was found");
        }
    }
    printf("window %2zu  %zu prompts, %5zu tokens  first %7.3f s  grammar %7.3f s (%3zu passes) saved %4.1f %%"
           "  plain %7.3f s (%3zu passes) saved %4.1f %%\n",
           window, count, prompt_tokens, least[FIRST], least[GRAMMAR], passes[GRAMMAR],
           100 * (1 - least[FIRST] / least[GRAMMAR]), least[PLAIN], passes[PLAIN],
           100 * (1 - least[FIRST] / least[PLAIN]));
    fflush(stdout);
}

static void read_arguments(bench *b, int argc, char **argv, size_t *threads, size_t *rounds)
{
    *threads = strtoul(argv[2], NULL, 10);
    b->passage = argc > 3 ? strtoul(argv[3], NULL, 10) : 135;
    *rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 3;
    b->behind = argc > 5 ? strtoul(argv[5], NULL, 10) : 4;
    if (!*threads || *threads > 64 || !*rounds || *rounds > MOST_ROUNDS || !b->passage || b->passage > MOST_PASSAGE ||
        b->behind > MOST_BEHIND)
        die("an argument is out of range");
}

static wr_decoder *open_all(bench *b, const char *path, wr_pool *pool, wr_arena *arena, size_t threads)
{
    size_t most = BEFORE + LIST * (AROUND + b->passage) + AFTER;
    wr_decoder *decoder;
    wr_err err;
    if (wr_decoder_open(&decoder, path, &(wr_decoder_options){.weights_only = true}, &err)) die(err.text);
    if (wr_kv_open(&b->by.kv, decoder, most + LIST * (1 + b->behind), &err)) die(err.text);
    if (wr_decoder_info_get(decoder)->vocab < ORDINARY + NORDINARY) die("the vocabulary has less than 1800 tokens");
    if (wr_arena_init(arena, wr_generate_arena_bytes(decoder, most, LIST + MOST_BEHIND, threads))) die("out of memory");
    b->by.decoder = decoder, b->by.arena = arena, b->by.crew = wr_crew_gather(pool);
    for (size_t i = 0; i < LIST; i++) b->row[i] = (uint32_t)(LETTERS + i), b->first[i + 1] = i + 1;
    for (size_t i = 0; i < MOST_BEHIND; i++) b->between[i] = (uint32_t)(BEHIND_IDS + i);
    return decoder;
}

int main(int argc, char **argv)
{
    static bench b;
    if (argc < 3) {
        puts("bench_listwise MODEL THREADS [PASSAGE [ROUNDS [BEHIND]]]; models: tools/peers/decoder/run leaves some");
        return 0; /* `make bench` has no model for it */
    }
    size_t threads, rounds, best[LIST];
    wr_pool *pool;
    wr_arena arena;
    read_arguments(&b, argc, argv, &threads, &rounds);
    if (wr_pool_open(&pool, (unsigned)threads, NULL, NULL)) die("no threads");
    wr_decoder *decoder = open_all(&b, argv[1], pool, &arena, threads);
    rerank(&b, FIRST, 5, best); /* the weights and the instructions are in memory */
    for (size_t window = 5; window <= LIST; window *= 2) measure(&b, window, rounds);
    wr_crew_dismiss(b.by.crew);
    wr_arena_release(&arena);
    wr_kv_close(b.by.kv);
    wr_decoder_close(decoder);
    wr_pool_close(pool);
    return 0;
}
