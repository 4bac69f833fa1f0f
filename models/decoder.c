#include "models/decoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "models/decoder_parts.h"

/* ---- finding it ---- */

/* What the user wrote, as a path; or the name of a model in one of the places; or a file or folder of that name. */
static wr_status locate(const char *name, char *out, wr_err *err)
{
    wr_err looked;
    bool is_path = strchr(name, '/');
    if (strlen(name) >= WR_MAX_PATH) return wr_fail(err, WR_EARG, "the model's path is too long");
    if (!is_path && !wr_model_find(name, out, &looked)) return WR_OK;
    strcpy(out, name);
    if (wr_path_exists(out)) return WR_OK;
    if (is_path) return wr_fail(err, WR_ENOTFOUND, "%s: no such model", name);
    return wr_fail(err, WR_ENOTFOUND, "%s (a file is written with a slash, as in ./%s)", looked.text, name);
}

bool wr_decoder_is(const char *path)
{
    char found[WR_MAX_PATH];
    if (locate(path, found, NULL)) return false;
    if (wr_path_is_dir(found)) return wr_decoder_config_is(found);
    size_t n = strlen(found);
    return wr_gguf_is(found) || (n > 5 && !strcmp(found + n - 5, ".gguf"));
}

/* ---- its hash ---- */

/* Weights are hashed this much at a time and their pages given back: what is in memory is what a pass needs. */
#define HASH_STEP ((size_t)1 << 20)
#define HASH_SAMPLES 256

static void give_back(const wr_decoder *d)
{
    if (d->tensors) wr_tensors_give_back(d->tensors);
    if (d->gguf) wr_gguf_give_back(d->gguf);
}

static void hash_head(wr_sha256 *hash, const char *name, size_t n)
{
    char head[WR_MAX_PATH + 32];
    int length = snprintf(head, sizeof head, "%s %zu\n", name, n);
    wr_sha256_add(hash, head, (size_t)length);
}

/* data_at: where its data begin. */
static void hash_weights(wr_decoder *d, wr_sha256 *hash, const char *name, const unsigned char *bytes, size_t n,
                         size_t data_at)
{
    size_t step = HASH_STEP, data = n - data_at;
    hash_head(hash, name, n);
    d->info.file_bytes += n;
    d->info.files++;
    bool sampled = n > WR_DECODER_HASH_WHOLE && data > HASH_SAMPLES * step;
    d->info.sampled |= sampled;
    for (size_t at = 0, end = sampled ? data_at : n; at < end; at += step) {
        wr_sha256_add(hash, bytes + at, end - at < step ? end - at : step);
        if (at / step % 16 == 15) give_back(d);
    }
    for (size_t i = 0; i < HASH_SAMPLES && sampled; i++) {
        size_t at = i + 1 < HASH_SAMPLES ? (data - step) / (HASH_SAMPLES - 1) * i : data - step;
        wr_sha256_add(hash, bytes + data_at + at, step);
        if (i % 16 == 15) give_back(d);
    }
    give_back(d);
}

static wr_status hash_file(wr_sha256 *hash, const char *dir, const char *name, wr_err *err)
{
    char path[WR_MAX_PATH];
    wr_map map;
    if (wr_path_join(path, sizeof path, dir, name) || !wr_path_exists(path)) return WR_OK;
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    hash_head(hash, name, map.size);
    if (map.size) wr_sha256_add(hash, map.bytes, map.size);
    wr_map_close(&map);
    return WR_OK;
}

/* Where the data of a safetensors file begin; the file was read, so its header is sound. */
static size_t data_of(const unsigned char *bytes, size_t n)
{
    uint64_t header = 0;
    if (n >= sizeof header) memcpy(&header, bytes, sizeof header);
    return header <= n - 8 ? 8 + (size_t)header : 0;
}

static wr_status hash_directory(wr_decoder *d, wr_sha256 *hash, wr_err *err)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
                                        "special_tokens_map.json", "chat_template.jinja"};
    wr_status st = WR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !st; i++) st = hash_file(hash, d->path, names[i], err);
    for (size_t i = 0; i < wr_tensors_nfiles(d->tensors) && !st; i++) {
        const void *bytes;
        size_t n;
        const char *name = wr_tensors_file(d->tensors, i, &bytes, &n);
        hash_weights(d, hash, name, bytes, n, data_of(bytes, n));
    }
    return st;
}

static wr_status hash_model(wr_decoder *d, wr_err *err)
{
    wr_status st = WR_OK;
    wr_sha256 *hash = wr_sha256_new();
    if (!hash) return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    if (d->gguf) {
        size_t n, data_at;
        const unsigned char *bytes = wr_gguf_bytes(d->gguf, &n, &data_at);
        hash_weights(d, hash, "gguf", bytes, n, data_at);
    } else {
        st = hash_directory(d, hash, err);
    }
    wr_sha256_finish(hash, d->info.sha256);
    return st;
}

/* ---- opening ---- */

static void describe(wr_decoder *d)
{
    static const char *const scaling[] = {"none", "linear", "llama3"};
    const wr_decoder_config *c = &d->config;
    wr_decoder_info *info = &d->info;
    const char *slash = strrchr(d->path, '/');
    info->path = d->path;
    info->name = slash ? slash + 1 : d->path;
    info->model_type = c->model_type;
    info->architecture = c->architecture;
    info->layers = c->layers;
    info->dim = c->dim;
    info->heads = c->heads;
    info->kv_heads = c->kv_heads;
    info->head_dim = c->head_dim;
    info->ffn = c->ffn;
    info->vocab = c->vocab;
    info->positions = c->positions;
    info->window = c->window;
    for (size_t i = 0; i < c->layers && c->window; i++) info->sliding += c->slides[i];
    info->rope_base = c->rope.base;
    info->rope_scaling = scaling[c->rope.kind];
    info->rope_factor = c->rope.kind == WR_ROPE_PLAIN ? 1 : c->rope.factor;
}

static wr_status open_files(wr_decoder *d, wr_err *err)
{
    wr_status st;
    if (wr_path_is_dir(d->path)) {
        st = wr_decoder_config_read(&d->config, d->path, err);
        return st ? st : wr_tensors_open(&d->tensors, d->path, err);
    }
    if (!wr_gguf_is(d->path)) return wr_fail(err, WR_EFORMAT, "%s: neither a folder nor a GGUF file", d->path);
    st = wr_gguf_open(&d->gguf, d->path, err);
    return st ? st : wr_decoder_config_gguf(&d->config, d->gguf, d->path, err);
}

/* What a GGUF file's metadata are refused for does not say which file they are of. */
static wr_status name_file(const wr_decoder *d, wr_status st, wr_err *err)
{
    if (st && d->gguf) wr_fail_prefix(err, "%s", d->path);
    return st;
}

static wr_status open_tokenizer(wr_decoder *d, wr_err *err)
{
    wr_status st = d->gguf ? wr_tokenizer_open_gguf(&d->tokenizer, d->gguf, err)
                           : wr_tokenizer_open(&d->tokenizer, d->path, err);
    if (st) return name_file(d, st, err);
    size_t n = wr_tokenizer_vocab_size(d->tokenizer);
    if (n <= d->config.vocab) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: the tokenizer has %zu tokens, the model embeds %zu", d->path, n,
                   d->config.vocab);
}

static wr_status open_texts(wr_decoder *d, const wr_decoder_options *options, wr_err *err)
{
    const char *file = options->chat_template;
    wr_status st = open_tokenizer(d, err);
    if (st) return st;
    st = d->gguf ? wr_chat_open_gguf(&d->chat, d->gguf, file, err) : wr_chat_open(&d->chat, d->path, file, err);
    if (st == WR_ENOTFOUND && !file) return WR_OK;
    return file ? st : name_file(d, st, err);
}

static wr_status check_options(wr_decoder *d, const wr_decoder_options *options, wr_err *err)
{
    if (options->precision && strcmp(options->precision, "stored"))
        return wr_fail(err, WR_EUNSUPPORTED, "precision %s: a decoder's weights are multiplied as they are stored",
                       options->precision);
    if (options->max_tokens > d->info.positions)
        return wr_fail(err, WR_EARG, "%s: sequences of %zu tokens, the model has %zu positions", d->path,
                       options->max_tokens, d->info.positions);
    if (options->max_tokens) d->info.positions = options->max_tokens;
    return WR_OK;
}

static wr_status open_all(wr_decoder *d, const wr_decoder_options *options, wr_err *err)
{
    wr_status st = open_files(d, err);
    if (st) return st;
    describe(d);
    if ((st = check_options(d, options, err)) || (st = wr_decoder_read(d, err))) return st;
    d->info.tied = d->config.tied;
    d->info.tensors = d->nread;
    if (!options->weights_only && (st = open_texts(d, options, err))) return st;
    return hash_model(d, err);
}

wr_status wr_decoder_open(wr_decoder **decoder, const char *name_or_path, const wr_decoder_options *options, wr_err *err)
{
    static const wr_decoder_options defaults;
    char found[WR_MAX_PATH];
    *decoder = NULL;
    wr_status st = locate(name_or_path, found, err);
    if (st) return st;
    wr_decoder *d = calloc(1, sizeof *d);
    if (!d) return wr_fail(err, WR_ENOMEM, "%s: out of memory", found);
    if (!realpath(found, d->path))
        st = wr_fail(err, WR_EIO, "%s: no absolute path for it", found);
    else
        st = open_all(d, options ? options : &defaults, err);
    if (st) {
        wr_decoder_close(d);
        return st;
    }
    *decoder = d;
    return WR_OK;
}

void wr_decoder_close(wr_decoder *d)
{
    if (!d) return;
    wr_chat_close(d->chat);
    wr_tokenizer_close(d->tokenizer);
    for (size_t i = 0; i < d->nowned; i++) free(d->owned[i]);
    free(d->owned);
    free(d->layer);
    free(d->turn);
    wr_tensors_close(d->tensors);
    wr_gguf_close(d->gguf);
    free(d);
}

const wr_decoder_info *wr_decoder_info_get(const wr_decoder *decoder)
{
    return &decoder->info;
}

const wr_tokenizer *wr_decoder_tokenizer(const wr_decoder *decoder)
{
    return decoder->tokenizer;
}

const wr_chat *wr_decoder_chat(const wr_decoder *decoder)
{
    return decoder->chat;
}

void wr_decoder_prune_last(wr_decoder *decoder, bool prune)
{
    atomic_store(&decoder->whole, !prune);
}

/* ---- how fast it is ---- */

/* A new measurement counts a quarter: a run is long, and what else the machine does changes from one to the next. */
#define SPEED_SHIFT 2

/* Of a run that was stopped before a quarter was done most of the time went into beginning it: pages that are touched for the
 * first time, a crew that gathers. It would seem to be thirty times as slow. */
#define LEARN_SHARE 0.25

static size_t speed_class(size_t n)
{
    size_t halvings = 0;
    while (n >>= 1) halvings++;
    return halvings < WR_DECODER_SPEEDS ? halvings : WR_DECODER_SPEEDS - 1;
}

/* Constant to its users; what it learns about speed is its own. */
void wr_decoder_learn(const wr_decoder *decoder, size_t n, double share, uint64_t ns)
{
    _Atomic uint64_t *speed = &((wr_decoder *)(uintptr_t)decoder)->speed[speed_class(n)];
    if (!(share >= LEARN_SHARE)) return;
    double all = (double)ns / (share * (double)n);
    uint64_t each = all > 1 ? (uint64_t)all : 1, old = atomic_load_explicit(speed, memory_order_relaxed), new;
    do new = old ? old - (old >> SPEED_SHIFT) + (each >> SPEED_SHIFT) : each;
    while (
        !atomic_compare_exchange_weak_explicit(speed, &old, new ? new : 1, memory_order_relaxed, memory_order_relaxed));
}

/* By the nearest class that was measured, of two equally near the shorter, which promises less. */
uint64_t wr_decoder_predict_ns(const wr_decoder *decoder, size_t ntok)
{
    size_t at = speed_class(ntok);
    for (size_t away = 0; away < WR_DECODER_SPEEDS; away++) {
        uint64_t less = at >= away ? atomic_load_explicit(&decoder->speed[at - away], memory_order_relaxed) : 0;
        uint64_t more = at + away < WR_DECODER_SPEEDS
                            ? atomic_load_explicit(&decoder->speed[at + away], memory_order_relaxed)
                            : 0;
        if (less || more) return (less ? less : more) * ntok;
    }
    return 0;
}
