/* Token ids of many texts, for comparing with another tokenizer: tokenize_lines MODEL-DIR [REPEAT] < texts > ids
 *
 * A text is a u32 with its length and its bytes, an answer is a u32 with their number and that many u32 ids (no special
 * tokens added), all little-endian. With REPEAT the texts are encoded that many times and only the speed is printed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* One pass over the texts; writes the ids where out is not NULL. Returns the number of tokens, or SIZE_MAX. */
static size_t encode_all(const wr_tokenizer *tok, const char *in, size_t n, wr_arena *arena, FILE *out)
{
    size_t total = 0;
    for (size_t at = 0; at + 4 <= n;) {
        uint32_t len;
        memcpy(&len, in + at, 4);
        at += 4;
        if (len > n - at) return SIZE_MAX;
        wr_tokens tokens;
        if (wr_tokenizer_encode(tok, in + at, len, arena, SIZE_MAX, &tokens)) return SIZE_MAX;
        uint32_t count = (uint32_t)tokens.n;
        if (out) {
            fwrite(&count, 4, 1, out);
            fwrite(tokens.id, 4, count, out);
        }
        total += count;
        at += len;
        wr_arena_reset(arena, (size_t)1 << 20);
    }
    return total;
}

int main(int argc, char **argv)
{
    wr_tokenizer *tok;
    wr_err err;
    wr_arena arena;
    size_t n;
    if (argc < 2 || argc > 3) return fail("usage: tokenize_lines MODEL-DIR [REPEAT] < texts");
    if (wr_tokenizer_open(&tok, argv[1], &err)) return fail(err.text);
    char *in = slurp(&n);
    if (!in || wr_arena_init(&arena, (size_t)1 << 33)) return fail("out of memory");
    int repeat = argc == 3 ? atoi(argv[2]) : 0;
    size_t tokens = 0;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < (repeat ? repeat : 1); i++) tokens = encode_all(tok, in, n, &arena, repeat ? NULL : stdout);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    if (repeat) printf("%zu tokens, %zu bytes, %.6f\n", tokens, n, s / repeat);
    wr_arena_release(&arena);
    wr_tokenizer_close(tok);
    free(in);
    return tokens == SIZE_MAX ? fail("a text is cut short, or memory is exhausted") : 0;
}
