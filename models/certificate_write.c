#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "data/version.h"
#include "models/certificate.h"
#include "models/certificate_figures.h"
#include "models/model_config.h"
#include "models/safetensors.h"

/* ---- pieces ---- */

static json_t *number(double value)
{
    return json_real(wr_certificate_round(value));
}

static json_t *figures_json(const wr_agreement *agreement)
{
    double figure[WR_FIGURES];
    json_t *out = json_object();
    wr_figures_of(agreement, figure);
    for (size_t i = 0; i < WR_FIGURES; i++)
        json_object_set_new(out, wr_figure_name[i], figure[i] == -1 ? json_null() : json_real(figure[i]));
    return out;
}

/* The square root of a square that may have come out negative. */
static double root(double square)
{
    return square < 0 ? -sqrt(-square) : sqrt(square);
}

/* Of a decision that was taken over it is not known what it costs. */
static json_t *part_json(const wr_certificate_facts *f, const wr_quant_part *p)
{
    char why[160];
    bool adopted = f->quant->adopted;
    json_t *names = json_array();
    for (size_t i = 0; i < p->nnames; i++) json_array_append_new(names, json_string(p->name[i]));
    json_t *out = json_pack("{s:o,s:s}", "tensors", names, "precision", p->bytes ? "int8" : "as stored");
    if (!adopted) {
        json_object_set_new(out, "loss_alone", number(p->alone));
        json_object_set_new(out, "loss_added", number(root(p->added)));
    }
    if (p->migrate && p->bytes && !adopted) json_object_set_new(out, "input_scale_exponent", json_real(p->exponent));
    if (p->bytes) return out;
    if (adopted)
        snprintf(why, sizeof why, "the model whose decisions were taken over keeps it as stored");
    else
        snprintf(why, sizeof why, "with the parts that cost less it would lift the loss above %.6g", f->max_loss);
    json_object_set_new(out, "why", json_string(why));
    return out;
}

static json_t *parts_json(const wr_certificate_facts *f)
{
    json_t *out = json_array();
    for (size_t i = 0; i < f->quant->n; i++) json_array_append_new(out, part_json(f, &f->quant->part[i]));
    return out;
}

static json_t *calibration_json(const wr_certificate_facts *f)
{
    char hex[WR_SHA256_HEX];
    wr_probe_sha256(f->calibration, hex);
    json_t *out = json_pack("{s:s,s:I,s:I,s:s,s:o,s:o}", "from", f->calibration_from, "texts",
                            (json_int_t)f->calibration->ntexts, "pairs", (json_int_t)f->calibration->npairs, "sha256",
                            hex, "max_loss", number(f->max_loss), "loss", number(f->quant->loss));
    if (!f->quant->adopted) json_object_set_new(out, "loss_all_int8", number(f->quant->all_loss));
    return out;
}

/* Whose decisions were taken over; NULL for none. */
static json_t *like_json(const wr_certificate_facts *f)
{
    return f->like_name ? json_pack("{s:s,s:s}", "name", f->like_name, "sha256", f->like_sha256) : NULL;
}

static json_t *held_out_json(const wr_certificate_facts *facts, const float *want, const float *got)
{
    const wr_probe *p = facts->held_out;
    char hex[WR_SHA256_HEX];
    json_t *texts = json_array(), *queries = json_array();
    for (size_t i = 0; i < p->ntexts; i++) json_array_append_new(texts, json_string(p->text[i]));
    for (size_t begin = 0, end; begin < p->npairs; begin = end) {
        json_t *passages = json_array(), *scores = json_array();
        end = wr_probe_query_end(p, begin);
        for (size_t i = begin; i < end; i++) {
            json_array_append_new(passages, json_integer(p->pair[i].passage));
            json_array_append_new(scores, number((double)want[i]));
        }
        json_array_append_new(queries, json_pack("{s:i,s:o,s:o}", "query", (int)p->pair[begin].query, "passages",
                                                 passages, "fp32", scores));
    }
    wr_scores_sha256(got, p->npairs, hex);
    return json_pack("{s:s,s:s,s:o,s:o}", "from", facts->held_out_from, "int8_sha256", hex, "texts", texts, "queries",
                     queries);
}

/* ---- the worst queries ---- */

typedef struct judged {
    wr_agreement agreement;
    size_t begin;
} judged;

static int worst_first(const void *a, const void *b)
{
    const judged *x = a, *y = b;
    if (x->agreement.tau != y->agreement.tau) return x->agreement.tau < y->agreement.tau ? -1 : 1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static json_t *worst_json(const wr_probe *p, const float *want, const float *got)
{
    judged *all = calloc(p->npairs + 1, sizeof *all);
    size_t n = 0;
    json_t *out = json_array();
    for (size_t begin = 0, end; begin < p->npairs && all; begin = end) {
        end = wr_probe_query_end(p, begin);
        all[n].begin = begin;
        if (!wr_probe_agreement_of(want, got, begin, end, &all[n].agreement)) n++;
    }
    if (all) qsort(all, n, sizeof *all, worst_first);
    for (size_t i = 0; i < n && i < WR_CERTIFICATE_WORST; i++) {
        json_t *entry = figures_json(&all[i].agreement);
        json_object_set_new(entry, "query", json_string(p->text[p->pair[all[i].begin].query]));
        json_array_append_new(out, entry);
    }
    free(all);
    return out;
}

/* ---- the whole ---- */

static json_t *model_json(const wr_model_info *info, size_t bytes)
{
    return json_pack("{s:s,s:s,s:s,s:I}", "name", info->name, "sha256", info->sha256, "precision", info->precision,
                     "weight_bytes", (json_int_t)bytes);
}

static wr_status weight_bytes(const char *dir, size_t *bytes, wr_err *err)
{
    wr_model_config config;
    wr_tensors *tensors;
    *bytes = 0;
    wr_status st = wr_model_config_read(&config, dir, err);
    if (st || (st = wr_tensors_open(&tensors, config.base, err))) return st;
    for (size_t i = 0; i < wr_tensors_nfiles(tensors); i++) {
        const void *data;
        size_t n;
        wr_tensors_file(tensors, i, &data, &n);
        *bytes += n;
    }
    wr_tensors_close(tensors);
    return WR_OK;
}

/* The scores of the model in dir, and what is to be said of it. */
static wr_status measure(const char *dir, const char *precision, const wr_probe *probe, wr_pool *pool, float *score,
                         json_t **about, wr_model_kind *kind, wr_err *err)
{
    wr_model_options options = {.precision = precision};
    wr_model *model;
    size_t bytes;
    wr_status st = wr_model_open(&model, dir, &options, err);
    if (!st) st = wr_probe_score(probe, model, pool, score, err);
    if (!st) st = weight_bytes(wr_model_info_get(model)->path, &bytes, err);
    if (!st) {
        *about = model_json(wr_model_info_get(model), bytes);
        *kind = wr_model_info_get(model)->kind;
    }
    wr_model_close(model);
    return st;
}

static json_t *compose(const wr_certificate_facts *f, wr_model_kind kind, json_t *source, json_t *result,
                       const float *want, const float *got, const wr_agreement *agreement)
{
    return json_pack("{s:s,s:i,s:s,s:s,s:o,s:o,s:o,s:o,s:o*,s:o,s:o,s:o}", "format", WR_CERTIFICATE_FORMAT, "version",
                     WR_CERTIFICATE_VERSION, "weir", WR_VERSION, "kind", wr_model_kind_name[kind], "source", source,
                     "result", result, "figures", figures_json(agreement), "calibration", calibration_json(f),
                     "decisions_from", like_json(f), "parts", parts_json(f), "worst",
                     worst_json(f->held_out, want, got), "held_out", held_out_json(f, want, got));
}

/* ---- exits ---- */

/* One exit of both models, appended to the list. */
static wr_status add_exit(json_t *list, const wr_probe *probe, size_t layer, const wr_model *source,
                          const wr_model *result, wr_pool *pool, float *want, float *got, wr_err *err)
{
    char hex[WR_SHA256_HEX];
    wr_agreement agreement;
    wr_status st = wr_probe_score_exit(probe, source, layer, pool, want, err);
    if (!st) st = wr_probe_score_exit(probe, result, layer, pool, got, err);
    for (size_t i = 0; i < probe->npairs && !st; i++) want[i] = (float)wr_certificate_round((double)want[i]);
    if (!st && (st = wr_probe_agreement(probe, want, got, &agreement))) wr_fail(err, st, "out of memory");
    if (st) return st;
    json_t *entry = figures_json(&agreement), *scores = json_array();
    for (size_t i = 0; i < probe->npairs; i++) json_array_append_new(scores, number((double)want[i]));
    wr_scores_sha256(got, probe->npairs, hex);
    json_object_set_new(entry, "layer", json_integer((json_int_t)layer));
    json_object_set_new(entry, "int8_sha256", json_string(hex));
    json_object_set_new(entry, "fp32", scores);
    json_array_append_new(list, entry);
    return WR_OK;
}

/* The exits before the last layer that a cross-encoder was trained for; an empty list for other models. */
static wr_status measure_exits(json_t *list, const char *source, const char *result, const wr_probe *probe,
                               wr_pool *pool, float *want, float *got, wr_err *err)
{
    const wr_model_options floats = {.precision = "fp32"};
    wr_model *a, *b = NULL;
    wr_status st = wr_model_open(&a, source, &floats, err);
    if (!st) st = wr_model_open(&b, result, NULL, err);
    const wr_model_info *info = st ? NULL : wr_model_info_get(b);
    for (size_t i = 0; info && info->kind == WR_MODEL_CROSS && i < info->nexits && !st; i++)
        if (info->exit_layers[i] < info->layers)
            st = add_exit(list, probe, info->exit_layers[i], a, b, pool, want, got, err);
    wr_model_close(a);
    wr_model_close(b);
    return st;
}

wr_status wr_certificate_make(json_t **out, const wr_certificate_facts *facts, const char *source, const char *result,
                              wr_pool *pool, wr_err *err)
{
    const wr_probe *probe = facts->held_out;
    float *want = calloc(probe->npairs + 1, sizeof *want), *got = calloc(probe->npairs + 1, sizeof *got);
    json_t *about_source = NULL, *about_result = NULL;
    wr_model_kind kind;
    wr_agreement agreement;
    *out = NULL;
    wr_status st = want && got ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    if (!st) st = measure(source, "fp32", probe, pool, want, &about_source, &kind, err);
    if (!st) st = measure(result, NULL, probe, pool, got, &about_result, &kind, err);
    for (size_t i = 0; i < probe->npairs && !st; i++) want[i] = (float)wr_certificate_round((double)want[i]);
    if (!st && (st = wr_probe_agreement(probe, want, got, &agreement))) wr_fail(err, st, "out of memory");
    if (!st) {
        *out = compose(facts, kind, about_source, about_result, want, got, &agreement);
        about_source = about_result = NULL;
        if (!*out) st = wr_fail(err, WR_EFORMAT, "%s: a certificate needs finite numbers and names of UTF-8", result);
    }
    json_t *exits = json_array();
    if (!st) st = measure_exits(exits, source, result, probe, pool, want, got, err);
    if (!st && json_array_size(exits)) json_object_set(*out, "exits", exits);
    json_decref(exits);
    if (st) {
        json_decref(*out);
        *out = NULL;
    }
    json_decref(about_source);
    json_decref(about_result);
    free(want);
    free(got);
    return st;
}

/* ---- its text ---- */

#define DIGITS JSON_REAL_PRECISION(9)

static void put_value(FILE *out, const json_t *value, size_t depth)
{
    size_t i;
    const char *key;
    json_t *entry;
    bool list = json_is_array(value) && json_array_size(value) && !json_is_number(json_array_get(value, 0));
    if (json_is_object(value) && depth < 2) {
        size_t n = 0;
        fputs("{", out);
        json_object_foreach((json_t *)(uintptr_t)value, key, entry)
        {
            fprintf(out, "%s\n%*s\"%s\": ", n++ ? "," : "", (int)(2 * depth + 2), "", key);
            put_value(out, entry, depth + 1);
        }
        fprintf(out, "\n%*s}", (int)(2 * depth), "");
        return;
    }
    if (!list) {
        json_dumpf(value, out, JSON_ENCODE_ANY | DIGITS);
        return;
    }
    fputs("[", out);
    json_array_foreach((json_t *)(uintptr_t)value, i, entry)
    {
        fprintf(out, "%s\n%*s", i ? "," : "", (int)(2 * depth + 2), "");
        json_dumpf(entry, out, JSON_ENCODE_ANY | DIGITS);
    }
    fprintf(out, "\n%*s]", (int)(2 * depth), "");
}

wr_status wr_certificate_write(const json_t *certificate, const char *dir, wr_err *err)
{
    char path[WR_MAX_PATH], *text = NULL;
    size_t n = 0;
    if (wr_path_join(path, sizeof path, dir, WR_CERTIFICATE_NAME))
        return wr_fail(err, WR_EARG, "%s: the path is too long", dir);
    FILE *out = open_memstream(&text, &n);
    if (!out) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    put_value(out, certificate, 0);
    fputc('\n', out);
    bool good = !ferror(out);
    good = fclose(out) == 0 && good;
    wr_status st = good ? wr_file_replace(path, text, n, err) : wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    free(text);
    return st;
}
