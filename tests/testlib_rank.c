#include "tests/testlib_rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/build.h"
#include "tests/testlib.h"

static const char *const words[] = {"river",  "bridge", "engine", "violin", "planet", "harbour", "garden", "winter",
                                    "copper", "market", "doctor", "letter", "window", "forest",  "signal", "pepper",
                                    "turbine", "glacier", "sonnet", "ledger", "falcon", "quartz", "saddle", "lantern"};
#define NWORDS (sizeof words / sizeof *words)

static void must(wr_status st, const wr_err *err)
{
    if (!st) return;
    fprintf(stderr, "test index: %s\n", err->text);
    abort();
}

const char *wr_test_query(size_t i)
{
    static _Thread_local char query[64];
    wr_test_random random = {i + 1};
    snprintf(query, sizeof query, "%s %s %s", words[wr_test_below(&random, NWORDS)],
             words[wr_test_below(&random, NWORDS)], words[wr_test_below(&random, NWORDS)]);
    return query;
}

void wr_test_index(const char *dir, size_t ndocs, const wr_model *dense, wr_pool *pool)
{
    wr_test_random random = {42};
    char path[512];
    wr_err err;
    snprintf(path, sizeof path, "%s.jsonl", dir);
    FILE *f = fopen(path, "w");
    if (!f) abort();
    for (size_t i = 0; i < ndocs; i++) {
        fprintf(f, "{\"_id\":\"d%zu\",\"title\":\"%s\",\"text\":\"", i * 7 % ndocs, words[wr_test_below(&random, NWORDS)]);
        for (size_t j = 0, n = 3 + wr_test_below(&random, 12); j < n; j++)
            fprintf(f, "%s ", words[wr_test_below(&random, NWORDS) * wr_test_below(&random, NWORDS) / NWORDS]);
        fputs("\"}\n", f);
    }
    fclose(f);
    wr_build_options options = {.corpus = path, .out = dir, .bm25 = {.k1 = .9, .b = .4}, .dense = dense, .pool = pool};
    wr_build_report report;
    must(wr_build(&options, &report, &err), &err);
}

void wr_test_index_dense(const char *dir, size_t ndocs, const char *model_path)
{
    wr_model_options options = {0};
    wr_model *model;
    wr_pool *pool;
    wr_err err;
    must(wr_pool_open(&pool, 2, wr_ranker_thread_start, &err), &err);
    must(wr_model_open(&model, model_path, &options, &err), &err);
    wr_test_index(dir, ndocs, model, pool);
    wr_model_close(model);
    wr_pool_close(pool);
}

void wr_test_service_open(wr_test_service *s, const char *dir, unsigned threads, const char *cross)
{
    wr_test_service_open_list(s, dir, threads, cross, NULL);
}

void wr_test_service_open_list(wr_test_service *s, const char *dir, unsigned threads, const char *cross, const char *list)
{
    wr_err err;
    wr_loaded_options options = {.cross = &cross, .ncross = cross != NULL, .list = &list, .nlist = list != NULL};
    must(wr_pool_open(&s->pool, threads, wr_ranker_thread_start, &err), &err);
    must(wr_loaded_open(&s->loaded, &options, &err), &err);
    must(wr_ranker_open(&s->ranker, dir, s->loaded, s->pool, &err), &err);
    must(wr_scratch_open(&s->scratch, s->ranker, &err), &err);
}

void wr_test_service_close(wr_test_service *s)
{
    wr_scratch_close(s->scratch);
    wr_ranker_close(s->ranker);
    wr_loaded_close(s->loaded);
    wr_pool_close(s->pool);
}
