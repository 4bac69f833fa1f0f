/* The reading half of models/certificate.h; certificate_write.c is the other. */
#include "models/certificate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/certificate_figures.h"
#include "models/model_config.h"

/* A certificate has at most this many bytes: 256 pairs of the longest texts take 4 MiB. */
#define MAX_BYTES ((size_t)16 << 20)

/* Four times what any is written with; comparing rankings takes the square of it. */
#define MAX_PAIRS 8192

/* Figures are decimal numbers of six digits; what is computed again may differ in none of them. */
#define SAME 1e-9

double wr_certificate_round(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    return strtod(text, NULL);
}

const char *const wr_model_kind_name[WR_MODEL_KINDS] = {"embed", "cross", "sparse"};

const char *const wr_figure_name[WR_FIGURES] = {"loss",     "max_error",   "mean_error",
                                                "spearman", "kendall_tau", "top10_overlap"};

void wr_figures_of(const wr_agreement *a, double figure[WR_FIGURES])
{
    const double all[WR_FIGURES] = {a->loss, a->max_error, a->mean_error, a->spearman, a->tau, a->top10};
    for (size_t i = 0; i < WR_FIGURES; i++) figure[i] = wr_certificate_round(all[i]);
}

void wr_scores_sha256(const float *score, size_t n, char hex[WR_SHA256_HEX])
{
    wr_sha256_bytes(score, n * sizeof *score, hex);
}

/* ---- reading ---- */

static wr_status bad(const char *path, const char *field, const char *expected, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: field \"%s\": %s was expected", path, field, expected);
}

/* A string at object.field.name. */
static wr_status read_text(const json_t *root, const char *path, const char *field, const char *name, const char **out,
                           wr_err *err)
{
    *out = json_string_value(json_object_get(json_object_get(root, field), name));
    return *out ? WR_OK : bad(path, field, "an object with strings", err);
}

static wr_status read_texts(wr_certificate *c, const json_t *list, const char *path, wr_err *err)
{
    size_t n = json_array_size(list);
    if (n == 0 || !(c->held_out.text = calloc(n, sizeof *c->held_out.text)))
        return bad(path, "held_out", "a list \"texts\"", err);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) return bad(path, "held_out", "a list \"texts\" of strings", err);
        if (!(c->held_out.text[i] = strdup(text))) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
        c->held_out.ntexts++;
    }
    return WR_OK;
}

/* One query's passages and the scores that fp32 gave them. */
static bool read_query(wr_certificate *c, const json_t *entry)
{
    const json_t *passages = json_object_get(entry, "passages"), *scores = json_object_get(entry, "fp32");
    const json_t *query = json_object_get(entry, "query");
    size_t n = json_array_size(passages);
    if (!json_is_integer(query) || json_array_size(scores) != n) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *passage = json_array_get(passages, i), *score = json_array_get(scores, i);
        json_int_t q = json_integer_value(query), p = json_integer_value(passage);
        if (!json_is_integer(passage) || !json_is_number(score)) return false;
        if (q < 0 || p < 0 || (size_t)q >= c->held_out.ntexts || (size_t)p >= c->held_out.ntexts) return false;
        c->held_out.pair[c->held_out.npairs] = (wr_probe_pair){(uint32_t)q, (uint32_t)p};
        c->want[c->held_out.npairs] = (float)json_number_value(score);
        if (!isfinite(c->want[c->held_out.npairs++])) return false;
    }
    return true;
}

static wr_status read_pairs(wr_certificate *c, const json_t *list, const char *path, wr_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += json_array_size(json_object_get(json_array_get(list, i), "passages"));
    if (n == 0 || n > MAX_PAIRS)
        return wr_fail(err, WR_EFORMAT, "%s: field \"held_out\": \"queries\" of %zu pairs, expected 1 to %d", path, n,
                       MAX_PAIRS);
    c->held_out.pair = calloc(n, sizeof *c->held_out.pair);
    c->want = calloc(n, sizeof *c->want);
    if (!c->held_out.pair || !c->want) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_query(c, json_array_get(list, i)))
            return bad(path, "held_out", "\"queries\" with a text's number, numbers of passages and as many scores",
                       err);
    return WR_OK;
}

static wr_status read_figures(const json_t *figures, double value[WR_FIGURES], const char *path, const char *field,
                              wr_err *err)
{
    for (size_t i = 0; i < WR_FIGURES; i++) {
        const json_t *figure = json_object_get(figures, wr_figure_name[i]);
        if (!json_is_number(figure) && !json_is_null(figure))
            return wr_fail(err, WR_EFORMAT, "%s: field \"%s\": a number \"%s\" was expected", path, field,
                           wr_figure_name[i]);
        value[i] = json_is_null(figure) ? -1 : json_number_value(figure);
    }
    return WR_OK;
}

static wr_status read_exit(wr_certificate *c, const json_t *entry, const char *path, wr_err *err)
{
    wr_certificate_exit *exit = &c->exit[c->nexits];
    const json_t *scores = json_object_get(entry, "fp32");
    json_int_t layer = json_integer_value(json_object_get(entry, "layer"));
    exit->scores_sha256 = json_string_value(json_object_get(entry, "int8_sha256"));
    if (layer < 1 || layer > WR_MAX_LAYERS || !exit->scores_sha256 || json_array_size(scores) != c->held_out.npairs)
        return bad(path, "exits", "a layer, a hash and a score for each pair", err);
    exit->layer = (size_t)layer;
    exit->want = calloc(c->held_out.npairs, sizeof *exit->want);
    if (!exit->want) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    c->nexits++;
    for (size_t i = 0; i < c->held_out.npairs; i++) {
        const json_t *score = json_array_get(scores, i);
        exit->want[i] = (float)json_number_value(score);
        if (!json_is_number(score) || !isfinite(exit->want[i]))
            return bad(path, "exits", "scores that are numbers", err);
    }
    return read_figures(entry, exit->figure, path, "exits", err);
}

/* Only cross-encoders with exits have any. */
static wr_status read_exits(wr_certificate *c, const char *path, wr_err *err)
{
    const json_t *list = json_object_get(c->json, "exits");
    size_t n = json_array_size(list);
    if (!list) return WR_OK;
    if (n == 0 || n > WR_MAX_LAYERS) return bad(path, "exits", "a list", err);
    if (!(c->exit = calloc(n, sizeof *c->exit))) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++) {
        wr_status st = read_exit(c, json_array_get(list, i), path, err);
        if (st) return st;
    }
    return WR_OK;
}

static wr_status read_kind(wr_certificate *c, const char *path, wr_err *err)
{
    const char *format = json_string_value(json_object_get(c->json, "format"));
    const char *kind = json_string_value(json_object_get(c->json, "kind"));
    json_int_t version = json_integer_value(json_object_get(c->json, "version"));
    if (!format || strcmp(format, WR_CERTIFICATE_FORMAT))
        return bad(path, "format", "\"" WR_CERTIFICATE_FORMAT "\"", err);
    if (version != WR_CERTIFICATE_VERSION)
        return wr_fail(err, WR_EFORMAT, "%s: version %lld, expected %d", path, (long long)version,
                       WR_CERTIFICATE_VERSION);
    for (size_t i = 0; i < WR_MODEL_KINDS && kind; i++)
        if (!strcmp(kind, wr_model_kind_name[i])) return c->kind = (wr_model_kind)i, WR_OK;
    return bad(path, "kind", "embed, cross or sparse", err);
}

wr_status wr_certificate_parse(wr_certificate *c, const char *text, size_t n, const char *path, wr_err *err)
{
    *c = (wr_certificate){0};
    wr_status st = wr_json_parse(&c->json, text, n, path, err);
    if (st) return st;
    const json_t *held_out = json_object_get(c->json, "held_out");
    if ((st = read_kind(c, path, err)) || (st = read_text(c->json, path, "result", "sha256", &c->model_sha256, err)) ||
        (st = read_text(c->json, path, "held_out", "int8_sha256", &c->scores_sha256, err)) ||
        (st = read_texts(c, json_object_get(held_out, "texts"), path, err)) ||
        (st = read_pairs(c, json_object_get(held_out, "queries"), path, err)) ||
        (st = read_figures(json_object_get(c->json, "figures"), c->figure, path, "figures", err)))
        return st;
    return read_exits(c, path, err);
}

wr_status wr_certificate_read(wr_certificate *c, const char *dir, wr_err *err)
{
    char path[WR_MAX_PATH], *text;
    size_t n;
    *c = (wr_certificate){0};
    if (wr_path_join(path, sizeof path, dir, WR_CERTIFICATE_NAME))
        return wr_fail(err, WR_EARG, "%s: the path is too long", dir);
    wr_status st = wr_file_read(path, MAX_BYTES, &text, &n, err);
    if (st) return st;
    st = wr_certificate_parse(c, text, n, path, err);
    free(text);
    return st;
}

void wr_certificate_release(wr_certificate *c)
{
    wr_probe_release(&c->held_out);
    for (size_t i = 0; i < c->nexits; i++) free(c->exit[i].want);
    free(c->exit);
    free(c->want);
    json_decref(c->json);
    *c = (wr_certificate){0};
}

/* ---- measuring again ---- */

/* What the certificate says of the scores behind one layer, 0 = the last one. */
static wr_status compare(const wr_probe *probe, const wr_certificate_exit *said, const float *got, char *missed,
                         size_t cap)
{
    char hex[WR_SHA256_HEX], where[48] = "";
    double figure[WR_FIGURES];
    wr_agreement agreement;
    if (said->layer) snprintf(where, sizeof where, " behind layer %zu", said->layer);
    wr_scores_sha256(got, probe->npairs, hex);
    if (strcmp(hex, said->scores_sha256)) {
        snprintf(missed, cap, "the scores%s of the held-out texts have the hash %s, the certificate says %s", where,
                 hex, said->scores_sha256);
        return WR_OK;
    }
    wr_status st = wr_probe_agreement(probe, said->want, got, &agreement);
    if (st) return st;
    wr_figures_of(&agreement, figure);
    for (size_t i = 0; i < WR_FIGURES; i++) {
        if (fabs(figure[i] - said->figure[i]) <= SAME) continue;
        snprintf(missed, cap, "%s%s is %.6g, the certificate says %.6g", wr_figure_name[i], where, figure[i],
                 said->figure[i]);
        break;
    }
    return WR_OK;
}

static wr_status verify_layer(const wr_certificate *c, const wr_certificate_exit *said, const wr_model *model,
                              wr_pool *pool, float *got, char *missed, size_t cap, wr_err *err)
{
    wr_status st = wr_probe_score_exit(&c->held_out, model, said->layer, pool, got, err);
    if (!st && (st = compare(&c->held_out, said, got, missed, cap))) wr_fail(err, st, "out of memory");
    return st;
}

wr_status wr_certificate_verify(const wr_certificate *c, const wr_model *model, wr_pool *pool, char *missed, size_t cap,
                                wr_err *err)
{
    const wr_model_info *info = wr_model_info_get(model);
    *missed = 0;
    if (strcmp(info->sha256, c->model_sha256) || info->kind != c->kind) {
        snprintf(missed, cap, "the model's sha256 is %s, the certificate says %s", info->sha256, c->model_sha256);
        return WR_OK;
    }
    float *got = calloc(c->held_out.npairs + 1, sizeof *got);
    wr_certificate_exit whole = {.want = c->want, .scores_sha256 = c->scores_sha256};
    memcpy(whole.figure, c->figure, sizeof whole.figure);
    wr_status st =
        got ? verify_layer(c, &whole, model, pool, got, missed, cap, err) : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < c->nexits && !st && !*missed; i++)
        if (info->kind != WR_MODEL_CROSS || c->exit[i].layer > info->layers)
            snprintf(missed, cap, "the certificate speaks of an exit behind layer %zu, which the model has not",
                     c->exit[i].layer);
        else
            st = verify_layer(c, &c->exit[i], model, pool, got, missed, cap, err);
    free(got);
    return st;
}
