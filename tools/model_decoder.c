#include "tools/model_decoder.h"

#include <stdio.h>

#include "data/json.h"
#include "data/pool.h"
#include "models/blocks.h"
#include "models/decoder.h"
#include "models/decoder_verify.h"
#include "ranker/listwise.h"

/* One sentence. */
#define MISSED 320

static void print_positions(const wr_decoder_info *info)
{
    if (info->window)
        printf("attention     %zu tokens back in %zu of %zu layers\n", info->window, info->sliding, info->layers);
    else
        printf("attention     all tokens before\n");
    /* seven digits: GGUF files have them as 32-bit floats */
    printf("positions     %zu, RoPE of base %.7g, scaling %s", info->positions, info->rope_base, info->rope_scaling);
    if (info->rope_factor > 1) printf(" by %.7g", info->rope_factor);
    putchar('\n');
}

static void print_weights(const wr_decoder_info *info)
{
    const char *comma = " ";
    printf("weights      ");
    for (size_t t = 0; t < WR_BLOCK_TYPES; t++) {
        if (!info->bytes[t]) continue;
        printf("%s%s %.1f MB", comma, wr_block_name((wr_block_type)t), (double)info->bytes[t] / 1e6);
        comma = ", ";
    }
    printf("; %zu tensors in %zu file%s of %.1f MB\n", info->tensors, info->files, info->files == 1 ? "" : "s",
           (double)info->file_bytes / 1e6);
}

/* The passages of a window that one token can order: letters of the vocabulary. */
static size_t letters_of(const wr_tokenizer *tok)
{
    wr_letters letters;
    wr_err err;
    return wr_letters_find(&letters, tok, &err) ? 0 : letters.n;
}

static void print_text(const wr_decoder *decoder)
{
    const wr_decoder_info *info = wr_decoder_info_get(decoder);
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    printf("model         %s\n", info->path);
    printf("kind          decoder\n");
    printf("architecture  %s, %s\n", info->model_type, info->architecture);
    printf("shape         %zu layers, %zu dimensions, %zu heads of %zu, %zu of keys and values, feed-forward %zu\n",
           info->layers, info->dim, info->heads, info->head_dim, info->kv_heads, info->ffn);
    print_positions(info);
    printf("vocabulary    %zu tokens, %s\n", info->vocab, info->tied ? "head and embeddings are one" : "a head of its own");
    printf("parameters    %zu\n", info->parameters);
    print_weights(info);
    if (tok) printf("tokenizer     %s, %zu tokens\n", wr_tokenizer_kind(tok), wr_tokenizer_vocab_size(tok));
    if (tok) printf("template      %s\n", wr_decoder_chat(decoder) ? "of the model" : "none");
    if (tok && letters_of(tok))
        printf("windows       of up to %zu passages, ordered by one token\n", letters_of(tok));
    else if (tok)
        printf("windows       none: the vocabulary has no letters\n");
    printf("sha256        %s%s\n", info->sha256, info->sampled ? " (of samples)" : "");
}

static json_t *weights_json(const wr_decoder_info *info)
{
    json_t *weights = json_object();
    for (size_t t = 0; t < WR_BLOCK_TYPES; t++)
        if (info->bytes[t])
            json_object_set_new(weights, wr_block_name((wr_block_type)t), json_integer((json_int_t)info->bytes[t]));
    return weights;
}

static json_t *sizes_json(const wr_decoder_info *info)
{
    const struct {
        const char *name;
        size_t n;
    } size[] = {{"layers", info->layers},       {"dim", info->dim},           {"heads", info->heads},
                {"kv_heads", info->kv_heads},   {"head_dim", info->head_dim}, {"ffn", info->ffn},
                {"vocab", info->vocab},         {"positions", info->positions},
                {"window", info->window},       {"window_layers", info->sliding},
                {"parameters", info->parameters}, {"tensors", info->tensors},
                {"files", info->files},         {"file_bytes", info->file_bytes}};
    json_t *reply = json_pack("{s:s,s:s,s:s,s:s,s:s}", "path", info->path, "name", info->name, "kind", "decoder",
                              "model_type", info->model_type, "architecture", info->architecture);
    for (size_t i = 0; reply && i < sizeof size / sizeof *size; i++)
        json_object_set_new(reply, size[i].name, json_integer((json_int_t)size[i].n));
    return reply;
}

static wr_status print_json(const wr_decoder *decoder, wr_err *err)
{
    const wr_decoder_info *info = wr_decoder_info_get(decoder);
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    json_t *reply = sizes_json(info);
    int failed = !reply || json_object_set_new(reply, "tied", json_boolean(info->tied)) ||
                 json_object_set_new(reply, "rope", json_pack("{s:f,s:s,s:f}", "base", info->rope_base, "scaling",
                                                              info->rope_scaling, "factor", info->rope_factor)) ||
                 json_object_set_new(reply, "format", json_string(info->format)) ||
                 json_object_set_new(reply, "weights", weights_json(info));
    if (!failed && tok)
        failed = json_object_set_new(reply, "tokenizer",
                                     json_pack("{s:s,s:I}", "kind", wr_tokenizer_kind(tok), "tokens",
                                               (json_int_t)wr_tokenizer_vocab_size(tok))) ||
                 json_object_set_new(reply, "chat_template", json_boolean(wr_decoder_chat(decoder) != NULL)) ||
                 json_object_set_new(reply, "window_passages", json_integer((json_int_t)letters_of(tok)));
    failed = failed || json_object_set_new(reply, "sha256", json_string(info->sha256)) ||
             json_object_set_new(reply, "sha256_of", json_string(info->sampled ? "samples" : "all")) ||
             json_dumpf(reply, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(reply);
    return failed ? wr_fail(err, WR_ENOMEM, "%s: out of memory", info->path) : WR_OK;
}

wr_status wr_model_decoder_info(const char *model, bool json, wr_err *err)
{
    wr_decoder *decoder;
    wr_err other;
    wr_status st = wr_decoder_open(&decoder, model, NULL, err), printed = WR_OK;
    if (st && wr_decoder_open(&decoder, model, &(wr_decoder_options){.weights_only = true}, &other)) return st;
    if (json)
        printed = print_json(decoder, st ? &other : err);
    else
        print_text(decoder);
    wr_decoder_close(decoder);
    return st ? st : printed;
}

static void print_result(bool json, const wr_decoder_verified *v, unsigned threads, const char *missed)
{
    char by[MISSED];
    snprintf(by, sizeof by,
             "%zu tensors of finite numbers; the same logits behind %zu tokens in one run of %u thread%s, in pieces by one, "
             "and behind kept tokens",
             v->tensors, v->tokens, threads, threads == 1 ? "" : "s");
    if (json) {
        json_t *reply = json_pack("{s:b,s:s,s:s,s:I,s:I}", "reproduced", !*missed, "by", by, "missed", missed, "tensors",
                                  (json_int_t)v->tensors, "tokens", (json_int_t)v->tokens);
        json_dumpf(reply, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(reply);
    } else if (*missed) {
        printf("missed: %s\n", missed);
    } else {
        printf("in order: %s\n", by);
    }
}

wr_status wr_model_decoder_verify(const wr_quantize_args *args, int *exit_status, wr_err *err)
{
    wr_decoder *decoder = NULL;
    wr_pool *pool = NULL;
    wr_decoder_verified verified;
    char missed[MISSED];
    if (args->collection)
        return wr_fail(err, WR_EARG, "--collection %s: a decoder has no certificate of one", args->collection);
    wr_status st = wr_decoder_open(&decoder, args->model, NULL, err);
    if (!st) st = wr_pool_open(&pool, (unsigned)args->threads, NULL, err);
    if (!st) st = wr_decoder_verify(decoder, pool, &verified, missed, sizeof missed, err);
    if (!st) {
        print_result(args->json, &verified, wr_pool_threads(pool), missed);
        if (*missed) *exit_status = 3;
    }
    wr_pool_close(pool);
    wr_decoder_close(decoder);
    return st;
}
