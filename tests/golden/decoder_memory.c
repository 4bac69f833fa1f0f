/* How much memory a large decoder takes: a GGUF file of Mistral-7B's shape, Q4_0, is mapped and reads one window.
 *
 *     build/release/tests/golden/decoder_memory FILE [TOKENS [THREADS]]
 *
 * FILE is written anew: 4.1 GB long, three megabytes on disk, for most of it is a hole (weights of 0). A hole's pages are read
 * into memory, mapped and counted as any other's, and a block of zeros is multiplied as any other block, so memory and time
 * are those of a real file that is read from memory. The norms are 1, and the rows of the table and of the head that are
 * used are not 0, so that the answer is known: all layers add nothing, a logit is RMSNorm(embedding) . row of the head. A
 * tokenizer of bytes is in it too, so that `weir rerank --listwise --model FILE` runs on it.
 *
 * TOKENS (2,500: a window of 20 passages of 100 words, with its prompt) go through wr_decoder_run() on THREADS (all) for
 * the logits of 20 rows. Prints the process's largest resident set (VmHWM) against the file's size; exit status 1 when it
 * is beyond 1.15 times that or when a logit is wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/crew.h"
#include "models/blocks.h"
#include "models/decoder.h"
#include "models/gguf.h"
#include "tests/testlib_decoder.h"

enum { LAYERS = 32, DIM = 4096, FFN = 14336, HEADS = 32, KV_HEADS = 8, HEAD = 128, VOCAB = 32000, POSITIONS = 32768 };
enum { U32 = 4, F32 = 6, STRING = 8, COUNT_AT = 16, ALIGN = 32 };
enum { USED = 320, WANTED = 20, TOKENS = 2500, MOST_TENSORS = 9 * LAYERS + 3 };

/* The activations of a product are bytes, 127 steps to a block's largest: errors of half a step, a third of which is left
 * of a sum of many; a step more for where the logits are small. */
#define TOLERANCE 0.02

static const double most = 1.15; /* what is asked */

typedef struct tensor {
    char name[64];
    wr_block_type type;
    size_t out, in; /* a vector has out 1 */
    uint64_t at;
} tensor;

static void die(const char *what)
{
    fprintf(stderr, "decoder_memory: %s\n", what);
    exit(1);
}

/* ---- the file ---- */

static void number(FILE *f, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) putc((int)(v >> 8 * i & 255), f);
}

static void text(FILE *f, const char *s)
{
    number(f, strlen(s), 8);
    fputs(s, f);
}

static void entry(FILE *f, const char *name, uint32_t type, uint64_t value)
{
    text(f, name);
    number(f, type, 4);
    number(f, value, 4);
}

static void put_metadata(FILE *f)
{
    static const struct {
        const char *name;
        uint64_t value;
    } sizes[] = {{"llama.block_count", LAYERS},          {"llama.context_length", POSITIONS},
                 {"llama.embedding_length", DIM},        {"llama.feed_forward_length", FFN},
                 {"llama.attention.head_count", HEADS},  {"llama.attention.head_count_kv", KV_HEADS}};
    size_t n = sizeof sizes / sizeof *sizes;
    float eps = 1e-5f;
    uint32_t bits;
    memcpy(&bits, &eps, sizeof bits);
    wr_test_decoder tokens = {.type = "mistral", .vocab = VOCAB};
    number(f, 0, 8); /* how many entries, when it is known */
    text(f, "general.architecture");
    number(f, STRING, 4);
    text(f, "llama");
    entry(f, "llama.attention.layer_norm_rms_epsilon", F32, bits);
    for (size_t i = 0; i < n; i++) entry(f, sizes[i].name, U32, sizes[i].value);
    n += 2 + wr_test_decoder_put_tokenizer(f, &tokens, "llama");
    fseeko(f, COUNT_AT, SEEK_SET);
    number(f, n, 8);
    fseeko(f, 0, SEEK_END);
}

static void add(tensor *all, size_t *n, int layer, const char *name, size_t out, size_t in)
{
    tensor *t = &all[*n];
    size_t bytes = 0;
    t->type = out == 1 ? WR_BLOCK_F32 : WR_BLOCK_Q4_0;
    t->out = out, t->in = in;
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s.weight", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s.weight", layer, name);
    if (*n) {
        wr_blocks_bytes(t[-1].type, t[-1].out, t[-1].in, &bytes);
        t->at = t[-1].at + (bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    ++*n;
}

static size_t list(tensor *all)
{
    size_t n = 0;
    add(all, &n, -1, "token_embd", VOCAB, DIM);
    add(all, &n, -1, "output", VOCAB, DIM);
    add(all, &n, -1, "output_norm", 1, DIM);
    for (int i = 0; i < LAYERS; i++) {
        add(all, &n, i, "attn_norm", 1, DIM);
        add(all, &n, i, "attn_q", HEADS * HEAD, DIM);
        add(all, &n, i, "attn_k", KV_HEADS * HEAD, DIM);
        add(all, &n, i, "attn_v", KV_HEADS * HEAD, DIM);
        add(all, &n, i, "attn_output", DIM, HEADS * HEAD);
        add(all, &n, i, "ffn_norm", 1, DIM);
        add(all, &n, i, "ffn_gate", FFN, DIM);
        add(all, &n, i, "ffn_up", FFN, DIM);
        add(all, &n, i, "ffn_down", DIM, FFN);
    }
    return n;
}

/* USED rows of blocks: d 2^-7, any nibbles. */
static void put_rows(FILE *f, uint64_t seed)
{
    for (size_t i = 0; i < (size_t)USED * DIM / 32; i++) {
        number(f, 0x2000, 2);
        for (int j = 0; j < 16; j++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
            putc((int)(seed >> 56), f);
        }
    }
}

static uint64_t put_tensors(FILE *f, const tensor *all, size_t n)
{
    size_t bytes;
    for (size_t i = 0; i < n; i++) {
        const tensor *t = &all[i];
        static const int ggml[WR_BLOCK_TYPES] = {[WR_BLOCK_F32] = 0, [WR_BLOCK_Q4_0] = 2};
        text(f, t->name);
        number(f, t->out == 1 ? 1 : 2, 4);
        number(f, t->in, 8);
        if (t->out > 1) number(f, t->out, 8);
        number(f, (uint64_t)ggml[t->type], 4);
        number(f, t->at, 8);
    }
    while (ftello(f) % ALIGN) putc(0, f);
    off_t data = ftello(f);
    for (size_t i = 0; i < n; i++) {
        if (i > 1 && all[i].out > 1) continue; /* stays a hole */
        fseeko(f, data + (off_t)all[i].at, SEEK_SET);
        if (i < 2) put_rows(f, i);
        for (size_t j = 0; j < DIM && i >= 2; j++) number(f, 0x3f800000, 4);
    }
    wr_blocks_bytes(all[n - 1].type, all[n - 1].out, all[n - 1].in, &bytes);
    return (uint64_t)data + all[n - 1].at + bytes;
}

static void write_model(const char *path)
{
    static tensor all[MOST_TENSORS];
    size_t n = list(all);
    FILE *f = fopen(path, "wb");
    if (!f) die("FILE cannot be written");
    fputs("GGUF", f);
    number(f, 3, 4);
    number(f, n, 8);
    put_metadata(f);
    uint64_t size = put_tensors(f, all, n);
    if (fflush(f) || ferror(f) || ftruncate(fileno(f), (off_t)size) || fclose(f)) die("FILE cannot be written");
}

/* ---- the run ---- */

/* A line of /proc/self/status in bytes. */
static double resident(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) sscanf(line + strlen(key), ": %lf", &kib);
    if (f) fclose(f);
    return kib * 1024;
}

/* Of the last token alone; rows are opened again from the file. */
static double wrong_by(const char *path, uint32_t last, const float *got)
{
    wr_gguf *g;
    wr_err err;
    static float x[DIM], row[DIM];
    double squares = 0, worst = 0, largest = 0;
    if (wr_gguf_open(&g, path, &err)) die(err.text);
    wr_blocks_row(wr_gguf_tensor(g, "token_embd.weight"), last, x);
    for (size_t i = 0; i < DIM; i++) squares += (double)x[i] * x[i];
    for (size_t r = 0; r < WANTED; r++) {
        double sum = 0;
        wr_blocks_row(wr_gguf_tensor(g, "output.weight"), r, row);
        for (size_t i = 0; i < DIM; i++) sum += x[i] / sqrt(squares / DIM + 1e-5) * row[i];
        worst = fmax(worst, fabs(sum - got[r]));
        largest = fmax(largest, fabs(sum));
    }
    wr_gguf_close(g);
    return worst / largest;
}

static void run(const wr_decoder *d, const uint32_t *id, size_t n, size_t threads, float *out)
{
    wr_pool *pool;
    wr_kv *kv = NULL;
    wr_arena arena;
    wr_err err;
    uint32_t rows[WANTED];
    wr_logits logits = {rows, WANTED, out};
    for (uint32_t i = 0; i < WANTED; i++) rows[i] = i;
    if (wr_pool_open(&pool, (unsigned)threads, NULL, &err) || wr_kv_open(&kv, d, n, &err)) die(err.text);
    if (wr_arena_init(&arena, wr_decoder_arena_bytes(d, n, wr_pool_threads(pool) + 1))) die("out of memory");
    wr_crew *crew = wr_crew_gather(pool);
    uint64_t start = wr_clock_now(&wr_clock_system);
    if (wr_decoder_run(d, kv, id, n, &logits, crew, &arena, NULL)) die("the run failed");
    double seconds = (double)(wr_clock_now(&wr_clock_system) - start) / 1e9;
    printf("window        %zu tokens in %.1f s, %zu threads\n", n, seconds, wr_crew_size(crew));
    wr_crew_dismiss(crew);
    wr_arena_release(&arena);
    wr_kv_close(kv);
    wr_pool_close(pool);
}

int main(int argc, char **argv)
{
    size_t n = argc > 2 ? (size_t)atol(argv[2]) : TOKENS, threads = argc > 3 ? (size_t)atol(argv[3]) : 0;
    wr_decoder *d;
    wr_err err;
    float out[WANTED];
    if (argc < 2 || n < 1 || n > POSITIONS) die("expected FILE [TOKENS [THREADS]]");
    write_model(argv[1]);
    if (wr_decoder_open(&d, argv[1], &(wr_decoder_options){.weights_only = true}, &err)) die(err.text);
    const wr_decoder_info *info = wr_decoder_info_get(d);
    uint32_t *id = malloc(n * sizeof *id);
    if (!id) die("out of memory");
    for (size_t i = 0; i < n; i++) id[i] = (uint32_t)(i * 7 % USED);
    printf("model         %zu parameters, %s, %zu bytes\n", info->parameters, info->format, info->file_bytes);
    printf("opened        %.1f MB resident\n", resident("VmRSS") / 1e6);
    run(d, id, n, threads, out);
    double peak = resident("VmHWM"), share = peak / (double)info->file_bytes, wrong = wrong_by(argv[1], id[n - 1], out);
    printf("peak          %.1f MB resident, %.3f of the file (at most %.2f)\n", peak / 1e6, share, most);
    printf("logits        wrong by %.5f of the largest (at most %.2f)\n", wrong, TOLERANCE);
    free(id);
    wr_decoder_close(d);
    return share <= most && wrong <= TOLERANCE ? 0 : 1;
}
