#include "models/probe.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/lines.h"
#include "data/utf8.h"
#include "models/embed.h"
#include "models/kernels.h"

/* ---- making one ---- */

void wr_probe_release(wr_probe *probe)
{
    for (size_t i = 0; i < probe->ntexts; i++) free(probe->text[i]);
    free(probe->text);
    free(probe->pair);
    *probe = (wr_probe){0};
}

static wr_status add_text(wr_probe *probe, const char *text, size_t n, uint32_t *at)
{
    if (n > WR_PROBE_MAX_TEXT)
        for (n = WR_PROBE_MAX_TEXT; n && ((unsigned char)text[n] & 0xC0) == 0x80; n--) continue;
    char **more = realloc(probe->text, (probe->ntexts + 1) * sizeof *more);
    if (!more) return WR_ENOMEM;
    probe->text = more;
    if (!(more[probe->ntexts] = strndup(text, n))) return WR_ENOMEM;
    *at = (uint32_t)probe->ntexts++;
    return WR_OK;
}

/* Room for n more pairs. */
static wr_probe_pair *more_pairs(wr_probe *probe, size_t n)
{
    wr_probe_pair *more = reallocarray(probe->pair, probe->npairs + n + 1, sizeof *more);
    if (more) probe->pair = more;
    return more;
}

/* Every text with those that follow it. */
static wr_status pair_plain(wr_probe *probe, size_t partners)
{
    size_t n = probe->ntexts, each = n ? n - 1 : 0;
    if (each > partners) each = partners;
    if (!more_pairs(probe, n * each)) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 1; j <= each; j++)
            probe->pair[probe->npairs++] = (wr_probe_pair){(uint32_t)i, (uint32_t)((i + j) % n)};
    return WR_OK;
}

/* Every query with every passage: what embedders can afford. Pairs as read are replaced. */
static wr_status pair_all(wr_probe *probe)
{
    size_t n = probe->npairs;
    wr_probe_pair *read = probe->pair;
    probe->pair = NULL;
    probe->npairs = 0;
    wr_status st = more_pairs(probe, n * n) ? WR_OK : WR_ENOMEM;
    for (size_t i = 0; i < n && !st; i++)
        for (size_t j = 0; j < n && (i == 0 || read[i].query != read[i - 1].query); j++)
            probe->pair[probe->npairs++] = (wr_probe_pair){read[i].query, read[j].passage};
    free(read);
    return st;
}

static wr_status own(wr_probe *probe, const char *const *text, size_t n, size_t partners)
{
    uint32_t at;
    wr_status st = WR_OK;
    *probe = (wr_probe){0};
    for (size_t i = 0; i < n && !st; i++) st = add_text(probe, text[i], strlen(text[i]), &at);
    return st ? st : pair_plain(probe, partners);
}

wr_status wr_probe_own(wr_probe *calibration, wr_probe *held_out, wr_model_kind kind, wr_err *err)
{
    bool cross = kind == WR_MODEL_CROSS;
    *held_out = (wr_probe){0};
    wr_status st = own(calibration, wr_probe_calibration, WR_PROBE_CALIBRATION,
                       cross ? WR_PROBE_CROSS_PARTNERS : WR_PROBE_EMBED_PARTNERS);
    if (!st)
        st = own(held_out, wr_probe_held_out, WR_PROBE_HELD_OUT,
                 cross ? WR_PROBE_CROSS_HELD_OUT_PARTNERS : WR_PROBE_EMBED_PARTNERS);
    if (!st) return WR_OK;
    wr_probe_release(calibration);
    wr_probe_release(held_out);
    return wr_fail(err, st, "texts to calibrate by: out of memory");
}

/* ---- from a file ---- */

/* A file's lines, each split at its first tab. */
typedef struct line_list {
    struct {
        char *text;
        size_t n, tab; /* tab == n: none */
    } * line;
    size_t n;
} line_list;

static void release_lines(line_list *list)
{
    for (size_t i = 0; i < list->n; i++) free(list->line[i].text);
    free(list->line);
}

static wr_status keep_line(line_list *list, const wr_lines *lines, const char *text, size_t n, wr_err *err)
{
    const char *tab = memchr(text, '\t', n);
    size_t at = tab ? (size_t)(tab - text) : n;
    if (!wr_utf8_valid(text, n) || memchr(text, 0, n))
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: not a line of UTF-8 text", wr_lines_path(lines),
                       wr_lines_number(lines));
    if (list->n && (at < n) != (list->line->tab < list->line->n))
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s a tab, expected as in the first line", wr_lines_path(lines),
                       wr_lines_number(lines), at < n ? "has" : "lacks");
    void *more = reallocarray(list->line, list->n + 1, sizeof *list->line);
    if (!more) return wr_fail(err, WR_ENOMEM, "%s: out of memory", wr_lines_path(lines));
    list->line = more;
    list->line[list->n].text = strndup(text, n);
    list->line[list->n].n = n;
    list->line[list->n].tab = at;
    return list->line[list->n++].text ? WR_OK : wr_fail(err, WR_ENOMEM, "%s: out of memory", wr_lines_path(lines));
}

/* The file may be a large one: what cannot be used is not read. */
static wr_status read_lines(line_list *list, const char *path, wr_err *err)
{
    wr_lines *lines;
    const char *text;
    size_t n;
    wr_status st = wr_lines_open(&lines, path, err);
    if (st) return st;
    while (list->n < 2 * WR_PROBE_MAX_LINES && !(st = wr_lines_next(lines, &text, &n, err)) && text)
        if (n && (st = keep_line(list, lines, text, n, err))) break;
    wr_lines_close(lines);
    return st;
}

static bool same_query(const line_list *list, size_t a, size_t b)
{
    return list->line[a].tab == list->line[b].tab && !memcmp(list->line[a].text, list->line[b].text, list->line[a].tab);
}

static wr_status fill_pairs(wr_probe *probe, const line_list *list, size_t begin, size_t end, bool all)
{
    wr_status st = WR_OK;
    uint32_t query = 0, passage = 0;
    if (!more_pairs(probe, end - begin)) return WR_ENOMEM;
    for (size_t i = begin; i < end && !st; i++) {
        const char *text = list->line[i].text;
        size_t tab = list->line[i].tab;
        if (i == begin || !same_query(list, i - 1, i)) st = add_text(probe, text, tab, &query);
        if (!st) st = add_text(probe, text + tab + 1, list->line[i].n - tab - 1, &passage);
        if (!st) probe->pair[probe->npairs++] = (wr_probe_pair){query, passage};
    }
    return st || !all ? st : pair_all(probe);
}

static wr_status fill(wr_probe *probe, const line_list *list, size_t begin, size_t end, wr_model_kind kind,
                      size_t partners)
{
    bool tabs = list->n && list->line->tab < list->line->n;
    size_t most = !tabs ? WR_PROBE_MAX_PLAIN : kind == WR_MODEL_CROSS ? WR_PROBE_MAX_LINES : WR_PROBE_MAX_CROSSED;
    uint32_t at;
    wr_status st = WR_OK;
    if (end - begin > most) end = begin + most;
    if (tabs) return fill_pairs(probe, list, begin, end, kind != WR_MODEL_CROSS);
    for (size_t i = begin; i < end && !st; i++) st = add_text(probe, list->line[i].text, list->line[i].n, &at);
    return st ? st : pair_plain(probe, partners);
}

wr_status wr_probe_read(wr_probe *calibration, wr_probe *held_out, wr_model_kind kind, const char *path, wr_err *err)
{
    line_list list = {0};
    bool cross = kind == WR_MODEL_CROSS;
    *calibration = *held_out = (wr_probe){0};
    wr_status st = read_lines(&list, path, err);
    size_t half = list.n / 2;
    if (!st) {
        while (half && half < list.n && list.line->tab < list.line->n && same_query(&list, half - 1, half)) half++;
        st = fill(calibration, &list, 0, half, kind, cross ? WR_PROBE_CROSS_PARTNERS : WR_PROBE_EMBED_PARTNERS);
        if (!st)
            st = fill(held_out, &list, half, list.n, kind,
                      cross ? WR_PROBE_CROSS_HELD_OUT_PARTNERS : WR_PROBE_EMBED_PARTNERS);
        if (st) wr_fail(err, st, "%s: out of memory", path);
        if (!st && (calibration->npairs < 3 || held_out->npairs < 3))
            st = wr_fail(err, WR_EFORMAT, "%s: %zu lines make %zu and %zu pairs, expected three and more in each half",
                         path, list.n, calibration->npairs, held_out->npairs);
    }
    release_lines(&list);
    if (st) {
        wr_probe_release(calibration);
        wr_probe_release(held_out);
    }
    return st;
}

void wr_probe_sha256(const wr_probe *probe, char hex[WR_SHA256_HEX])
{
    wr_sha256 *hash = wr_sha256_new();
    *hex = 0;
    if (!hash) return;
    for (size_t i = 0; i < probe->ntexts; i++) wr_sha256_add(hash, probe->text[i], strlen(probe->text[i]) + 1);
    for (size_t i = 0; i < probe->npairs; i++) {
        char line[32];
        int n =
            snprintf(line, sizeof line, "%u %u\n", (unsigned)probe->pair[i].query, (unsigned)probe->pair[i].passage);
        wr_sha256_add(hash, line, (size_t)n);
    }
    wr_sha256_finish(hash, hex);
}

/* ---- scoring ---- */

size_t wr_probe_query_end(const wr_probe *probe, size_t begin)
{
    size_t end = begin;
    while (end < probe->npairs && probe->pair[end].query == probe->pair[begin].query) end++;
    return end;
}

static wr_status score_vectors(const wr_probe *probe, const wr_model *model, wr_pool *pool, float *score)
{
    size_t dim = wr_model_info_get(model)->dim;
    wr_text *text = calloc(probe->ntexts + 1, sizeof *text);
    float *vector = calloc(probe->ntexts * dim + 1, sizeof *vector);
    wr_status st = text && vector ? WR_OK : WR_ENOMEM;
    for (size_t i = 0; i < probe->ntexts && !st; i++) text[i] = (wr_text){probe->text[i], strlen(probe->text[i])};
    if (!st) st = wr_embed_texts(model, pool, text, probe->ntexts, false, NULL, vector, NULL);
    for (size_t i = 0; i < probe->npairs && !st; i++)
        score[i] =
            wr_kernels_get()->dot_f32(vector + probe->pair[i].query * dim, vector + probe->pair[i].passage * dim, dim);
    free(text);
    free(vector);
    return st;
}

/* Inner product of two lists of token weights. */
static float overlap(const wr_token_weights *a, const wr_token_weights *b)
{
    float sum = 0;
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (a->id[i] == b->id[j])
            sum += a->weight[i++] * b->weight[j++];
        else if (a->id[i] < b->id[j])
            i++;
        else
            j++;
    }
    return sum;
}

static wr_status score_weights(const wr_probe *probe, const wr_model *model, wr_pool *pool, float *score)
{
    size_t n = probe->ntexts;
    wr_text *text = calloc(n + 1, sizeof *text);
    wr_token_weights *query = calloc(n + 1, sizeof *query), *passage = calloc(n + 1, sizeof *passage);
    wr_status st = text && query && passage ? WR_OK : WR_ENOMEM;
    for (size_t i = 0; i < n && !st; i++) text[i] = (wr_text){probe->text[i], strlen(probe->text[i])};
    if (!st) st = wr_sparse_texts(model, pool, text, n, true, NULL, query, NULL);
    if (!st) st = wr_sparse_texts(model, pool, text, n, false, NULL, passage, NULL);
    for (size_t i = 0; i < probe->npairs && !st; i++)
        score[i] = overlap(&query[probe->pair[i].query], &passage[probe->pair[i].passage]);
    if (query) wr_token_weights_release(query, n);
    if (passage) wr_token_weights_release(passage, n);
    free(text);
    free(query);
    free(passage);
    return st;
}

typedef struct score_job {
    const wr_probe *probe;
    const wr_model *model;
    const size_t *begin; /* [queries + 1] */
    const wr_text *text; /* [npairs] the passages */
    wr_effort effort;
    float *score;
    bool *done;
    _Atomic wr_status status;
} score_job;

static void score_query(void *arg, size_t q)
{
    score_job *job = arg;
    size_t begin = job->begin[q], n = job->begin[q + 1] - begin;
    const char *query = job->probe->text[job->probe->pair[begin].query];
    wr_status st = wr_score_texts_with(job->model, &job->effort, NULL, (wr_text){query, strlen(query)},
                                       job->text + begin, n, NULL, job->score + begin, job->done + begin, NULL);
    if (st) atomic_store(&job->status, st);
}

static wr_status score_pairs(const wr_probe *probe, const wr_model *model, size_t exit, wr_pool *pool, float *score)
{
    size_t *begin = calloc(probe->npairs + 1, sizeof *begin), queries = 0;
    wr_text *text = calloc(probe->npairs + 1, sizeof *text);
    bool *done = calloc(probe->npairs + 1, sizeof *done);
    wr_status st = begin && text && done ? WR_OK : WR_ENOMEM;
    for (size_t i = 0; i < probe->npairs && !st; i++) {
        const char *passage = probe->text[probe->pair[i].passage];
        text[i] = (wr_text){passage, strlen(passage)};
    }
    for (size_t i = 0; i < probe->npairs && !st; i = begin[queries]) begin[++queries] = wr_probe_query_end(probe, i);
    if (!st) {
        score_job job = {.probe = probe, .model = model, .begin = begin, .text = text, .score = score, .done = done};
        job.effort.exit = exit;
        wr_pool_for(pool, queries, score_query, &job);
        st = atomic_load(&job.status);
    }
    free(begin);
    free(text);
    free(done);
    return st;
}

wr_status wr_probe_score(const wr_probe *probe, const wr_model *model, wr_pool *pool, float *score, wr_err *err)
{
    return wr_probe_score_exit(probe, model, 0, pool, score, err);
}

wr_status wr_probe_score_exit(const wr_probe *probe, const wr_model *model, size_t exit, wr_pool *pool, float *score,
                              wr_err *err)
{
    const wr_model_info *info = wr_model_info_get(model);
    wr_status st = info->kind == WR_MODEL_CROSS    ? score_pairs(probe, model, exit, pool, score)
                   : exit                          ? WR_EARG
                   : info->kind == WR_MODEL_SPARSE ? score_weights(probe, model, pool, score)
                                                   : score_vectors(probe, model, pool, score);
    if (st) return wr_fail(err, st, "%s: scoring: %s", info->path, wr_status_name(st));
    for (size_t i = 0; i < probe->npairs; i++)
        if (!isfinite(score[i])) return wr_fail(err, WR_EFORMAT, "%s: gives scores that are no numbers", info->path);
    return WR_OK;
}
