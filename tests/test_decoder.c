/* The decoder against plain sums in double precision, and the same bits however a prompt comes: in pieces, reused, by
 * many threads, with the last layer whole. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pool.h"
#include "models/decoder.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"

static const char *const types[] = {"llama", "mistral", "qwen2", "qwen3"};
enum { NTYPES = 4, VOCAB = 320 };

/* ---- the slow one ---- */

static float *tensor(const wr_test_decoder *d, const char *name)
{
    float *values = NULL;
    size_t rows, cols;
    if (!wr_test_decoder_tensor(d, name, &values, &rows, &cols)) return NULL;
    return values;
}

static float *part(const wr_test_decoder *d, size_t layer, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "model.layers.%zu.%s", layer, name);
    return tensor(d, full);
}

static void norm(const double *x, const float *w, size_t n, double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    for (size_t i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / (double)n + 1e-6) * w[i];
}

/* y = W x + b of a layer's matrix. */
static void multiply(const wr_test_decoder *d, size_t layer, const char *name, const double *x, size_t rows, size_t out,
                     size_t in, double *y)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    float *w = part(d, layer, weight), *b = part(d, layer, bias);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            double sum = b ? b[o] : 0;
            for (size_t i = 0; i < in; i++) sum += x[r * in + i] * w[o * in + i];
            y[r * out + o] = sum;
        }
    free(w);
    free(b);
}

/* Angles as transformers rounds them, to floats; f: what the frequencies are multiplied by. */
static void turn(double *x, size_t rows, size_t heads, size_t dim, const double *f)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < dim / 2; i++) {
                double *at = x + (r * heads + h) * dim + i, a = at[0], b = at[dim / 2], angle = (double)r * f[i];
                at[0] = a * cos(angle) - b * sin(angle);
                at[dim / 2] = b * cos(angle) + a * sin(angle);
            }
}

static void norm_heads(const wr_test_decoder *d, size_t layer, const char *name, double *x, size_t heads)
{
    float *w = part(d, layer, name);
    for (size_t h = 0; h < heads && w; h++) norm(x + h * d->head_dim, w, d->head_dim, x + h * d->head_dim);
    free(w);
}

static void attend(const wr_test_decoder *d, const double *q, const double *k, const double *v, size_t n, double *ctx)
{
    size_t dim = d->head_dim, group = d->heads / d->kv_heads;
    double *s = malloc(n * sizeof *s);
    for (size_t t = 0; t < n; t++)
        for (size_t h = 0; h < d->heads; h++) {
            size_t low = d->window && t + 1 > d->window ? t + 1 - d->window : 0;
            double sum = 0, *y = ctx + (t * d->heads + h) * dim;
            for (size_t j = low; j <= t; j++) {
                s[j] = 0;
                for (size_t c = 0; c < dim; c++)
                    s[j] += q[(t * d->heads + h) * dim + c] * k[(j * d->kv_heads + h / group) * dim + c];
                sum += s[j] = exp(s[j] / sqrt((double)dim));
            }
            for (size_t c = 0; c < dim; c++) y[c] = 0;
            for (size_t j = low; j <= t; j++)
                for (size_t c = 0; c < dim; c++) y[c] += s[j] / sum * v[(j * d->kv_heads + h / group) * dim + c];
        }
    free(s);
}

static void layer(const wr_test_decoder *d, size_t l, double *x, size_t n, const double *f)
{
    size_t dim = d->dim, nq = d->heads * d->head_dim, nk = d->kv_heads * d->head_dim;
    double *h = malloc(n * dim * sizeof *h), *q = malloc(n * nq * sizeof *q), *k = malloc(n * nk * sizeof *k),
           *v = malloc(n * nk * sizeof *v), *ctx = malloc(n * nq * sizeof *ctx), *y = malloc(n * dim * sizeof *y),
           *gate = malloc(n * d->ffn * sizeof *gate), *up = malloc(n * d->ffn * sizeof *up);
    float *w_in = part(d, l, "input_layernorm.weight"), *w_post = part(d, l, "post_attention_layernorm.weight");
    for (size_t r = 0; r < n; r++) norm(x + r * dim, w_in, dim, h + r * dim);
    multiply(d, l, "self_attn.q_proj", h, n, nq, dim, q);
    multiply(d, l, "self_attn.k_proj", h, n, nk, dim, k);
    multiply(d, l, "self_attn.v_proj", h, n, nk, dim, v);
    norm_heads(d, l, "self_attn.q_norm.weight", q, n * d->heads);
    norm_heads(d, l, "self_attn.k_norm.weight", k, n * d->kv_heads);
    turn(q, n, d->heads, d->head_dim, f);
    turn(k, n, d->kv_heads, d->head_dim, f);
    attend(d, q, k, v, n, ctx);
    multiply(d, l, "self_attn.o_proj", ctx, n, dim, nq, y);
    for (size_t i = 0; i < n * dim; i++) x[i] += y[i];
    for (size_t r = 0; r < n; r++) norm(x + r * dim, w_post, dim, h + r * dim);
    multiply(d, l, "mlp.gate_proj", h, n, d->ffn, dim, gate);
    multiply(d, l, "mlp.up_proj", h, n, d->ffn, dim, up);
    for (size_t i = 0; i < n * d->ffn; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    multiply(d, l, "mlp.down_proj", gate, n, dim, d->ffn, y);
    for (size_t i = 0; i < n * dim; i++) x[i] += y[i];
    free(h), free(q), free(k), free(v), free(ctx), free(y), free(gate), free(up), free(w_in), free(w_post);
}

static void plain_frequencies(const wr_test_decoder *d, double *f)
{
    for (size_t i = 0; i < d->head_dim / 2; i++) f[i] = pow(1e4, -2.0 * (double)i / (double)d->head_dim);
}

static void want(const wr_test_decoder *wanted, const uint32_t *id, size_t n, const double *f, double *logits)
{
    wr_test_decoder d = wr_test_decoder_full(wanted);
    double *x = malloc(n * d.dim * sizeof *x), *last = x + (n - 1) * d.dim;
    float *table = tensor(&d, "model.embed_tokens.weight"), *w = tensor(&d, "model.norm.weight");
    float *head = d.tied ? NULL : tensor(&d, "lm_head.weight");
    for (size_t i = 0; i < n * d.dim; i++) x[i] = table[id[i / d.dim] * d.dim + i % d.dim];
    for (size_t l = 0; l < d.layers; l++) layer(&d, l, x, n, f);
    norm(last, w, d.dim, last);
    for (size_t o = 0; o < d.vocab; o++) {
        logits[o] = 0;
        for (size_t i = 0; i < d.dim; i++) logits[o] += last[i] * (double)(head ? head : table)[o * d.dim + i];
    }
    free(x), free(table), free(w), free(head);
}

/* ---- the fast one ---- */

typedef struct bench {
    wr_decoder *decoder;
    wr_kv *kv;
    wr_arena arena;
} bench;

enum { ROOM = 700 };

static bench open_path(const char *path)
{
    bench b;
    wr_err err;
    wr_decoder_options options = {.weights_only = true};
    cr_assert_eq(wr_decoder_open(&b.decoder, path, &options, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_kv_open(&b.kv, b.decoder, ROOM, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_arena_init(&b.arena, wr_decoder_arena_bytes(b.decoder, ROOM, 8)), WR_OK);
    return b;
}

static bench open_tiny(const wr_test_decoder *d)
{
    const char *dir = wr_test_path("model");
    wr_test_decoder_write(dir, d);
    return open_path(dir);
}

static void close_bench(bench *b)
{
    wr_kv_close(b->kv);
    wr_decoder_close(b->decoder);
    wr_arena_release(&b->arena);
}

static void run(bench *b, const uint32_t *id, size_t n, wr_crew *crew, float *out)
{
    wr_logits logits = {.out = out};
    cr_assert_eq(wr_decoder_run(b->decoder, b->kv, id, n, out ? &logits : NULL, crew, &b->arena, NULL), WR_OK);
}

static double distance(const float *got, const double *wanted)
{
    double most = 0;
    for (size_t i = 0; i < VOCAB; i++) most = fmax(most, fabs((double)got[i] - wanted[i]));
    return most;
}

static void compare(const wr_test_decoder *d, size_t n, const double *f, double tolerance)
{
    uint32_t id[ROOM];
    float got[VOCAB];
    double wanted[VOCAB];
    bench b = open_tiny(d);
    wr_test_decoder_ids(d, id, n);
    run(&b, id, n, NULL, got);
    want(d, id, n, f, wanted);
    cr_assert_leq(distance(got, wanted), tolerance, "%s: %g", d->type, distance(got, wanted));
    close_bench(&b);
}

Test(decoder, logits_are_those_of_plain_sums)
{
    for (size_t t = 0; t < NTYPES; t++)
        for (int format = WR_BLOCK_F32; format <= WR_BLOCK_BF16; format++) {
            wr_test_decoder d = {.type = types[t], .seed = 11 + t, .format = (wr_block_type)format, .tied = t % 2};
            double f[64] = {0};
            wr_test_decoder full = wr_test_decoder_full(&d);
            plain_frequencies(&full, f);
            compare(&d, 70, f, 1e-4);
        }
}

Test(decoder, windows_biases_and_odd_shapes)
{
    double f[64] = {0};
    wr_test_decoder all[] = {
        {.type = "mistral", .seed = 1, .window = 9},
        {.type = "llama", .seed = 2, .attention_bias = true, .heads = 6, .kv_heads = 3, .dim = 60, .ffn = 100},
        {.type = "qwen3", .seed = 3, .head_dim = 10, .kv_heads = 1, .layers = 3},
        {.type = "qwen2", .seed = 4, .window = 6, .more = ",\"layer_types\":[\"sliding_attention\","
                                                          "\"sliding_attention\"]"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wr_test_decoder full = wr_test_decoder_full(&all[i]);
        plain_frequencies(&full, f);
        compare(&all[i], 40, f, 1e-4);
    }
}

/* llama3: factor 8, low 1, high 4, of 64 positions. */
static void llama3_frequencies(const wr_test_decoder *d, double *f)
{
    plain_frequencies(d, f);
    for (size_t i = 0; i < d->head_dim / 2; i++) {
        double wave = 2 * 3.141592653589793 / f[i], s = (64 / wave - 1) / 3;
        f[i] = wave > 64 ? f[i] / 8 : wave < 16 ? f[i] : (1 - s) * f[i] / 8 + s * f[i];
    }
}

Test(decoder, positions_are_scaled)
{
    double f[64] = {0};
    wr_test_decoder d = {.type = "llama", .seed = 5, .more = ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}"};
    wr_test_decoder full = wr_test_decoder_full(&d);
    plain_frequencies(&full, f);
    for (size_t i = 0; i < full.head_dim / 2; i++) f[i] /= 4;
    compare(&d, 40, f, 1e-4);
    d.more = ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
             "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64,\"rope_theta\":10000.0}";
    llama3_frequencies(&full, f);
    compare(&d, 40, f, 1e-4);
}

Test(decoder, pieces_reuse_threads_and_a_whole_last_layer_have_the_same_bits)
{
    wr_err err;
    wr_pool *pool;
    cr_assert_eq(wr_pool_open(&pool, 4, NULL, &err), WR_OK);
    for (size_t t = 0; t < NTYPES; t++) {
        wr_test_decoder d = {.type = types[t], .seed = 20 + t, .window = 100};
        uint32_t id[ROOM];
        float fresh[VOCAB], got[VOCAB];
        bench b = open_tiny(&d);
        size_t n = 600;
        wr_test_decoder_ids(&d, id, n);
        run(&b, id, n, NULL, fresh);
        wr_kv_cut(b.kv, 0);
        for (size_t at = 0, step = 1; at < n; at += step, step = step * 3 % 97 + 1) {
            if (step > n - at) step = n - at;
            run(&b, id + at, step, NULL, at + step == n ? got : NULL);
        }
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "%s: pieces", types[t]);
        id[300] ^= 1;
        cr_assert_eq(wr_kv_reuse(b.kv, id, n), 300);
        id[300] ^= 1;
        run(&b, id + 300, n - 300, NULL, got);
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "%s: reuse", types[t]);
        cr_assert_eq(wr_kv_reuse(b.kv, id, n), n - 1);
        run(&b, id + n - 1, 1, NULL, got);
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "%s: the last", types[t]);
        wr_kv_reuse(b.kv, id, 0);
        wr_crew *crew = wr_crew_gather(pool);
        run(&b, id, n, crew, got);
        wr_crew_dismiss(crew);
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "%s: threads", types[t]);
        wr_kv_cut(b.kv, 0);
        wr_decoder_prune_last(b.decoder, false);
        run(&b, id, n, NULL, got);
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "%s: whole", types[t]);
        close_bench(&b);
    }
    wr_pool_close(pool);
}

Test(decoder, wanted_rows_are_those_of_all)
{
    wr_test_decoder d = {.type = "qwen2", .seed = 6};
    uint32_t id[50], row[] = {32, 33, 34, 300, 7, 8, 7};
    float all[VOCAB], some[7];
    bench b = open_tiny(&d);
    wr_logits logits = {row, 7, some};
    wr_test_decoder_ids(&d, id, 50);
    run(&b, id, 50, NULL, all);
    wr_kv_cut(b.kv, 0);
    cr_assert_eq(wr_decoder_run(b.decoder, b.kv, id, 50, &logits, NULL, &b.arena, NULL), WR_OK);
    for (size_t i = 0; i < 7; i++) cr_assert(memcmp(&some[i], &all[row[i]], sizeof *some) == 0);
    cr_assert_eq(b.arena.used, 0);
    close_bench(&b);
}

Test(decoder, a_run_that_is_stopped_keeps_whole_chunks)
{
    wr_test_decoder d = {.type = "llama", .seed = 7};
    uint32_t id[ROOM];
    float fresh[VOCAB], got[VOCAB];
    bench b = open_tiny(&d);
    wr_test_clock fake;
    wr_budget budget;
    size_t n = 600;
    wr_test_decoder_ids(&d, id, n);
    run(&b, id, n, NULL, fresh);
    for (size_t looks = 0; looks < 6; looks++) { /* two layers of each of three chunks */
        wr_logits logits = {.out = got};
        wr_kv_cut(b.kv, 0);
        wr_test_clock_init(&fake, 1000, 1000000); /* a millisecond at every look */
        wr_budget_start(&budget, &fake.clock, (double)looks + 1.5, 0, 1000);
        wr_status st = wr_decoder_run(b.decoder, b.kv, id, n, &logits, NULL, &b.arena, &budget);
        cr_assert_eq(wr_kv_tokens(b.kv) % WR_DECODER_CHUNK, st == WR_OK ? n % WR_DECODER_CHUNK : 0);
        if (st == WR_OK) continue;
        cr_assert_eq(st, WR_STOPPED);
        size_t have = wr_kv_reuse(b.kv, id, n);
        run(&b, id + have, n - have, NULL, got);
        cr_assert_eq(memcmp(fresh, got, sizeof got), 0, "stopped at look %zu", looks);
    }
    close_bench(&b);
}

Test(decoder, arguments_are_checked)
{
    wr_test_decoder d = {.type = "llama", .seed = 8};
    bench b = open_tiny(&d);
    wr_err err;
    wr_kv *kv;
    uint32_t id[2] = {1, VOCAB}, row = VOCAB;
    float out[VOCAB];
    wr_logits logits = {&row, 1, out};
    cr_assert_eq(wr_decoder_run(b.decoder, b.kv, id, 2, NULL, NULL, &b.arena, NULL), WR_EARG);
    cr_assert_eq(wr_decoder_run(b.decoder, b.kv, id, 0, NULL, NULL, &b.arena, NULL), WR_EARG);
    cr_assert_eq(wr_decoder_run(b.decoder, b.kv, id, 1, &logits, NULL, &b.arena, NULL), WR_EARG);
    cr_assert_eq(wr_kv_open(&kv, b.decoder, 4097, &err), WR_EARG);
    cr_assert_null(kv);
    cr_assert_eq(wr_kv_open(&kv, b.decoder, 1, &err), WR_OK);
    cr_assert_eq(wr_decoder_run(b.decoder, kv, id, 1, NULL, NULL, &b.arena, NULL), WR_OK);
    cr_assert_eq(wr_decoder_run(b.decoder, kv, id, 1, NULL, NULL, &b.arena, NULL), WR_EARG);
    wr_arena small;
    cr_assert_eq(wr_arena_init(&small, 4096), WR_OK);
    cr_assert_eq(wr_decoder_run(b.decoder, b.kv, id, 1, NULL, NULL, &small, NULL), WR_ENOMEM);
    cr_assert_eq(small.used, 0);
    wr_arena_release(&small);
    wr_kv_close(kv);
    close_bench(&b);
}

/* ---- GGUF ---- */

static void gguf_turns(const wr_test_decoder *d, const double *f, double tolerance)
{
    uint32_t id[60];
    float got[VOCAB];
    double wanted[VOCAB];
    wr_test_decoder full = wr_test_decoder_full(d);
    const char *path = wr_test_path("model.gguf");
    wr_test_decoder_write_gguf(path, d);
    bench b = open_path(path);
    wr_test_decoder_ids(d, id, 60);
    run(&b, id, 60, NULL, got);
    full.gguf = true;
    want(&full, id, 60, f, wanted);
    cr_assert_leq(distance(got, wanted), tolerance, "%s %s: %g", d->type, wr_block_name(d->format),
                  distance(got, wanted));
    cr_assert_str_eq(wr_decoder_info_get(b.decoder)->format, wr_block_name(d->format));
    cr_assert_eq(wr_decoder_info_get(b.decoder)->tied, d->tied);
    close_bench(&b);
}

static void gguf_is(const wr_test_decoder *d, double tolerance)
{
    double f[64] = {0};
    wr_test_decoder full = wr_test_decoder_full(d);
    plain_frequencies(&full, f);
    gguf_turns(d, f, tolerance);
}

/* Logits spread over some +-8. Floats: 1e-4. Blocks: activations are bytes, keys and values halves; what the products
 * may be off is for tests/test_kernels_blocks.c. */
Test(decoder, gguf_files_say_the_same)
{
    for (size_t t = 0; t < NTYPES; t++)
        for (int format = 0; format < WR_BLOCK_TYPES; format++) {
            bool k = wr_block_values((wr_block_type)format) == 256;
            wr_test_decoder d = {.type = types[t], .seed = 40 + t, .format = (wr_block_type)format, .tied = t % 2};
            if (k) d.dim = 256, d.ffn = 512, d.heads = 4, d.kv_heads = 2, d.head_dim = 64;
            gguf_is(&d, wr_block_is_quantized(d.format) ? 1 : 1e-4);
        }
}

/* llama.cpp stores what llama3's scaling divides each frequency by. */
Test(decoder, gguf_files_bring_llama3_s_factors)
{
    double plain[64] = {0}, f[64] = {0};
    float factors[64];
    for (size_t t = 0; t < NTYPES; t++) {
        wr_test_decoder d = {.type = types[t], .seed = 60 + t, .factors = factors};
        wr_test_decoder full = wr_test_decoder_full(&d);
        plain_frequencies(&full, plain);
        llama3_frequencies(&full, f);
        for (size_t i = 0; i < full.head_dim / 2; i++) factors[i] = (float)(plain[i] / f[i]);
        cr_assert(factors[0] == 1 && factors[full.head_dim / 2 - 1] == 8, "all three kinds occur");
        gguf_turns(&d, f, 1e-4);
    }
}

/* ---- transformers ---- */

enum { GOLDEN_TOKENS = 512, GOLDEN_VOCAB = 512 };

static void golden(const char *name, const wr_test_decoder *d, wr_block_type format)
{
    char path[128], config[4096];
    float all[3][GOLDEN_VOCAB], got[GOLDEN_VOCAB];
    uint32_t id[GOLDEN_TOKENS];
    wr_test_decoder tiny = *d;
    snprintf(path, sizeof path, "tests/golden/decoders/%s.json", name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    config[fread(config, 1, sizeof config - 1, file)] = 0;
    fclose(file);
    snprintf(path, sizeof path, "tests/golden/decoders/%s.bin", name);
    file = fopen(path, "rb");
    cr_assert(file && fread(all, sizeof all, 1, file) == 1);
    fclose(file);
    tiny.config = config;
    tiny.format = format;
    bench b = open_tiny(&tiny);
    wr_test_decoder_ids(&tiny, id, GOLDEN_TOKENS);
    run(&b, id, GOLDEN_TOKENS, NULL, got);
    for (size_t i = 0; i < GOLDEN_VOCAB; i++)
        cr_assert_float_eq(got[i], all[format][i], 1e-4, "%s %s: %g, not %g", name, wr_block_name(format), got[i],
                           all[format][i]);
    close_bench(&b);
}

Test(decoder, logits_are_those_of_transformers)
{
    static const char *const names[] = {"llama", "llama3", "mistral", "qwen2", "qwen3"};
    for (size_t i = 0; i < 5; i++)
        for (int format = WR_BLOCK_F32; format <= WR_BLOCK_BF16; format++) {
            wr_test_decoder d = {.type = i == 1 ? "llama" : names[i],
                                 .seed = 100 + i,
                                 .vocab = GOLDEN_VOCAB,
                                 .dim = 72,
                                 .ffn = 160,
                                 .layers = 3,
                                 .heads = 6,
                                 .head_dim = i == 4 ? 24 : 12,
                                 .attention_bias = i == 0,
                                 .tied = i == 3};
            golden(names[i], &d, (wr_block_type)format);
        }
}
