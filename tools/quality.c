#include "tools/quality.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "indexer/build.h"
#include "indexer/index.h"
#include "ranker/rank.h"
#include "tools/eval.h"

/* How many of the topics that changed most are named. */
#define WORST 5

/* ---- files of a collection ---- */

/* qrels/test.tsv, else the first file in qrels by name. */
static wr_status find_qrels(const char *folder, char *out, wr_err *err)
{
    char dir[PATH_MAX], first[256] = "";
    if (!wr_path_join(out, PATH_MAX, folder, "qrels/test.tsv") && wr_path_exists(out)) return WR_OK;
    if (wr_path_join(dir, sizeof dir, folder, "qrels"))
        return wr_fail(err, WR_EARG, "%s: the path is too long", folder);
    DIR *open = opendir(dir);
    for (struct dirent *e; open && (e = readdir(open));)
        if (e->d_name[0] != '.' && (!*first || strcmp(e->d_name, first) < 0))
            snprintf(first, sizeof first, "%s", e->d_name);
    if (open) closedir(open);
    if (!*first || wr_path_join(out, PATH_MAX, dir, first))
        return wr_fail(err, WR_ENOTFOUND, "%s: no judgments, expected qrels/test.tsv", folder);
    return WR_OK;
}

/* ---- one measurement ---- */

static wr_status build(const char *folder, const char *index, const char *model, const char *precision,
                       wr_model_kind kind, wr_pool *pool, wr_err *err)
{
    wr_model_options options = {.precision = precision};
    wr_build_options build = {.corpus = folder,
                              .out = index,
                              .bm25 = {0.9, 0.4},
                              .factory = kind == WR_MODEL_EMBED ? "Flat" : NULL,
                              .pool = pool};
    wr_build_report report;
    wr_model *encoder = NULL;
    wr_status st = WR_OK;
    if (kind != WR_MODEL_CROSS) st = wr_model_open(&encoder, model, &options, err);
    if (kind == WR_MODEL_EMBED) build.dense = encoder;
    if (kind == WR_MODEL_SPARSE) build.sparse = encoder;
    build.no_sparse = kind != WR_MODEL_SPARSE;
    if (!st) st = wr_build(&build, &report, err);
    wr_model_close(encoder);
    return st;
}

static wr_status read_corpus_hash(const char *dir, char hex[65], wr_err *err)
{
    wr_index *index;
    wr_status st = wr_index_open(&index, dir, err);
    if (!st) snprintf(hex, 65, "%s", wr_index_info_get(index)->corpus_sha256);
    wr_index_close(index);
    return st;
}

static wr_status read_report(wr_quality *q, const char *text, size_t n, wr_err *err)
{
    json_t *report;
    wr_status st = wr_json_parse(&report, text, n, "evaluation", err);
    if (st) return st;
    const json_t *row = json_array_get(json_object_get(report, "rows"), 0);
    const char *qid;
    json_t *values;
    q->ndcg = round(json_number_value(json_object_get(json_object_get(row, "measures"), "nDCG@10")) * 1e4) / 1e4;
    q->topics = json_object();
    json_object_foreach(json_object_get(row, "topics"), qid, values)
        json_object_set(q->topics, qid, json_object_get(values, "nDCG@10"));
    q->ntopics = json_object_size(q->topics);
    json_decref(report);
    return WR_OK;
}

static wr_status evaluate(wr_quality *q, const char *folder, const char *index, const char *model,
                          const char *precision, wr_model_kind kind, size_t threads, wr_err *err)
{
    char topics[PATH_MAX], qrels[PATH_MAX], exclude[PATH_MAX], cross[PATH_MAX + 8], *text = NULL;
    size_t n = 0;
    wr_status st = find_qrels(folder, qrels, err);
    if (st) return st;
    if (wr_path_join(topics, sizeof topics, folder, "queries.jsonl") ||
        wr_path_join(exclude, sizeof exclude, folder, "exclude.tsv"))
        return wr_fail(err, WR_EARG, "%s: the path is too long", folder);
    snprintf(cross, sizeof cross, "model=%s", model);
    wr_eval_args args = {.qrels = qrels,
                         .measures = "nDCG@10",
                         .per_topic = true,
                         .min_rel = 1,
                         .index = index,
                         .topics = topics,
                         .exclude = wr_path_exists(exclude) ? exclude : NULL,
                         .progress = "none",
                         .pipeline = {{q->pipeline}, 1},
                         .precision = precision,
                         .threads = threads,
                         .repeat = 1,
                         .json = true};
    if (kind == WR_MODEL_CROSS)
        args.cross = (struct wr_option_list){{cross}, 1};
    else if (kind == WR_MODEL_SPARSE)
        args.sparse = model;
    else
        args.dense = model;
    FILE *out = open_memstream(&text, &n);
    if (!out) return wr_fail(err, WR_ENOMEM, "out of memory");
    st = wr_eval_index(&args, out, err);
    if (fclose(out) && !st) st = wr_fail(err, WR_ENOMEM, "out of memory");
    if (!st) st = read_report(q, text, n, err);
    free(text);
    return st;
}

wr_status wr_quality_measure(wr_quality *q, const char *folder, const char *model, const char *precision,
                             wr_model_kind kind, size_t depth, size_t threads, wr_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char index[PATH_MAX];
    wr_pool *pool = NULL;
    *q = (wr_quality){0};
    if (kind == WR_MODEL_CROSS)
        snprintf(q->pipeline, sizeof q->pipeline, "bm25:%zu > cross:%zu", depth, depth);
    else
        snprintf(q->pipeline, sizeof q->pipeline, kind == WR_MODEL_SPARSE ? "sparse[mode=exact]:10" : "dense:10");
    int len = snprintf(index, sizeof index, "%s/weir-quality-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (len < 0 || (size_t)len >= sizeof index || !mkdtemp(index))
        return wr_fail(err, WR_EIO, "%s: cannot make a temporary folder", index);
    wr_status st = wr_pool_open(&pool, (unsigned)threads, wr_ranker_thread_start, err);
    if (!st) st = build(folder, index, model, precision, kind, pool, err);
    wr_pool_close(pool);
    if (!st) st = read_corpus_hash(index, q->corpus_sha256, err);
    if (!st) st = evaluate(q, folder, index, model, precision, kind, threads, err);
    wr_dir_remove(index, NULL);
    if (st) {
        wr_quality_release(q);
        wr_fail_prefix(err, "collection %s", folder);
    }
    return st;
}

void wr_quality_release(wr_quality *quality)
{
    json_decref(quality->topics);
    *quality = (wr_quality){0};
}

/* ---- two of them ---- */

typedef struct change {
    const char *qid;
    double fp32, int8;
} change;

static int most_lost_first(const void *a, const void *b)
{
    const change *x = a, *y = b;
    double dx = x->int8 - x->fp32, dy = y->int8 - y->fp32;
    return dx != dy ? (dx < dy ? -1 : 1) : strcmp(x->qid, y->qid);
}

static json_t *worst(const wr_quality *fp32, const wr_quality *int8)
{
    size_t n = 0;
    const char *qid;
    json_t *value, *out = json_array();
    change *all = calloc(json_object_size(fp32->topics) + 1, sizeof *all);
    json_object_foreach(fp32->topics, qid, value) if (all) all[n++] =
        (change){qid, json_number_value(value), json_number_value(json_object_get(int8->topics, qid))};
    if (all) qsort(all, n, sizeof *all, most_lost_first);
    for (size_t i = 0; i < n && i < WORST && all[i].int8 < all[i].fp32; i++)
        json_array_append_new(out, json_pack("{s:s,s:f,s:f}", "qid", all[i].qid, "fp32", round(all[i].fp32 * 1e4) / 1e4,
                                             "int8", round(all[i].int8 * 1e4) / 1e4));
    free(all);
    return out;
}

json_t *wr_quality_compare(const char *folder, const wr_quality *fp32, const wr_quality *int8)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", folder);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/';) path[--n] = 0;
    const char *slash = strrchr(path, '/');
    return json_pack("{s:s,s:s,s:s,s:I,s:f,s:f,s:f,s:o}", "name", slash ? slash + 1 : path, "corpus_sha256",
                     int8->corpus_sha256, "pipeline", int8->pipeline, "topics", (json_int_t)int8->ntopics,
                     "ndcg10_fp32", fp32->ndcg, "ndcg10_int8", int8->ndcg, "delta",
                     round((int8->ndcg - fp32->ndcg) * 1e4) / 1e4, "worst", worst(fp32, int8));
}
