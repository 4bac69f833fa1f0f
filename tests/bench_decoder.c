/* A decoder's speed, in the lines that tools/peers/decoder/compare.py reads beside llama.cpp's.
 *
 *     bench_decoder MODEL THREADS PREFILL[,PREFILL...] GENERATED [LOGITS]
 *
 * For every length, seconds of
 *     prefill   all layers for all tokens, the logits of the last
 *     pruned    the last layer's output side for the last token alone
 *     reused    as prefill, behind a first half of the prompt that was kept
 *     served    both, as ranking runs it
 * and "generate GENERATED SECONDS": greedy tokens behind the first length. Token i of a prompt is 300 + i * 7919 % 1500.
 * LOGITS: a file for the floats behind each prompt. All four ways must give the same bits, or it says so and fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pool.h"
#include "models/generate.h"

enum { LENGTHS = 16, TOUCH = 32 }; /* TOUCH: tokens that bring the weights into memory first */

typedef struct bench {
    wr_decoder *decoder;
    wr_kv *kv;
    wr_crew *crew;
    wr_arena arena;
    size_t vocab;
    uint32_t *id;           /* [longest + generated] */
    float *logit, *another; /* [vocab] */
} bench;

static void die(const char *what)
{
    fprintf(stderr, "bench_decoder: %s\n", what);
    exit(1);
}

static void *memory(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    return p ? p : (die("out of memory"), NULL);
}

static double now(void)
{
    return (double)wr_clock_now(&wr_clock_system) / 1e9;
}

static void run(bench *b, size_t from, size_t to, float *logit)
{
    wr_logits logits = {NULL, 0, logit};
    if (wr_decoder_run(b->decoder, b->kv, b->id + from, to - from, logit ? &logits : NULL, b->crew, &b->arena, NULL))
        die("a run failed");
}

/* Seconds of tokens from..n, with those before them in place. */
static double prefill(bench *b, size_t from, size_t n, bool prune, float *logit)
{
    wr_kv_cut(b->kv, 0);
    wr_decoder_prune_last(b->decoder, prune);
    if (from) run(b, 0, from, NULL);
    double start = now();
    run(b, from, n, logit);
    return now() - start;
}

static void measure(bench *b, size_t n)
{
    static const struct {
        const char *name;
        bool prune, half;
    } way[] = {{"prefill", false, false}, {"pruned", true, false}, {"reused", false, true}, {"served", true, true}};
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        float *logit = i ? b->another : b->logit;
        printf("%s %zu %.6f\n", way[i].name, n, prefill(b, way[i].half ? n / 2 : 0, n, way[i].prune, logit));
        if (memcmp(logit, b->logit, b->vocab * sizeof *logit)) die("logits depend on the way that they were made");
    }
}

/* As many passes of one token, each with the logits of the whole vocabulary and the choice of the next. */
static void generate(bench *b, size_t n, size_t generated)
{
    wr_generator by = {b->decoder, b->kv, b->crew, &b->arena, NULL};
    wr_generate_free all = {0};
    uint32_t *out = memory((generated + 1) * sizeof *out);
    size_t nout;
    uint32_t behind = b->id[n];
    prefill(b, 0, n, true, b->another);
    if (wr_generate(&by, b->id, n, &all, 1, out, &nout)) die("a generation failed");
    b->id[n] = out[0];
    double start = now();
    if (wr_generate(&by, b->id, n + 1, &all, generated, out, &nout) || nout != generated) die("a generation failed");
    printf("generate %zu %.6f\n", generated, now() - start);
    b->id[n] = behind;
    free(out);
}

static size_t read_lengths(char *list, size_t length[LENGTHS], size_t *longest)
{
    size_t n = 0;
    *longest = TOUCH;
    for (char *word = strtok(list, ","); word && n < LENGTHS; word = strtok(NULL, ",")) {
        length[n] = strtoul(word, NULL, 10);
        if (length[n] < 2 || length[n] > 1u << 20) die("a length is not 2..1048576");
        if (length[n] > *longest) *longest = length[n];
        n++;
    }
    return n;
}

static void open_all(bench *b, const char *path, wr_pool *pool, size_t tokens, size_t threads)
{
    wr_err err;
    if (wr_decoder_open(&b->decoder, path, &(wr_decoder_options){.weights_only = true}, &err)) die(err.text);
    if (wr_kv_open(&b->kv, b->decoder, tokens, &err)) die(err.text);
    b->vocab = wr_decoder_info_get(b->decoder)->vocab;
    if (wr_arena_init(&b->arena, wr_generate_arena_bytes(b->decoder, tokens, 0, threads))) die("out of memory");
    b->crew = wr_crew_gather(pool);
    b->id = memory(tokens * sizeof *b->id);
    for (size_t i = 0; i < tokens; i++) b->id[i] = (uint32_t)(300 + i * 7919 % 1500);
    b->logit = memory(b->vocab * sizeof *b->logit);
    b->another = memory(b->vocab * sizeof *b->another);
}

static void close_all(bench *b)
{
    wr_crew_dismiss(b->crew);
    wr_arena_release(&b->arena);
    wr_kv_close(b->kv);
    wr_decoder_close(b->decoder);
    free(b->id), free(b->logit), free(b->another);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        puts("bench_decoder MODEL THREADS PREFILL[,PREFILL...] GENERATED [LOGITS]; tools/peers/decoder/run calls it");
        return 0; /* `make bench` has no model for it */
    }
    bench b = {0};
    wr_pool *pool;
    size_t length[LENGTHS], longest, threads = strtoul(argv[2], NULL, 10), generated = strtoul(argv[4], NULL, 10);
    size_t n = read_lengths(argv[3], length, &longest);
    FILE *to = argc > 5 ? fopen(argv[5], "wb") : NULL;
    if (argc > 5 && !to) die("LOGITS cannot be written");
    if (!n || !threads || threads > 64 || generated > 4096) die("nothing to do");
    if (wr_pool_open(&pool, (unsigned)threads, NULL, NULL)) die("no threads");
    open_all(&b, argv[1], pool, longest + generated + 1, threads);
    prefill(&b, 0, TOUCH, true, b.logit);
    for (size_t i = 0; i < n; i++) {
        measure(&b, length[i]);
        if (to && fwrite(b.logit, sizeof *b.logit, b.vocab, to) != b.vocab) die("LOGITS cannot be written");
        if (i == 0 && generated) generate(&b, length[0], generated);
    }
    if (to && fclose(to)) die("LOGITS cannot be written");
    close_all(&b);
    wr_pool_close(pool);
    return 0;
}
