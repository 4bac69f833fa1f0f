#include "tools/eval_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A run's tag and strings of grades are no columns. */
static bool is_column(const wr_measure_use *use)
{
    return use->measure->kind != WR_RUNID && use->measure->kind != WR_RELSTRING;
}

static bool is_count(const wr_measure_use *use)
{
    return use->measure->kind == WR_SUM || use->measure->kind == WR_TOPICS;
}

static int width_of(const char *name)
{
    enum { NARROWEST = 7 }; /* " 0.3512" */
    int n = (int)strlen(name);
    return n < NARROWEST ? NARROWEST : n;
}

/* ---- the table */

static void print_head(const wr_eval_report *report, int first, FILE *out)
{
    const wr_measures *m = report->measures;
    fprintf(out, "%-*s  %9s", first, "pipeline", "budget ms");
    for (size_t i = 0; i < m->n; i++)
        for (size_t v = 0; v < m->use[i].nvalues && is_column(&m->use[i]); v++)
            fprintf(out, "  %*s", width_of(m->name[m->use[i].first + v]), m->name[m->use[i].first + v]);
    fprintf(out, "  %8s  %8s  %8s  %8s  %8s  stages, mean ms\n", "mean ms", "p50", "p95", "p99", "degraded");
}

static void print_row(const wr_eval_report *report, const wr_eval_row *row, int first, FILE *out)
{
    const wr_measures *m = report->measures;
    fprintf(out, "%-*s  ", first, row->pipeline);
    if (row->budget_ms > 0)
        fprintf(out, "%9g", row->budget_ms);
    else
        fprintf(out, "%9s", "-");
    for (size_t i = 0; i < m->n; i++)
        for (size_t v = m->use[i].first; v < m->use[i].first + m->use[i].nvalues && is_column(&m->use[i]); v++)
            fprintf(out, "  %*.*f", width_of(m->name[v]), is_count(&m->use[i]) ? 0 : 4, row->value[v]);
    fprintf(out, "  %8.3f  %8.3f  %8.3f  %8.3f  %8zu ", row->latency.mean_ms, row->latency.p50_ms, row->latency.p95_ms,
            row->latency.p99_ms, row->degraded);
    for (size_t i = 0; i < row->nstages; i++)
        fprintf(out, "%s %s %.3f", i ? "," : "", row->stage[i].name, row->stage[i].ms);
    fputc('\n', out);
}

void wr_eval_print_table(const wr_eval_report *report, FILE *out)
{
    int first = (int)strlen("pipeline");
    for (size_t i = 0; i < report->n; i++) {
        int n = (int)strlen(report->row[i].pipeline);
        if (n > first) first = n;
    }
    fprintf(out, "%s, %s: %llu documents; %zu topics, %zu of them judged; %zu queries a row\n\n", report->index->name,
            report->index->generation, (unsigned long long)report->index->documents, report->topics, report->judged,
            report->n ? report->row[0].queries : 0);
    print_head(report, first, out);
    for (size_t i = 0; i < report->n; i++) print_row(report, &report->row[i], first, out);
    for (size_t i = 0; i < report->n; i++) {
        const wr_eval_row *row = &report->row[i];
        bool alias = !strpbrk(row->pipeline, ":(") && strcmp(row->pipeline, row->resolved) != 0;
        if (alias && (i == 0 || row->pipeline != row[-1].pipeline))
            fprintf(out, "\n%s = %s\n", row->pipeline, row->resolved);
    }
}

/* ---- JSON */

static json_t *rounded(double ms)
{
    return json_real(round(ms * 1000.0) / 1000.0);
}

json_t *wr_eval_measures_json(const wr_measures *m, const double *value)
{
    json_t *object = json_object();
    int failed = object == NULL;
    for (size_t i = 0; i < m->n && !failed; i++)
        for (size_t v = m->use[i].first; v < m->use[i].first + m->use[i].nvalues && is_column(&m->use[i]); v++)
            failed |= json_object_set_new(
                object, m->name[v], is_count(&m->use[i]) ? json_integer((json_int_t)value[v]) : json_real(value[v]));
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

static json_t *index_json(const wr_index_info *info)
{
    json_t *dense = info->has_dense ? json_pack("{s:s, s:s, s:i}", "model", info->dense_model_name, "factory",
                                                info->dense_factory, "dim", (int)info->dense_dim)
                                    : json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:o}", "name", info->name, "dir", info->dir,
                     "generation", info->generation, "weir", info->version, "documents", (json_int_t)info->documents,
                     "passages", (json_int_t)info->passages, "analyzer", info->analyzer, "default_pipeline",
                     info->default_pipeline, "dense", dense);
}

static json_t *stages_json(const wr_eval_row *row)
{
    json_t *list = json_array();
    for (size_t i = 0; i < row->nstages && list; i++)
        if (json_array_append_new(
                list, json_pack("{s:s, s:o}", "name", row->stage[i].name, "ms", rounded(row->stage[i].ms)))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *row_json(const wr_eval_report *report, const wr_eval_row *row)
{
    const wr_latency *l = &row->latency;
    json_t *latency = json_pack("{s:o, s:o, s:o, s:o}", "mean", rounded(l->mean_ms), "p50", rounded(l->p50_ms), "p95",
                                rounded(l->p95_ms), "p99", rounded(l->p99_ms));
    json_t *object = json_pack("{s:s, s:o, s:o, s:o, s:o, s:I}", "pipeline", row->pipeline, "budget_ms",
                               row->budget_ms > 0 ? json_real(row->budget_ms) : json_null(), "measures",
                               wr_eval_measures_json(report->measures, row->value), "latency_ms", latency, "stages",
                               stages_json(row), "degraded", (json_int_t)row->degraded);
    if (object && row->topics && json_object_set(object, "topics", row->topics)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

wr_status wr_eval_print_json(const wr_eval_report *report, FILE *out, wr_err *err)
{
    json_t *rows = json_array(), *root = NULL;
    int failed = rows == NULL;
    for (size_t i = 0; i < report->n && !failed; i++)
        failed = json_array_append_new(rows, row_json(report, &report->row[i]));
    if (!failed)
        root = json_pack("{s:o, s:I, s:O}", "index", index_json(report->index), "topics", (json_int_t)report->topics,
                         "rows", rows);
    json_decref(rows);
    if (!root) return wr_fail(err, WR_ENOMEM, "the report: out of memory, or a name is not UTF-8");
    failed = json_dumpf(root, out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    fputc('\n', out);
    json_decref(root);
    return failed ? wr_fail(err, WR_EIO, "the report cannot be written") : WR_OK;
}
