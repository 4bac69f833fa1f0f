/* weir model: what a model is and can do, and models made from others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/json.h"
#include "models/decoder.h"
#include "models/model.h"
#include "models/prune.h"
#include "tools/model_decoder.h"
#include "tools/model_quantize.h"

static const char *pooling_name(wr_pooling pooling)
{
    static const char *const name[] = {"auto", "cls", "mean", "max"};
    return name[pooling];
}

static const char *activation_name(wr_sparse_act act)
{
    return act == WR_SPARSE_LOG ? "ln(1 + relu)" : "ln(1 + ln(1 + relu))";
}

static void print_exits(const wr_model_info *info)
{
    if (info->nexits == 0) return;
    printf("exits         behind layers");
    for (size_t i = 0; i < info->nexits; i++) printf("%s%zu", i ? ", " : " ", info->exit_layers[i]);
    putchar('\n');
}

static void print_join(const wr_model_info *info)
{
    if (info->joins)
        printf("join          query and passage apart in %zu of %zu layers, then together\n", info->join_layer,
               info->layers);
}

static json_t *exits_json(const wr_model_info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; i < info->nexits; i++)
        json_array_append_new(list, json_integer((json_int_t)info->exit_layers[i]));
    return list;
}

static void print_text(const wr_model_info *info)
{
    static const char *const kind[] = {"embedder", "cross-encoder", "learned sparse"};
    printf("model         %s\n", info->path);
    printf("kind          %s\n", kind[info->kind]);
    printf("architecture  %s%s%s\n", info->model_type, *info->architecture ? ", " : "", info->architecture);
    printf("shape         %zu layers, %zu dimensions, %zu heads, feed-forward %zu\n", info->layers, info->dim,
           info->heads, info->ffn);
    print_exits(info);
    print_join(info);
    printf("vocabulary    %zu tokens, %zu positions\n", info->vocab, info->positions);
    printf("parameters    %zu\n", info->parameters);
    if (info->kind == WR_MODEL_CROSS)
        printf("labels        %zu\n", info->nlabels);
    else if (info->kind == WR_MODEL_SPARSE)
        printf("weights       %s; queries %s\n", activation_name(info->act),
               info->has_idf ? "by a table, without the model" : "through the model");
    else
        printf("pooling       %s%s\n", pooling_name(info->pooling), info->normalize ? ", L2-normalised" : "");
    printf("token limit   %zu for documents, %zu for queries\n", info->max_doc_tokens, info->max_query_tokens);
    printf("sha256        %s\n", info->sha256);
}

static int print_json(const wr_model_info *info)
{
    static const char *const kind[] = {"embed", "cross", "sparse"};
    bool cross = info->kind == WR_MODEL_CROSS, embed = info->kind == WR_MODEL_EMBED;
    json_t *reply = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "path", info->path,
                              "name", info->name, "kind", kind[info->kind], "model_type", info->model_type,
                              "architecture", info->architecture, "layers", (json_int_t)info->layers, "dim",
                              (json_int_t)info->dim, "heads", (json_int_t)info->heads, "ffn", (json_int_t)info->ffn,
                              "vocab", (json_int_t)info->vocab, "positions", (json_int_t)info->positions, "parameters",
                              (json_int_t)info->parameters, "max_doc_tokens", (json_int_t)info->max_doc_tokens,
                              "max_query_tokens", (json_int_t)info->max_query_tokens, "sha256", info->sha256);
    if (reply && cross) json_object_set_new(reply, "labels", json_integer((json_int_t)info->nlabels));
    if (reply && info->joins) json_object_set_new(reply, "join_layer", json_integer((json_int_t)info->join_layer));
    if (reply && embed) json_object_set_new(reply, "pooling", json_string(pooling_name(info->pooling)));
    if (reply && embed) json_object_set_new(reply, "normalize", json_boolean(info->normalize));
    if (reply && !cross && !embed) {
        json_object_set_new(reply, "activation", json_string(info->act == WR_SPARSE_LOG ? "relu" : "log1p_relu"));
        json_object_set_new(reply, "query", json_string(info->has_idf ? "idf" : "model"));
    }
    if (reply) json_object_set_new(reply, "exit_layers", exits_json(info));
    int failed = !reply || json_dumpf(reply, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(reply);
    return failed;
}

/* What the command line says. */
struct args {
    const char *model, *out;
    bool json;
    double sparsity;
    wr_quantize_args quantize;
};

static wr_status info(const struct args *args, int *exit_status, wr_err *err)
{
    wr_model *model;
    wr_model_options defaults = {0};
    if (wr_decoder_is(args->model)) return wr_model_decoder_info(args->model, args->json, err);
    wr_status st = wr_model_open(&model, args->model, &defaults, err);
    if (st) return st;
    if (args->json)
        *exit_status = print_json(wr_model_info_get(model));
    else
        print_text(wr_model_info_get(model));
    wr_model_close(model);
    return WR_OK;
}

static void print_pruned(const wr_pruned *pruned, void *arg)
{
    if (!*(const bool *)arg) {
        printf("%-56s %5zu x %-5zu %6.2f %%\n", pruned->name, pruned->out, pruned->in, 100 * pruned->sparsity);
        return;
    }
    json_t *line = json_pack("{s:s,s:I,s:I,s:f}", "tensor", pruned->name, "out", (json_int_t)pruned->out, "in",
                             (json_int_t)pruned->in, "sparsity", pruned->sparsity);
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
}

/* Opens the model first: what cannot be opened is refused by the same sentence as everywhere, and a name is found. */
static wr_status prune(const struct args *args, int *exit_status, wr_err *err)
{
    wr_model *model;
    wr_model_options defaults = {0};
    bool json = args->json;
    (void)exit_status;
    if (!args->out || !(args->sparsity >= 0 && args->sparsity <= 1))
        return wr_fail(err, WR_EARG, "prune needs --out DIR2 and --sparsity S, 0 to 1");
    wr_status st = wr_model_open(&model, args->model, &defaults, err);
    if (st) return st;
    char *path = strdup(wr_model_info_get(model)->path);
    wr_model_close(model);
    st = path ? wr_model_prune(path, args->out, args->sparsity, print_pruned, &json, err)
              : wr_fail(err, WR_ENOMEM, "out of memory");
    free(path);
    return st;
}

static wr_status quantize(const struct args *args, int *exit_status, wr_err *err)
{
    wr_quantize_args all = args->quantize;
    (void)exit_status;
    all.model = args->model, all.out = args->out, all.json = args->json;
    return wr_model_quantize(&all, err);
}

static wr_status verify(const struct args *args, int *exit_status, wr_err *err)
{
    wr_quantize_args all = args->quantize;
    all.model = args->model, all.json = args->json;
    if (wr_decoder_is(args->model)) return wr_model_decoder_verify(&all, exit_status, err);
    return wr_model_verify(&all, exit_status, err);
}

static const struct {
    const char *name;
    wr_status (*run)(const struct args *args, int *exit_status, wr_err *err);
} verbs[] = {{"info", info}, {"prune", prune}, {"quantize", quantize}, {"verify", verify}};

static int run(int argc, char **argv)
{
    const char *operand[2];
    size_t n = 0;
    struct args args = {.sparsity = -1, .quantize = {.max_loss = -1}};
    const struct wr_option options[] = {
        {"json", NULL, "JSON instead of text", WR_OPT_FLAG, &args.json},
        {"out", "DIR2", "where prune and quantize write; new or empty", WR_OPT_TEXT, &args.out},
        {"sparsity", "S", "prune this share of 4 x 1 blocks", WR_OPT_DOUBLE, &args.sparsity},
        {"like", "OTHER",
         "quantize: take the decisions of OTHER, a model of bytes of the same sizes, instead of deciding part by part; "
         "models that share an encoder then share its bytes",
         WR_OPT_TEXT, &args.quantize.like},
        {"calibrate", "FILE",
         "texts to quantize by, one a line (a cross-encoder pairs each with the lines behind it), or "
         "query<TAB>passage; "
         "the second half judges the result and stands in its certificate (texts of our own)",
         WR_OPT_TEXT, &args.quantize.calibrate},
        {"max-loss", "X",
         "root mean square of the scores' errors on these texts, as a share of their standard deviation; parts that "
         "would exceed it stay as they are (0.05: one pair of texts in sixty changes its order)",
         WR_OPT_DOUBLE, &args.quantize.max_loss},
        {"collection", "DIR", "a BEIR folder: nDCG@10 before and after goes into the certificate, or is verified",
         WR_OPT_TEXT, &args.quantize.collection},
        {"depth", "N", "how many of BM25's hits a cross-encoder reranks there (100)", WR_OPT_SIZE,
         &args.quantize.depth},
        {"threads", "N", "workers (all that the process may use)", WR_OPT_SIZE, &args.quantize.threads},
        {"progress", "KIND", "of quantize: auto, json or none (auto: a line on a terminal)", WR_OPT_TEXT,
         &args.quantize.progress},
        {0}};
    wr_err err;
    int exit_status = 0;
    wr_status st = wr_options_parse(&wr_cmd_model, options, argc, argv, operand, 2, &n);
    if (st) return wr_exit_status(st > 0 ? WR_OK : st);
    st = wr_fail(&err, WR_EARG, "\"info MODEL\", \"verify MODEL\", \"quantize MODEL\" or \"prune MODEL\" was expected");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && n == 2; i++) {
        if (strcmp(operand[0], verbs[i].name)) continue;
        args.model = operand[1];
        st = verbs[i].run(&args, &exit_status, &err);
        break;
    }
    return st ? wr_command_fail(&wr_cmd_model, st, &err) : exit_status;
}

const struct wr_command wr_cmd_model = {"model",
                                        "weir model info MODEL [--json]\n"
                                        "       weir model verify MODEL [--collection DIR] [--json]\n"
                                        "       weir model quantize MODEL --out DIR2 [--like OTHER] [--calibrate FILE] "
                                        "[--max-loss X] [--collection DIR] [--json]\n"
                                        "       weir model prune MODEL --out DIR2 --sparsity S [--json]",
                                        "says what a model is and can do, or makes another from it", run};
