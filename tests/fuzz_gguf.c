/* Feeds bytes to the GGUF reader and, as a file, to the decoder: what the reader accepts lies inside the file and can be
 * read row by row, and a decoder that opens runs two tokens to logits without touching what is not its own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/blocks.h"
#include "models/decoder.h"
#include "models/gguf.h"

static void need(int fact)
{
    if (!fact) abort();
}

static void read_all(const wr_gguf *g)
{
    size_t n, data_at;
    const unsigned char *bytes = wr_gguf_bytes(g, &n, &data_at);
    for (size_t i = 0; i < wr_gguf_ntensors(g); i++) {
        const char *name = wr_gguf_tensor_name(g, i);
        const wr_blocks *w = wr_gguf_tensor(g, name);
        size_t size = 0;
        need(wr_gguf_tensor_type(g, name) != NULL);
        if (!w) continue;
        need(wr_blocks_bytes(w->type, w->out, w->in, &size));
        const unsigned char *data = w->data;
        need(data >= bytes + data_at && size <= n && (size_t)(data - bytes) <= n - size);
        float *row = malloc(w->in * sizeof *row);
        for (size_t r = 0; row && r < w->out && r < 4; r++) wr_blocks_row(w, r, row);
        free(row);
    }
}

static char path[] = "/dev/shm/weir-fuzz-XXXXXX";

static void leave(void)
{
    unlink(path);
}

/* A real file, kept in memory: opening asks for its absolute path, which a memfd has not. */
static void as_file(const uint8_t *bytes, size_t n)
{
    static int fd = -1;
    if (fd < 0) {
        fd = mkstemp(path);
        atexit(leave);
    }
    need(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
}

static void run(const wr_decoder *d)
{
    const wr_decoder_info *info = wr_decoder_info_get(d);
    wr_kv *kv;
    wr_arena arena;
    uint32_t id[] = {0, (uint32_t)info->vocab - 1};
    float *out = malloc(info->vocab * sizeof *out);
    wr_logits logits = {.out = out};
    wr_err err;
    if (!out || info->positions < 2 || wr_kv_open(&kv, d, 2, &err)) {
        free(out);
        return;
    }
    need(wr_arena_init(&arena, wr_decoder_arena_bytes(d, 2, 1)) == WR_OK);
    need(wr_decoder_run(d, kv, id, 2, &logits, NULL, &arena, NULL) == WR_OK && wr_kv_tokens(kv) == 2);
    wr_arena_release(&arena);
    wr_kv_close(kv);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    wr_gguf *g;
    wr_err err;
    if (wr_gguf_read(&g, input, n, "fuzz", &err)) {
        need(err.text[0] != 0);
        return 0;
    }
    read_all(g);
    wr_gguf_close(g);
    as_file(input, n);
    for (int weights_only = 0; weights_only < 2; weights_only++) {
        wr_decoder *d;
        wr_decoder_options options = {.weights_only = weights_only};
        if (wr_decoder_open(&d, path, &options, &err)) {
            need(err.text[0] != 0);
            continue;
        }
        run(d);
        wr_decoder_close(d);
    }
    return 0;
}
