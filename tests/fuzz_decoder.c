/* Feeds the loader of decoders what a Hugging Face directory says: config.json, and behind a NUL two bytes and the JSON
 * header of model.safetensors (without them the header of a tiny model). The header's data are those of the tiny model, and
 * as many zeros as the two bytes say. What opens runs two tokens to logits without touching what is not its own, whatever the weights are; what does not is refused with
 * a sentence. Tokenizers have a fuzzer of their own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "models/decoder.h"
#include "tests/testlib_decoder.h"

static char dir[] = "/tmp/weir-fuzz-XXXXXX";
static char *model;          /* the tiny model's file ... */
static size_t size, data_at; /* ... and where its data begin */

static void need(int fact)
{
    if (!fact) abort();
}

static const char *path_of(const char *name)
{
    static char path[sizeof dir + 32];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void leave(void)
{
    free(model);
    wr_dir_remove(dir, NULL);
}

static void begin(void)
{
    wr_test_decoder tiny = {.type = "llama", .seed = 1, .layers = 1, .dim = 16, .heads = 2, .kv_heads = 1, .ffn = 16};
    uint64_t header;
    need(mkdtemp(dir) != NULL);
    wr_test_decoder_write(dir, &tiny);
    need(wr_file_read(path_of("model.safetensors"), 1 << 20, &model, &size, NULL) == WR_OK && size > 8);
    memcpy(&header, model, 8);
    data_at = 8 + (size_t)header;
    atexit(leave);
}

static void put(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    need(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void put_model(const uint8_t *header, size_t n)
{
    static const char zeros[1 << 16];
    size_t more = n < 2 ? 0 : header[0] + 256u * header[1];
    header += n < 2 ? n : 2, n -= n < 2 ? n : 2;
    uint64_t length = n;
    FILE *f = fopen(path_of("model.safetensors"), "wb");
    need(f && fwrite(&length, 1, 8, f) == 8 && fwrite(header, 1, n, f) == n);
    need(fwrite(model + data_at, 1, size - data_at, f) == size - data_at);
    need(fwrite(zeros, 1, more, f) == more && fclose(f) == 0);
}

static void run(const wr_decoder *d)
{
    const wr_decoder_info *info = wr_decoder_info_get(d);
    size_t n = info->positions < 2 ? 1 : 2;
    wr_kv *kv = NULL;
    wr_arena arena;
    wr_err err;
    uint32_t id[] = {0, (uint32_t)info->vocab - 1};
    float *out = malloc(info->vocab * sizeof *out);
    wr_logits logits = {.out = out};
    need(out && wr_kv_open(&kv, d, n, &err) == WR_OK);
    need(wr_arena_init(&arena, wr_decoder_arena_bytes(d, n, 1)) == WR_OK);
    need(wr_decoder_run(d, kv, id, n, &logits, NULL, &arena, NULL) == WR_OK && wr_kv_tokens(kv) == n);
    wr_arena_release(&arena);
    wr_kv_close(kv);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    wr_decoder *d;
    wr_err err = {0};
    wr_decoder_options options = {.weights_only = true};
    if (!model) begin();
    const uint8_t *nul = n ? memchr(input, 0, n) : NULL;
    size_t config = nul ? (size_t)(nul - input) : n;
    put("config.json", input, config);
    if (nul)
        put_model(nul + 1, n - config - 1);
    else
        put("model.safetensors", model, size);
    if (wr_decoder_open(&d, dir, &options, &err)) {
        need(!d && err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    run(d);
    wr_decoder_close(d);
    return 0;
}
