/* weir rerank: texts on standard input, best first by a cross-encoder or a decoder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/json.h"
#include "indexer/topk.h"
#include "models/find.h"
#include "models/model.h"
#include "ranker/rank.h"
#include "ranker/rerank_pointwise.h"
#include "tools/rerank.h"

wr_status wr_rerank_read(wr_texts *texts, wr_err *err)
{
    wr_lines *lines;
    wr_status st = wr_lines_open(&lines, "-", err);
    if (st) return st;
    st = wr_texts_read(texts, lines, SIZE_MAX, err);
    wr_lines_close(lines);
    return st;
}

static void print_lines(const wr_texts *texts, const uint32_t *order, const float *score)
{
    for (size_t i = 0; i < texts->n; i++) printf("%s\t%.9g\n", texts->id[order[i]], (double)score[order[i]]);
}

static wr_status print_json(const wr_texts *texts, const uint32_t *order, const float *score, wr_err *err)
{
    json_t *results = json_array(), *reply = json_pack("{s:o}", "results", results);
    bool failed = !reply;
    for (size_t i = 0; i < texts->n && !failed; i++)
        failed = json_array_append_new(results,
                                       json_pack("{s:s,s:i,s:f}", "id", texts->id[order[i]], "index", (int)order[i], "score",
                                                 (double)score[order[i]])) != 0;
    failed = failed || json_dumpf(reply, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!failed) putchar('\n');
    json_decref(reply);
    return failed ? wr_fail(err, WR_EIO, "standard output: cannot be written") : WR_OK;
}

wr_status wr_rerank_print(const wr_texts *texts, const uint32_t *order, const float *score, bool json, wr_err *err)
{
    if (json) return print_json(texts, order, score, err);
    print_lines(texts, order, score);
    return WR_OK;
}

static wr_status rerank_texts(const wr_model *model, wr_pool *pool, const wr_rerank_options *args, const wr_texts *texts,
                              wr_err *err)
{
    size_t n = texts->n;
    float *score = malloc((n + 1) * sizeof *score), *sorted = malloc((n + 1) * sizeof *sorted);
    uint32_t *order = malloc((n + 1) * sizeof *order);
    bool *done = malloc(n + 1);
    wr_text query = {args->query, strlen(args->query)};
    wr_effort effort = {.exit = args->exit, .keep = (float)args->keep};
    wr_status st = score && sorted && order && done ? WR_OK : WR_ENOMEM;
    if (!st) st = wr_score_texts_with(model, &effort, pool, query, texts->text, n, NULL, score, done, NULL);
    if (st) wr_fail(err, st, "scoring: %s", wr_status_name(st));
    if (!st) {
        for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i, sorted[i] = score[i];
        wr_hits_sort(order, sorted, n); /* equal scores keep the order of the input */
        st = wr_rerank_print(texts, order, score, args->json, err);
    }
    free(score);
    free(sorted);
    free(order);
    free(done);
    return st;
}

/* What goes with decoders only. */
static wr_status check(const wr_rerank_options *args, wr_err *err)
{
    const struct { const char *name; bool given; } decoders[] = {
        {"listwise", args->listwise},           {"prompt", args->prompt},   {"logits", args->logits},
        {"chat-template", args->chat_template}, {"window", args->window > 0}, {"stride", args->stride > 0},
        {"instruction", args->instruction}, {"generate", args->generate}};
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++)
        if (decoders[i].given)
            return wr_fail(err, WR_EARG, "--%s goes with a decoder, and %s is none", decoders[i].name,
                           args->model ? args->model : "the default model");
    return WR_OK;
}

static wr_status check_effort(const wr_rerank_options *args, const wr_model *model, wr_err *err)
{
    size_t layers = wr_model_info_get(model)->layers;
    if (args->exit > layers)
        return wr_fail(err, WR_EARG, "--exit %zu: %s has %zu layers", args->exit, wr_model_info_get(model)->name, layers);
    if (args->keep >= 0.001 && args->keep <= 1) return WR_OK;
    return wr_fail(err, WR_EARG, "--keep %g: a share from 0.001 to 1 was expected", args->keep);
}

static wr_status open_model(wr_model **model, const char *given, const wr_model_options *options, wr_err *err)
{
    char found[WR_MAX_PATH];
    if (given) return wr_model_open(model, given, options, err);
    if (!wr_model_find(WR_DEFAULT_CROSS, found, err)) return wr_model_open(model, found, options, err);
    *model = NULL;
    return wr_fail_prefix(err, "--model MODEL is needed");
}

static wr_status by_cross_encoder(const wr_rerank_options *args, wr_err *err)
{
    wr_model_options options = {.precision = args->precision};
    wr_model *model = NULL;
    wr_pool *pool = NULL;
    wr_texts texts = {0};
    wr_status st = check(args, err);
    if (!st) st = open_model(&model, args->model, &options, err);
    if (!st && wr_model_info_get(model)->kind != WR_MODEL_CROSS)
        st = wr_fail(err, WR_EARG, "%s: is no cross-encoder, which was expected", wr_model_info_get(model)->path);
    if (!st) st = check_effort(args, model, err);
    if (!st) st = wr_pool_open(&pool, (unsigned)args->threads, wr_ranker_thread_start, err);
    if (!st) st = wr_rerank_read(&texts, err);
    if (!st) st = rerank_texts(model, pool, args, &texts, err);
    wr_texts_release(&texts);
    wr_pool_close(pool);
    wr_model_close(model);
    return st;
}

static wr_status rerank(const wr_rerank_options *args, wr_err *err)
{
    if (!args->query) return wr_fail(err, WR_EARG, "--query TEXT is needed");
    return (wr_rerank_is_llm(args) ? wr_rerank_llm : by_cross_encoder)(args, err);
}

static int run(int argc, char **argv)
{
    wr_rerank_options args = {.keep = 1};
    const struct wr_option options[] = {
        {"model", "MODEL", "a cross-encoder or a decoder: a Hugging Face directory or a GGUF file (" WR_DEFAULT_CROSS
         " where it is found)", WR_OPT_TEXT,
         &args.model},
        {"query", "TEXT", "what the texts are ranked for", WR_OPT_TEXT, &args.query},
        {"json", NULL, "one JSON object instead of lines", WR_OPT_FLAG, &args.json},
        {"pointwise", NULL, "one score a text, by the logits of yes and no with a decoder (a cross-encoder's default)", WR_OPT_FLAG, &args.pointwise},
        {"listwise", NULL, "a decoder orders lists, by the logits of one token (its default)", WR_OPT_FLAG, &args.listwise},
        {"prompt", "KIND", "listwise: template or paper (template); pointwise: yesno or monot5 (by the model)", WR_OPT_TEXT, &args.prompt},
        {"window", "N", "listwise: texts of a prompt (20)", WR_OPT_SIZE, &args.window},
        {"stride", "N", "listwise: texts from one window to the next (half of it)", WR_OPT_SIZE, &args.stride},
        {"logits", "KIND", "listwise: letters, or top30 as published code has them (letters)", WR_OPT_TEXT, &args.logits},
        {"generate", "KIND", "listwise, to compare with: the answer is written out, list or free", WR_OPT_TEXT, &args.generate},
        {"instruction", "TEXT", "pointwise, yesno: what relevant means (\"" WR_INSTRUCTION "\")", WR_OPT_TEXT,
         &args.instruction},
        {"chat-template", "FILE", "a chat template in the place of the decoder's own", WR_OPT_TEXT, &args.chat_template},
        {"precision", "P", "arithmetic: fp32, bf16 or int8 (as the model is stored; a decoder always is)", WR_OPT_TEXT, &args.precision},
        {"exit", "L", "layers to run (all)", WR_OPT_SIZE, &args.exit},
        {"keep", "S", "share of the tokens that go on to the last layer (1)", WR_OPT_DOUBLE, &args.keep},
        {"threads", "N", "workers (all that the process may use)", WR_OPT_SIZE, &args.threads},
        {0}};
    wr_err err;
    wr_status st = wr_options_parse(&wr_cmd_rerank, options, argc, argv, NULL, 0, NULL);
    if (st) return wr_exit_status(st > 0 ? WR_OK : st);
    st = rerank(&args, &err);
    return st ? wr_command_fail(&wr_cmd_rerank, st, &err) : 0;
}

const struct wr_command wr_cmd_rerank = {
    "rerank", "weir rerank [--model MODEL] --query TEXT [options] < texts",
    "scores texts on standard input (one a line, or jsonl) for a query, best first", run};
