/* weir model info and verify of decoders. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/json.h"
#include "data/mapfile.h"
#include "models/decoder.h"
#include "models/decoder_verify.h"
#include "models/gguf.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"

extern const struct wr_command wr_cmd_model;

/* Runs `weir model VERB PATH [--json]` and gives its exit status. */
static int model(const char *verb, const char *path, bool json)
{
    char *argv[] = {"model", (char *)(uintptr_t)verb, (char *)(uintptr_t)path, "--json"};
    int status = wr_cmd_model.run(json ? 4 : 3, argv);
    fflush(stdout), fflush(stderr);
    return status;
}

static char *printed(void)
{
    static char text[8192];
    text[fread(text, 1, sizeof text - 1, cr_get_redirected_stdout())] = 0;
    return text;
}

static void complains(const char *word)
{
    char text[1024];
    text[fread(text, 1, sizeof text - 1, cr_get_redirected_stderr())] = 0;
    cr_assert(strstr(text, word), "\"%s\" without \"%s\"", text, word);
    cr_assert(strchr(text, '\n') && !strchr(text, '\n')[1], "one line: %s", text);
}

static void redirect(void)
{
    cr_redirect_stdout();
    cr_redirect_stderr();
}

static const char *gguf(wr_block_type format)
{
    const char *path = wr_test_path("tiny.gguf");
    wr_test_decoder d = {.type = "mistral", .seed = 7, .format = format, .window = 64, .dim = 256, .ffn = 256};
    wr_test_decoder_write_gguf(path, &d);
    return path;
}

/* Writes m bytes so far behind the place where the file first says `from`. */
static void patch(const char *path, const char *from, size_t behind, const void *to, size_t m)
{
    char *bytes, *at;
    size_t size;
    wr_err err;
    cr_assert_eq(wr_file_read(path, 1 << 26, &bytes, &size, &err), WR_OK, "%s", err.text);
    cr_assert_not_null(at = memmem(bytes, size, from, strlen(from)));
    memcpy(at + behind, to, m);
    cr_assert_eq(wr_file_replace(path, bytes, size, &err), WR_OK, "%s", err.text);
    free(bytes);
}

/* Writes n bytes where a row of a tensor begins. */
static void patch_tensor(const char *path, const char *name, size_t row, const void *bytes, size_t n)
{
    wr_gguf *g;
    wr_err err;
    size_t size, data_at, row_bytes;
    cr_assert_eq(wr_gguf_open(&g, path, &err), WR_OK, "%s", err.text);
    const wr_blocks *w = wr_gguf_tensor(g, name);
    cr_assert_not_null(w);
    wr_blocks_bytes(w->type, 1, w->in, &row_bytes);
    const unsigned char *all = wr_gguf_bytes(g, &size, &data_at);
    long at = (long)((const unsigned char *)w->data - all) + (long)(row * row_bytes);
    wr_gguf_close(g);
    FILE *f = fopen(path, "r+b");
    cr_assert(f && !fseek(f, at, SEEK_SET) && fwrite(bytes, 1, n, f) == n && !fclose(f));
}

Test(model_decoder, info_says_what_a_file_is, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_Q8_0);
    wr_decoder *d;
    wr_err err;
    char want[2048];
    cr_assert_eq(wr_decoder_open(&d, path, NULL, &err), WR_OK, "%s", err.text);
    const wr_decoder_info *info = wr_decoder_info_get(d);
    size_t matrices = 2 * 320 * 256 + 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 256), norms = 5 * 256;
    snprintf(want, sizeof want,
             "model         %s\n"
             "kind          decoder\n"
             "architecture  llama, llama\n"
             "shape         2 layers, 256 dimensions, 4 heads of 64, 2 of keys and values, feed-forward 256\n"
             "attention     64 tokens back in 2 of 2 layers\n"
             "positions     4096, RoPE of base 10000, scaling none\n"
             "vocabulary    320 tokens, a head of its own\n"
             "parameters    %zu\n"
             "weights       Q8_0 %.1f MB; 21 tensors in 1 file of %.1f MB\n"
             "tokenizer     byte-level BPE, %zu tokens\n"
             "template      of the model\n"
             "windows       of up to 26 passages, ordered by one token\n"
             "sha256        %s\n",
             info->path, matrices + norms, (double)matrices * 34 / 32 / 1e6, (double)info->file_bytes / 1e6,
             wr_tokenizer_vocab_size(wr_decoder_tokenizer(d)), info->sha256);
    wr_decoder_close(d);
    cr_assert_eq(model("info", path, false), 0);
    cr_assert_str_eq(printed(), want);
}

Test(model_decoder, info_in_json_has_every_size, .init = redirect)
{
    const char *dir = wr_test_path("qwen");
    wr_test_decoder d = {.type = "qwen3", .seed = 1, .format = WR_BLOCK_BF16, .head_dim = 16, .tied = true};
    wr_test_decoder_write(dir, &d);
    cr_assert_eq(model("info", dir, true), 0);
    const char *text = printed();
    json_t *got;
    wr_err err;
    cr_assert_eq(wr_json_parse(&got, text, strlen(text), "info", &err), WR_OK, "%s", err.text);
    const char *kind, *type, *architecture, *scaling, *format, *tokenizer, *of, *sha256;
    int layers, dim, heads, kv_heads, head_dim, ffn, vocab, positions, window, tied, template, tokens, passages;
    double base, factor;
    json_t *weights;
    cr_assert_eq(json_unpack(got, "{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b,s:s,s:o}", "kind", &kind,
                             "model_type", &type, "architecture", &architecture, "layers", &layers, "dim", &dim, "heads",
                             &heads, "kv_heads", &kv_heads, "head_dim", &head_dim, "ffn", &ffn, "vocab", &vocab,
                             "positions", &positions, "window", &window, "tied", &tied, "format", &format, "weights",
                             &weights),
                 0);
    cr_assert_eq(json_unpack(got, "{s:{s:f,s:s,s:f},s:{s:s,s:i},s:b,s:i,s:s,s:s}", "rope", "base", &base, "scaling", &scaling,
                             "factor", &factor, "tokenizer", "kind", &tokenizer, "tokens", &tokens, "chat_template",
                             &template, "window_passages", &passages, "sha256", &sha256, "sha256_of", &of),
                 0);
    cr_assert(!strcmp(kind, "decoder") && !strcmp(type, "qwen3") && !strcmp(architecture, "Qwen3ForCausalLM"));
    cr_assert(layers == 2 && dim == 64 && heads == 4 && kv_heads == 2 && head_dim == 16 && ffn == 128 && vocab == 320);
    cr_assert(positions == 4096 && window == 0 && tied && template && tokens > 256 && tokens <= vocab);
    cr_assert_eq(passages, 26);
    cr_assert(!strcmp(format, "BF16") && json_object_size(weights) == 1 && json_object_get(weights, "BF16"));
    cr_assert(!strcmp(scaling, "none") && base == 10000 && factor == 1 && !strcmp(of, "all") && strlen(sha256) == 64);
    cr_assert_str_eq(tokenizer, "byte-level BPE");
    json_decref(got);
}

Test(model_decoder, info_knows_how_positions_are_scaled, .init = redirect)
{
    const char *dir = wr_test_path("llama");
    wr_test_decoder d = {.type = "llama", .seed = 1, .format = WR_BLOCK_F32};
    d.more = ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
             "\"original_max_position_embeddings\":1024}";
    wr_test_decoder_write(dir, &d);
    cr_assert_eq(model("info", dir, false), 0);
    const char *text = printed();
    cr_assert(strstr(text, "\npositions     4096, RoPE of base 10000, scaling llama3 by 8\n"), "%s", text);
    cr_assert(strstr(text, "\nattention     all tokens before\n"), "%s", text);
}

Test(model_decoder, a_file_is_found_by_its_name, .init = redirect)
{
    gguf(WR_BLOCK_Q4_0);
    setenv("WEIR_MODELS", wr_test_dir(), 1);
    cr_assert_eq(model("info", "tiny", false), 0);
    cr_assert(strstr(printed(), "/tiny.gguf\nkind          decoder\n"));
}

/* A tokenizer that is not known: the weights are described, and the exit status tells that the model is of no use. */
Test(model_decoder, info_says_what_is_refused, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_F16);
    patch(path, "gpt2", 0, "gptX", 4);
    cr_assert_eq(model("info", path, false), 4);
    char *text = printed();
    cr_assert(strstr(text, "weights       F16") && strstr(text, "sha256") && !strstr(text, "tokenizer"), "%s", text);
    complains("tiny.gguf: tokenizer.ggml.model \"gptX\"");
}

Test(model_decoder, info_of_a_damaged_file_is_a_refusal, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_F16);
    patch(path, "llama.block_count", 17 + 4, "\xff\xff\xff\xff", 4); /* behind the name its type */
    cr_assert_eq(model("info", path, false), 4);
    cr_assert_str_eq(printed(), "");
    complains("llama.block_count");
}

/* Without a byte of its format it is still refused as a decoder's file. */
Test(model_decoder, a_file_that_is_no_gguf_says_so, .init = redirect)
{
    cr_assert_eq(model("info", wr_test_text("some.gguf", "GGXX"), false), 4);
    complains("some.gguf: neither a folder nor a GGUF file");
}

Test(model_decoder, verify_reads_all_and_compares_runs, .init = redirect)
{
    cr_assert_eq(model("verify", gguf(WR_BLOCK_Q4_K), false), 0);
    const char *text = printed();
    cr_assert(strstr(text, "in order: 21 tensors of finite numbers; the same logits behind 320 tokens"), "%s", text);
}

Test(model_decoder, verify_of_a_folder_in_json, .init = redirect)
{
    const char *dir = wr_test_path("model");
    wr_test_decoder d = {.type = "qwen2", .seed = 2, .format = WR_BLOCK_F16, .positions = 40};
    wr_test_decoder_write(dir, &d);
    cr_assert_eq(model("verify", dir, true), 0);
    json_t *got;
    wr_err err;
    const char *text = printed(), *missed;
    int reproduced, tensors, tokens;
    cr_assert_eq(wr_json_parse(&got, text, strlen(text), "verify", &err), WR_OK, "%s", err.text);
    cr_assert_eq(json_unpack(got, "{s:b,s:s,s:i,s:i}", "reproduced", &reproduced, "missed", &missed, "tensors", &tensors,
                             "tokens", &tokens),
                 0);
    cr_assert(reproduced && !*missed && tensors == 27 && tokens == 40, "%s", text);
    json_decref(got);
}

Test(model_decoder, verify_names_the_row_that_is_not_finite, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_Q8_0);
    patch_tensor(path, "blk.1.ffn_down.weight", 77, "\x00\x7e", 2); /* a scale that is NaN */
    cr_assert_eq(model("verify", path, false), 4);
    cr_assert_str_eq(printed(), "");
    complains("tensor blk.1.ffn_down.weight: row 77 ");
}

Test(model_decoder, verify_reads_norms_too, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_F16);
    patch_tensor(path, "output_norm.weight", 0, "\x00\x00\x80\x7f", 4); /* infinite */
    cr_assert_eq(model("verify", path, false), 4);
    complains("tensor output_norm.weight: row 0 ");
}

/* Every weight is a number, their products are none. */
Test(model_decoder, a_logit_that_overflows_is_missed, .init = redirect)
{
    const char *path = gguf(WR_BLOCK_F32);
    float huge[256];
    for (size_t i = 0; i < 256; i++) huge[i] = 3e38f;
    patch_tensor(path, "output.weight", 5, huge, sizeof huge);
    cr_assert_eq(model("verify", path, false), 3);
    const char *text = printed();
    cr_assert_eq(strncmp(text, "missed: a logit", 15), 0, "%s", text);
}

Test(model_decoder, a_template_that_refuses_a_user_is_told, .init = redirect)
{
    const char *dir = wr_test_path("model");
    wr_test_decoder d = {.type = "llama", .seed = 2, .format = WR_BLOCK_F16};
    wr_test_decoder_write(dir, &d);
    wr_test_text("model/chat_template.jinja", "{{ raise_exception('only on Sundays') }}");
    cr_assert_eq(model("verify", dir, false), 4);
    complains("chat template: ");
}

Test(model_decoder, verify_has_no_collection, .init = redirect)
{
    char *argv[] = {"model", "verify", (char *)(uintptr_t)gguf(WR_BLOCK_F16), "--collection", "nowhere"};
    cr_assert_eq(wr_cmd_model.run(5, argv), 2);
}

/* What the command says does not depend on how many work: the figures of one thread and of four. */
Test(model_decoder, verify_is_the_same_by_any_number_of_threads)
{
    wr_decoder *d;
    wr_err err;
    char missed[320];
    cr_assert_eq(wr_decoder_open(&d, gguf(WR_BLOCK_Q6_K), &(wr_decoder_options){.weights_only = true}, &err), WR_OK);
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        wr_pool *pool;
        wr_decoder_verified v;
        cr_assert_eq(wr_pool_open(&pool, threads, NULL, &err), WR_OK);
        cr_assert_eq(wr_decoder_verify(d, pool, &v, missed, sizeof missed, &err), WR_OK, "%s", err.text);
        cr_assert(!*missed && v.tensors == 21 && v.tokens == WR_DECODER_VERIFY_TOKENS, "%s", missed);
        wr_pool_close(pool);
    }
    wr_decoder_close(d);
}
