#include "tools/model_quantize.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "data/pool.h"
#include "models/certificate.h"
#include "models/model.h"
#include "models/quantize.h"
#include "models/safetensors_write.h"
#include "tools/quality.h"

/* Candidates of a cross-encoder: the usual depth behind BM25. */
#define DEPTH 100

/* ---- progress ---- */

enum progress { SILENT, LINE, JSON_LINES };

static void show(void *arg, size_t run, size_t runs)
{
    enum progress kind = *(enum progress *)arg;
    if (kind == LINE) fprintf(stderr, "\r\033[Krun %zu of about %zu", run, runs);
    if (kind == JSON_LINES) fprintf(stderr, "{\"run\": %zu, \"runs\": %zu}\n", run, runs);
}

static wr_status read_progress(const char *text, enum progress *kind, wr_err *err)
{
    *kind = SILENT;
    if (!text || !strcmp(text, "auto"))
        *kind = isatty(STDERR_FILENO) ? LINE : SILENT;
    else if (!strcmp(text, "json"))
        *kind = JSON_LINES;
    else if (strcmp(text, "none"))
        return wr_fail(err, WR_EARG, "--progress %s: expected auto, json or none", text);
    return WR_OK;
}

/* ---- quantize ---- */

/* What stays open while a model is quantised. */
typedef struct work {
    const wr_quantize_args *args;
    wr_pool *pool;
    char *source;                                           /* the model's absolute folder */
    char *like, like_name[128], like_sha256[WR_SHA256_HEX]; /* the other model's, where decisions are taken over */
    wr_model_kind kind;
    wr_probe calibration, held_out;
    char calibration_from[300], held_out_from[300];
    double max_loss;
    wr_quant quant;
    json_t *certificate;
} work;

static wr_status check(work *w, wr_err *err)
{
    const wr_quantize_args *a = w->args;
    w->max_loss = a->max_loss < 0 ? WR_QUANTIZE_MAX_LOSS : a->max_loss;
    if (!a->out) return wr_fail(err, WR_EARG, "quantize needs --out DIR2");
    if (!isfinite(w->max_loss)) return wr_fail(err, WR_EARG, "--max-loss: a number was expected");
    if (a->threads > 1024) return wr_fail(err, WR_EARG, "--threads %zu: at most 1024", a->threads);
    return wr_model_dir_vacant(a->out, err);
}

/* Finds the model, and refuses what cannot be opened by the same sentence as everywhere. */
static wr_status find_source(work *w, wr_err *err)
{
    wr_model *model;
    wr_status st = wr_model_open(&model, w->args->model, NULL, err);
    if (st) return st;
    w->kind = wr_model_info_get(model)->kind;
    w->source = strdup(wr_model_info_get(model)->path);
    wr_model_close(model);
    return w->source ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
}

/* The same of the model whose decisions are taken over. */
static wr_status find_like(work *w, wr_err *err)
{
    wr_model *model;
    if (!w->args->like) return WR_OK;
    wr_status st = wr_model_open(&model, w->args->like, NULL, err);
    if (st) return wr_fail_prefix(err, "--like");
    const wr_model_info *info = wr_model_info_get(model);
    snprintf(w->like_name, sizeof w->like_name, "%s", info->name);
    snprintf(w->like_sha256, sizeof w->like_sha256, "%s", info->sha256);
    w->like = strdup(info->path);
    wr_model_close(model);
    return w->like ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
}

static wr_status read_texts(work *w, wr_err *err)
{
    const char *file = w->args->calibrate, *slash = file ? strrchr(file, '/') : NULL;
    snprintf(w->calibration_from, sizeof w->calibration_from, "our own texts");
    snprintf(w->held_out_from, sizeof w->held_out_from, "our own texts, others than those of the calibration");
    if (!file) return wr_probe_own(&w->calibration, &w->held_out, w->kind, err);
    snprintf(w->calibration_from, sizeof w->calibration_from, "first half of %.200s", slash ? slash + 1 : file);
    snprintf(w->held_out_from, sizeof w->held_out_from, "second half of %.200s", slash ? slash + 1 : file);
    return wr_probe_read(&w->calibration, &w->held_out, w->kind, file, err);
}

/* Takes the other model's decisions, if they keep within the limit. */
static wr_status adopt(work *w, enum progress *progress, wr_err *err)
{
    wr_status st = wr_quant_adopt(&w->quant, w->source, w->like, &w->calibration, w->pool, show, progress, err);
    if (st) return wr_fail_prefix(err, "--like");
    if (w->quant.loss <= w->max_loss) return WR_OK;
    return wr_fail(err, WR_EARG, "--max-loss %g: %s as bytes like %s loses %.4f", w->max_loss, w->source, w->like,
                   w->quant.loss);
}

/* Decides part by part. */
static wr_status choose(work *w, enum progress *progress, wr_err *err)
{
    size_t bytes = 0;
    wr_status st = wr_quant_decide(&w->quant, w->source, &w->calibration, w->max_loss, w->pool, show, progress, err);
    for (size_t i = 0; i < w->quant.n; i++) bytes += w->quant.part[i].bytes;
    if (st || bytes) return st;
    return wr_fail(err, WR_EARG, "--max-loss %g: no part of %s can be bytes within it (all of them: %.4f)", w->max_loss,
                   w->source, w->quant.all_loss);
}

static wr_status decide(work *w, wr_err *err)
{
    enum progress progress;
    wr_status st = read_progress(w->args->progress, &progress, err);
    if (st) return st;
    st = w->like ? adopt(w, &progress, err) : choose(w, &progress, err);
    if (progress == LINE) fputs("\r\033[K", stderr);
    return st;
}

/* The collection's entry in the certificate. */
static wr_status add_collection(work *w, wr_err *err)
{
    const wr_quantize_args *a = w->args;
    size_t depth = a->depth ? a->depth : DEPTH;
    wr_quality fp32 = {0}, int8 = {0};
    wr_status st = wr_quality_measure(&fp32, a->collection, w->source, "fp32", w->kind, depth, a->threads, err);
    if (!st) st = wr_quality_measure(&int8, a->collection, a->out, NULL, w->kind, depth, a->threads, err);
    if (!st && json_object_set_new(w->certificate, "collection", wr_quality_compare(a->collection, &fp32, &int8)))
        st = wr_fail(err, WR_ENOMEM, "collection %s: out of memory, or a name is no UTF-8", a->collection);
    wr_quality_release(&fp32);
    wr_quality_release(&int8);
    return st;
}

static wr_status certify(work *w, wr_err *err)
{
    const wr_certificate_facts facts = {.quant = &w->quant,
                                        .calibration = &w->calibration,
                                        .held_out = &w->held_out,
                                        .calibration_from = w->calibration_from,
                                        .held_out_from = w->held_out_from,
                                        .max_loss = w->max_loss,
                                        .like_name = w->like ? w->like_name : NULL,
                                        .like_sha256 = w->like_sha256};
    wr_status st = wr_certificate_make(&w->certificate, &facts, w->source, w->args->out, w->pool, err);
    if (!st && w->args->collection) st = add_collection(w, err);
    return st ? st : wr_certificate_write(w->certificate, w->args->out, err);
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_agreement(const json_t *f)
{
    printf("loss %.4f, Spearman %.4f, Kendall's tau %.4f", real(f, "loss"), real(f, "spearman"),
           real(f, "kendall_tau"));
    if (json_is_number(json_object_get(f, "top10_overlap"))) printf(", top 10 kept %.4f", real(f, "top10_overlap"));
    putchar('\n');
}

static void print_figures(const json_t *certificate)
{
    const json_t *f = json_object_get(certificate, "figures"), *c = json_object_get(certificate, "collection");
    const json_t *exits = json_object_get(certificate, "exits");
    printf("held out      ");
    print_agreement(f);
    for (size_t i = 0; i < json_array_size(exits); i++) {
        printf("exit %-9d", (int)json_integer_value(json_object_get(json_array_get(exits, i), "layer")));
        print_agreement(json_array_get(exits, i));
    }
    printf("score error   mean %.5f, largest %.5f\n", real(f, "mean_error"), real(f, "max_error"));
    if (c)
        printf("%-13s nDCG@10 %.4f, fp32 %.4f (%s, %d topics)\n", json_string_value(json_object_get(c, "name")),
               real(c, "ndcg10_int8"), real(c, "ndcg10_fp32"), json_string_value(json_object_get(c, "pipeline")),
               (int)json_integer_value(json_object_get(c, "topics")));
}

static void print_parts(const work *w)
{
    size_t bytes = 0, scaled = 0;
    for (size_t i = 0; i < w->quant.n; i++) {
        const wr_quant_part *p = &w->quant.part[i];
        bytes += p->bytes;
        scaled += p->bytes && p->migrate;
    }
    printf("%s: %zu of %zu parts as bytes, %zu of them with an input scale\n", w->args->out, bytes, w->quant.n, scaled);
    if (w->like) printf("decisions     of %s, %.12s\n", w->like_name, w->like_sha256);
    for (size_t i = 0; i < w->quant.n; i++) {
        const wr_quant_part *p = &w->quant.part[i];
        if (p->bytes) continue;
        printf("as stored     %s%s", p->name[0], p->nnames > 1 ? " and value" : "");
        if (!w->like) printf(" (alone it costs %.4f)", p->alone);
        putchar('\n');
    }
}

static void print_summary(const work *w)
{
    const json_t *source = json_object_get(w->certificate, "source"),
                 *result = json_object_get(w->certificate, "result");
    print_parts(w);
    printf("weights       %.1f MB, %.1f before\n", real(result, "weight_bytes") / 1e6,
           real(source, "weight_bytes") / 1e6);
    printf("calibration   loss %.4f of %.4f allowed", w->quant.loss, w->max_loss);
    if (!w->like) printf(" (with every part as bytes %.4f)", w->quant.all_loss);
    putchar('\n');
    print_figures(w->certificate);
}

static void release(work *w)
{
    json_decref(w->certificate);
    wr_quant_release(&w->quant);
    wr_probe_release(&w->calibration);
    wr_probe_release(&w->held_out);
    wr_pool_close(w->pool);
    free(w->source);
    free(w->like);
}

wr_status wr_model_quantize(const wr_quantize_args *args, wr_err *err)
{
    work w = {.args = args};
    bool existed = args->out && wr_path_is_dir(args->out), written = false;
    wr_status st = check(&w, err);
    if (!st) st = find_source(&w, err);
    if (!st) st = find_like(&w, err);
    if (!st) st = read_texts(&w, err);
    if (!st) st = wr_pool_open(&w.pool, (unsigned)args->threads, wr_model_thread_init, err);
    if (!st) st = decide(&w, err);
    if (!st) st = wr_quant_write(&w.quant, w.source, args->out, err);
    written = !st;
    if (!st) st = certify(&w, err);
    if (!st && args->json) {
        json_dumpf(w.certificate, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else if (!st) {
        print_summary(&w);
    }
    if (st && written) {
        wr_dir_remove(args->out, NULL);
        if (existed) wr_dir_make(args->out, NULL);
    }
    release(&w);
    return st;
}
