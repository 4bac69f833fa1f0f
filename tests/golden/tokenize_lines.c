/* Token ids of many texts, for comparing with another tokenizer (tests/golden/compare_tokenizer.py drives it):
 *
 *     tokenize_lines MODEL encode < texts > ids        without special tokens
 *     tokenize_lines MODEL-DIR single MAX < texts > ids    with them, at most MAX
 *     tokenize_lines MODEL-DIR pair < pairs > ids          a pair is a u32 with the most tokens wanted, and two texts
 *     tokenize_lines MODEL-DIR speed N < texts             encodes all N times; tokens, bytes, best seconds
 *
 * A text is a u32 with its length and its bytes; an answer is a u32 with their number and that many u32 ids (of a pair:
 * type << 24 | id), all little-endian. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/gguf.h"
#include "models/tokenizer.h"

static int fail(const char *what)
{
    fprintf(stderr, "tokenize_lines: %s\n", what);
    return 1;
}

/* All of standard input. */
static char *slurp(size_t *n)
{
    size_t cap = 1 << 20;
    char *bytes = malloc(cap);
    *n = 0;
    while (bytes) {
        size_t got = fread(bytes + *n, 1, cap - *n, stdin);
        if (!got) break;
        *n += got;
        if (*n == cap) bytes = realloc(bytes, cap *= 2);
    }
    return bytes;
}

typedef struct input {
    const char *bytes;
    size_t n, at;
} input;

static bool number(input *in, uint32_t *value)
{
    if (in->n - in->at < 4) return false;
    memcpy(value, in->bytes + in->at, 4);
    in->at += 4;
    return true;
}

static bool text(input *in, const char **s, uint32_t *n)
{
    if (!number(in, n) || in->n - in->at < *n) return false;
    *s = in->bytes + in->at;
    in->at += *n;
    return true;
}

static void answer(const uint32_t *id, size_t n)
{
    uint32_t count = (uint32_t)n;
    fwrite(&count, 4, 1, stdout);
    fwrite(id, 4, n, stdout);
}

/* max 0: no special tokens, no end. Returns the number of tokens. */
static size_t singles(const wr_tokenizer *tok, input in, size_t max, wr_arena *arena, bool print)
{
    const char *s;
    uint32_t n;
    size_t total = 0;
    while (text(&in, &s, &n)) {
        wr_tokens tokens;
        if (max ? wr_tokenizer_single(tok, s, n, arena, max, &tokens)
                : wr_tokenizer_encode(tok, s, n, arena, SIZE_MAX, &tokens))
            exit(fail("memory is exhausted"));
        if (print) answer(tokens.id, tokens.n);
        total += tokens.n;
        wr_arena_reset(arena, (size_t)1 << 20);
    }
    return total;
}

static void pairs(const wr_tokenizer *tok, input in, wr_arena *arena)
{
    const char *s[2];
    uint32_t n[2], max;
    while (number(&in, &max) && text(&in, &s[0], &n[0]) && text(&in, &s[1], &n[1])) {
        wr_tokens a, b;
        bool cut;
        if (wr_tokenizer_encode(tok, s[0], n[0], arena, SIZE_MAX, &a)) exit(fail("memory is exhausted"));
        if (wr_tokenizer_encode(tok, s[1], n[1], arena, SIZE_MAX, &b)) exit(fail("memory is exhausted"));
        uint32_t *id = wr_arena_alloc(arena, (a.n + b.n + 3) * sizeof *id);
        uint8_t *type = wr_arena_alloc(arena, a.n + b.n + 3);
        if (!id || !type) exit(fail("memory is exhausted"));
        size_t count = wr_tokenizer_pair(tok, &a, &b, max, id, type, &cut);
        for (size_t i = 0; i < count; i++) id[i] |= (uint32_t)type[i] << 24;
        answer(id, count);
        wr_arena_reset(arena, (size_t)1 << 20);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void speed(const wr_tokenizer *tok, input in, int times, wr_arena *arena)
{
    double best = 1e9;
    size_t tokens = 0;
    for (int i = 0; i < times; i++) {
        double start = seconds();
        tokens = singles(tok, in, 0, arena, false);
        double took = seconds() - start;
        if (took < best) best = took;
    }
    printf("%zu %zu %.6f\n", tokens, in.n, best);
}

/* A folder, or a GGUF file. */
static wr_status open_model(wr_tokenizer **tok, const char *path, wr_err *err)
{
    wr_gguf *gguf;
    if (!wr_gguf_is(path)) return wr_tokenizer_open(tok, path, err);
    wr_status st = wr_gguf_open(&gguf, path, err);
    if (st) return st;
    st = wr_tokenizer_open_gguf(tok, gguf, err);
    wr_gguf_close(gguf);
    return st;
}

int main(int argc, char **argv)
{
    wr_tokenizer *tok;
    wr_err err;
    wr_arena arena;
    input in = {0};
    if (argc < 3) return fail("usage: tokenize_lines MODEL-DIR encode|single|pair|speed [N] < texts");
    const char *mode = argv[2];
    int n = argc > 3 ? atoi(argv[3]) : 1;
    if (open_model(&tok, argv[1], &err)) return fail(err.text);
    char *bytes = slurp(&in.n);
    if (!bytes || wr_arena_init(&arena, (size_t)1 << 33)) return fail("out of memory");
    in.bytes = bytes;
    if (!strcmp(mode, "pair"))
        pairs(tok, in, &arena);
    else if (!strcmp(mode, "speed"))
        speed(tok, in, n, &arena);
    else
        singles(tok, in, strcmp(mode, "single") ? 0 : (size_t)n, &arena, true);
    wr_arena_release(&arena);
    wr_tokenizer_close(tok);
    free(bytes);
    return 0;
}
