/* weir model: what a model is and can do. */
#include <stdio.h>
#include <string.h>

#include "data/json.h"
#include "models/model.h"
#include "tools/command.h"

static const char *pooling_name(wr_pooling pooling)
{
    static const char *const name[] = {"auto", "cls", "mean", "max"};
    return name[pooling];
}

static void print_text(const wr_model_info *info)
{
    bool cross = info->kind == WR_MODEL_CROSS;
    printf("model         %s\n", info->path);
    printf("kind          %s\n", cross ? "cross-encoder" : "embedder");
    printf("architecture  %s%s%s\n", info->model_type, *info->architecture ? ", " : "", info->architecture);
    printf("shape         %zu layers, %zu dimensions, %zu heads, feed-forward %zu\n", info->layers, info->dim,
           info->heads, info->ffn);
    printf("vocabulary    %zu tokens, %zu positions\n", info->vocab, info->positions);
    printf("parameters    %zu\n", info->parameters);
    if (cross) printf("labels        %zu\n", info->nlabels);
    else printf("pooling       %s%s\n", pooling_name(info->pooling), info->normalize ? ", L2-normalised" : "");
    printf("token limit   %zu for documents, %zu for queries\n", info->max_doc_tokens, info->max_query_tokens);
    printf("sha256        %s\n", info->sha256);
}

static int print_json(const wr_model_info *info)
{
    bool cross = info->kind == WR_MODEL_CROSS;
    json_t *reply = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "path", info->path, "name", info->name, "kind",
        cross ? "cross" : "embed", "model_type", info->model_type, "architecture", info->architecture, "layers",
        (json_int_t)info->layers, "dim", (json_int_t)info->dim, "heads", (json_int_t)info->heads, "ffn",
        (json_int_t)info->ffn, "vocab", (json_int_t)info->vocab, "positions", (json_int_t)info->positions, "parameters",
        (json_int_t)info->parameters, "max_doc_tokens", (json_int_t)info->max_doc_tokens, "max_query_tokens",
        (json_int_t)info->max_query_tokens, "sha256", info->sha256);
    if (reply && cross) json_object_set_new(reply, "labels", json_integer((json_int_t)info->nlabels));
    if (reply && !cross) json_object_set_new(reply, "pooling", json_string(pooling_name(info->pooling)));
    if (reply && !cross) json_object_set_new(reply, "normalize", json_boolean(info->normalize));
    int failed = !reply || json_dumpf(reply, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(reply);
    return failed;
}

static int run(int argc, char **argv)
{
    const char *operand[2];
    size_t n = 0;
    bool json = false;
    const struct wr_option options[] = {{"json", NULL, "one JSON object", WR_OPT_FLAG, &json}, {0}};
    wr_err err;
    wr_model *model;
    wr_model_options defaults = {0};
    wr_status st = wr_options_parse(&wr_cmd_model, options, argc, argv, operand, 2, &n);
    if (st) return wr_exit_status(st > 0 ? WR_OK : st);
    if (n != 2 || strcmp(operand[0], "info")) {
        wr_fail(&err, WR_EARG, "\"info MODEL\" was expected");
        return wr_command_fail(&wr_cmd_model, WR_EARG, &err);
    }
    if ((st = wr_model_open(&model, operand[1], &defaults, &err))) return wr_command_fail(&wr_cmd_model, st, &err);
    int failed = 0;
    if (json) failed = print_json(wr_model_info_get(model));
    else print_text(wr_model_info_get(model));
    wr_model_close(model);
    return failed;
}

const struct wr_command wr_cmd_model = {"model", "weir model info MODEL [--json]",
                                        "says what a model is and can do", run};
