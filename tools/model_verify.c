#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/pool.h"
#include "models/certificate.h"
#include "models/known.h"
#include "models/known_sparse.h"
#include "models/model.h"
#include "tools/model_quantize.h"
#include "tools/quality.h"

/* One sentence. */
#define MISSED 320

static void print_result(const wr_quantize_args *args, const char *by, const char *missed)
{
    if (args->json) {
        json_t *reply = json_pack("{s:b,s:s,s:s}", "reproduced", !*missed, "by", by, "missed", missed);
        json_dumpf(reply, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(reply);
    } else if (*missed) {
        printf("missed: %s\n", missed);
    } else {
        printf("reproduced: %s\n", by);
    }
}

/* A collection has so many topics that a pipeline's depth stands in its name: "bm25:100 > cross:100". */
static size_t depth_of(const char *pipeline)
{
    size_t depth = 0;
    return sscanf(pipeline, "bm25:%zu", &depth) == 1 ? depth : 1;
}

static wr_status verify_collection(const wr_quantize_args *args, const wr_certificate *c, const char *model,
                                   char *missed, wr_err *err)
{
    const json_t *entry = json_object_get(c->json, "collection");
    const char *pipeline = json_string_value(json_object_get(entry, "pipeline"));
    const char *sha256 = json_string_value(json_object_get(entry, "corpus_sha256"));
    const json_t *ndcg = json_object_get(entry, "ndcg10_int8");
    wr_quality q;
    if (!entry) return wr_fail(err, WR_EARG, "--collection %s: the certificate has none", args->collection);
    if (!pipeline || !sha256 || !json_is_number(ndcg))
        return wr_fail(err, WR_EFORMAT,
                       "%s/" WR_CERTIFICATE_NAME ": field \"collection\": pipeline, corpus_sha256 and "
                       "ndcg10_int8 were expected",
                       model);
    wr_status st =
        wr_quality_measure(&q, args->collection, model, NULL, c->kind, depth_of(pipeline), args->threads, err);
    if (st) return st;
    if (strcmp(q.corpus_sha256, sha256))
        snprintf(missed, MISSED, "the documents of %.100s have the hash %s, the certificate says %.64s",
                 args->collection, q.corpus_sha256, sha256);
    else if (strcmp(q.pipeline, pipeline) || fabs(q.ndcg - json_number_value(ndcg)) > 1e-9)
        snprintf(missed, MISSED, "nDCG@10 of %s is %.4f, the certificate says %.4f", q.pipeline, q.ndcg,
                 json_number_value(ndcg));
    wr_quality_release(&q);
    return WR_OK;
}

static wr_status verify_certificate(const wr_quantize_args *args, const wr_certificate *c, const wr_model *model,
                                    char *missed, wr_err *err)
{
    wr_pool *pool;
    wr_status st = wr_pool_open(&pool, (unsigned)args->threads, wr_model_thread_init, err);
    if (st) return st;
    st = wr_certificate_verify(c, model, pool, missed, MISSED, err);
    wr_pool_close(pool);
    if (!st && !*missed && args->collection)
        st = verify_collection(args, c, wr_model_info_get(model)->path, missed, err);
    return st;
}

wr_status wr_model_verify(const wr_quantize_args *args, int *exit_status, wr_err *err)
{
    wr_model *model;
    wr_certificate certificate = {0};
    char missed[MISSED] = "";
    const char *by = "the certificate's figures";
    if (args->threads > 1024) return wr_fail(err, WR_EARG, "--threads %zu: at most 1024", args->threads);
    wr_status st = wr_model_open(&model, args->model, NULL, err);
    if (st) return st;
    const wr_model_info *info = wr_model_info_get(model);
    const wr_known *known = wr_known_find(info);
    st = wr_certificate_read(&certificate, info->path, err);
    if (!st) {
        st = verify_certificate(args, &certificate, model, missed, err);
    } else if (st == WR_ENOTFOUND && known) {
        by = "the published scores";
        st = wr_known_verify(known, model, missed, sizeof missed, err);
    } else if (st == WR_ENOTFOUND && wr_known_sparse_is(info)) {
        by = "the published weights";
        st = wr_known_sparse_verify(model, missed, sizeof missed, err);
    } else if (st == WR_ENOTFOUND) {
        st = wr_fail(err, WR_EFORMAT,
                     "%s: nothing to verify: no " WR_CERTIFICATE_NAME ", and no published scores are "
                     "known for a model of this name and shape",
                     info->path);
    }
    if (!st) print_result(args, by, missed);
    if (!st && *missed) *exit_status = 3;
    wr_certificate_release(&certificate);
    wr_model_close(model);
    return st;
}
