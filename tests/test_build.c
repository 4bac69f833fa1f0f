/* Building an index: what is in it afterwards, that it is the same every time, and what is refused. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hash.h"
#include "indexer/build.h"
#include "indexer/defaults.h"
#include "indexer/manifest.h"
#include "tests/testlib.h"

/* A corpus of n documents of words drawn from a seeded vocabulary, lengths from 0 to 200 words. */
static const char *corpus(const char *name, size_t n)
{
    const char *path = wr_test_path(name);
    FILE *f = fopen(path, "w");
    wr_test_random random = {n};
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "{\"_id\":\"d%zu\",\"title\":\"title %zu\",\"text\":\"", i, i % 17);
        for (size_t words = wr_test_below(&random, 200); words; words--)
            fprintf(f, "word%zu ", wr_test_below(&random, 3000));
        fprintf(f, "\",\"year\":%zu}\n", 1900 + i % 100);
    }
    fclose(f);
    return path;
}

static wr_build_options options_of(const char *path, const char *out)
{
    return (wr_build_options){.corpus = path, .out = out, .bm25 = {0.9, 0.4}};
}

static void build(const wr_build_options *o, wr_build_report *report)
{
    wr_err err;
    cr_assert_eq(wr_build(o, report, &err), WR_OK, "%s", err.text);
}

static void sha_of(const char *dir, const char *generation, const char *file, char hex[WR_SHA256_HEX])
{
    char path[4200];
    wr_err err;
    snprintf(path, sizeof path, "%s/%s/%s", dir, generation, file);
    cr_assert_eq(wr_sha256_file(path, hex, &err), WR_OK, "%s", err.text);
}

static void assert_same_files(const char *a, const char *b, bool dense)
{
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        char x[WR_SHA256_HEX], y[WR_SHA256_HEX];
        if (i >= (dense ? WR_FILE_SPARSE : WR_FILE_VECTORS)) break;
        sha_of(a, "gen-000001", wr_index_file_name[i], x);
        sha_of(b, "gen-000001", wr_index_file_name[i], y);
        cr_assert_str_eq(x, y, "%s", wr_index_file_name[i]);
    }
}

/* The manifest's text without its time. */
static char *manifest_without_time(const char *dir)
{
    char path[4200], *text;
    size_t n;
    wr_err err;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    cr_assert_eq(wr_file_read(path, 1 << 20, &text, &n, &err), WR_OK, "%s", err.text);
    char *line = strstr(text, "  \"created\":");
    cr_assert_not_null(line);
    memset(line, ' ', strcspn(line, "\n"));
    return text;
}

Test(build, an_index_holds_what_the_corpus_holds)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    wr_docreader *r;
    wr_doc doc;
    uint32_t docid, first, n;
    wr_build_options o = options_of(corpus("c.jsonl", 700), wr_test_path("index"));
    build(&o, &report);
    cr_assert_eq(report.documents, 700);
    cr_assert_str_eq(report.generation, "gen-000001");
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    const wr_index_info *info = wr_index_info_get(x);
    cr_assert_eq(wr_index_ndocs(x), 700);
    cr_assert_eq(info->documents, 700);
    cr_assert_str_eq(info->name, "index");
    cr_assert_str_eq(info->analyzer, "english");
    cr_assert_str_eq(info->default_pipeline, WR_PIPELINE_WORDS);
    cr_assert_str_eq(info->corpus_format, "jsonl");
    cr_assert_eq(info->k1, 0.9);
    cr_assert_not(info->has_dense);
    cr_assert_null(wr_index_dense(x));
    cr_assert_eq(wr_docreader_open(&r, wr_index_docstore(x), &err), WR_OK);
    cr_assert_eq(wr_docreader_find(r, "d613", 4, &docid), WR_OK);
    cr_assert_eq(docid, 613);
    cr_assert_eq(wr_docreader_get(r, docid, &doc), WR_OK);
    cr_assert_str_eq(doc.title, "title 1");
    cr_assert_str_eq(doc.metadata, "{\"year\":1913}");
    wr_index_passages(x, 613, &first, &n);
    cr_assert_eq(first, 613);
    cr_assert_eq(n, 1);
    cr_assert_eq(wr_index_document(x, 613), 613);
    wr_docreader_close(r);
    wr_index_close(x);
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
}

Test(build, titles_and_texts_are_both_found)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    wr_build_options o = options_of(wr_test_text("c.jsonl", "{\"_id\":\"a\",\"title\":\"Alpha\",\"text\":\"beta\"}\n"
                                                            "{\"_id\":\"b\",\"text\":\"gamma\"}\n"),
                                    wr_test_path("index"));
    build(&o, &report);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    cr_assert_geq(wr_sparse_term(wr_index_bm25(x), "alpha", 5), 0);
    cr_assert_geq(wr_sparse_term(wr_index_bm25(x), "beta", 4), 0);
    cr_assert_geq(wr_sparse_term(wr_index_bm25(x), "gamma", 5), 0);
    wr_index_close(x);
}

Test(build, one_thread_and_three_give_the_same_bytes)
{
    wr_err err;
    wr_build_report report;
    wr_pool *pool;
    wr_build_options o = options_of(corpus("c.jsonl", 2000), wr_test_path("a"));
    build(&o, &report);
    cr_assert_eq(wr_pool_open(&pool, 3, NULL, &err), WR_OK);
    o.pool = pool;
    o.out = wr_test_path("b");
    build(&o, &report);
    wr_pool_close(pool);
    assert_same_files(wr_test_path("a"), wr_test_path("b"), false);
    char *a = manifest_without_time(wr_test_path("a")), *b = manifest_without_time(wr_test_path("b"));
    cr_assert_str_eq(a, b);
    free(a);
    free(b);
}

Test(build, a_second_build_is_a_second_generation_and_the_third_removes_the_first)
{
    wr_err err;
    wr_build_report report;
    char current[32];
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    for (int i = 0; i < 3; i++) build(&o, &report);
    cr_assert_str_eq(report.generation, "gen-000003");
    cr_assert_eq(wr_index_current(o.out, current, sizeof current, &err), WR_OK);
    cr_assert_str_eq(current, "gen-000003");
    cr_assert(wr_path_exists(wr_test_path("index/gen-000002/docs.mdb")));
    cr_assert_not(wr_path_exists(wr_test_path("index/gen-000001")));
}

Test(build, an_open_index_outlives_its_files)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    wr_docreader *r;
    wr_doc doc;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    build(&o, &report);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK);
    for (int i = 0; i < 3; i++) build(&o, &report);
    cr_assert_eq(wr_docreader_open(&r, wr_index_docstore(x), &err), WR_OK);
    cr_assert_eq(wr_docreader_get(r, 9, &doc), WR_OK);
    cr_assert_str_eq(doc.docno, "d9");
    cr_assert_str_eq(wr_index_info_get(x)->generation, "gen-000001");
    wr_docreader_close(r);
    wr_index_close(x);
}

Test(build, what_a_crash_left_behind_is_removed)
{
    wr_build_report report;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    build(&o, &report);
    mkdir(wr_test_path("index/gen-000002"), 0777);
    mkdir(wr_test_path("index/gen-000007"), 0777);
    wr_test_text("index/gen-000007/docs.mdb", "half a file");
    wr_test_text("index/manifest.json.tmp", "{");
    mkdir(wr_test_path("index/gen-mine"), 0777); /* not ours */
    build(&o, &report);
    cr_assert_str_eq(report.generation, "gen-000002");
    cr_assert_not(wr_path_exists(wr_test_path("index/gen-000007")));
    cr_assert_not(wr_path_exists(wr_test_path("index/manifest.json.tmp")));
    cr_assert(wr_path_exists(wr_test_path("index/gen-mine")));
}

/* Builds from text that cannot be indexed; the generation before must be untouched and nothing left over. */
static void refused(const char *text, wr_status status, const char *sentence)
{
    wr_err err;
    wr_build_report report;
    char current[32];
    wr_build_options o = options_of(corpus("good.jsonl", 10), wr_test_path("index"));
    build(&o, &report);
    o.corpus = wr_test_text("bad.jsonl", text);
    cr_assert_eq(wr_build(&o, &report, &err), status, "%s", err.text);
    cr_assert(strstr(err.text, sentence), "%s", err.text);
    cr_assert_eq(wr_index_current(o.out, current, sizeof current, &err), WR_OK);
    cr_assert_str_eq(current, "gen-000001");
    cr_assert_not(wr_path_exists(wr_test_path("index/gen-000002")));
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
}

Test(build, an_empty_corpus_is_refused)
{
    refused("", WR_EFORMAT, "no documents in it");
}

Test(build, a_repeated_docno_is_refused)
{
    refused("{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"b\",\"text\":\"x\"}\n{\"_id\":\"a\",\"text\":\"y\"}\n",
            WR_EFORMAT, "document a appears twice: as number 1 and number 3");
}

Test(build, a_malformed_line_is_refused_by_its_number)
{
    refused("{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"b\",\n", WR_EFORMAT, "line 2");
}

Test(build, options_out_of_range_are_refused_before_any_work)
{
    wr_err err;
    wr_build_report report;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    o.bm25.b = 1.5;
    cr_assert_eq(wr_build(&o, &report, &err), WR_EARG);
    o.bm25.b = 0.4;
    o.analyzer = "klingon";
    cr_assert_eq(wr_build(&o, &report, &err), WR_EARG);
    o.analyzer = NULL;
    o.out = "";
    cr_assert_eq(wr_build(&o, &report, &err), WR_EARG);
    o.out = wr_test_text("a_file", "x");
    cr_assert_eq(wr_build(&o, &report, &err), WR_EIO);
    o.out = wr_test_path("index");
    o.corpus = wr_test_path("nowhere");
    cr_assert_eq(wr_build(&o, &report, &err), WR_ENOTFOUND);
    cr_assert_not(wr_path_exists(wr_test_path("index/manifest.json")));
    cr_assert_not(wr_path_exists(wr_test_path("index/gen-000001")));
}

Test(build, two_builders_do_not_share_a_folder)
{
    wr_err err;
    wr_build_report report;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    build(&o, &report);
    int fd = open(wr_test_path("index/lock"), O_RDWR);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(wr_build(&o, &report, &err), WR_EFULL);
    cr_assert(strstr(err.text, "another builder"), "%s", err.text);
    close(fd);
    build(&o, &report);
}

Test(build, a_damaged_index_is_not_built_over)
{
    wr_err err;
    wr_build_report report;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    build(&o, &report);
    wr_test_text("index/manifest.json", "{");
    cr_assert_eq(wr_build(&o, &report, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "cannot be read"), "%s", err.text);
    cr_assert(wr_path_exists(wr_test_path("index/gen-000001/docs.mdb")));
}

/* ---- with a model ---- */

static wr_model *model_or_skip(void)
{
    wr_err err;
    wr_model *model;
    cr_assert_eq(wr_model_open(&model, wr_test_embedder_or_skip(), NULL, &err), WR_OK, "%s", err.text);
    return model;
}

Test(build, a_dense_index_is_the_same_from_one_thread_and_two)
{
    wr_err err;
    wr_build_report report;
    wr_pool *pool;
    wr_index *x;
    wr_model *model = model_or_skip();
    wr_build_options o = options_of(corpus("c.jsonl", 300), wr_test_path("a"));
    o.dense = model;
    o.factory = "HNSW16";
    build(&o, &report);
    cr_assert_eq(wr_pool_open(&pool, 2, wr_dense_thread_init, &err), WR_OK);
    o.pool = pool;
    o.out = wr_test_path("b");
    build(&o, &report);
    wr_pool_close(pool);
    assert_same_files(wr_test_path("a"), wr_test_path("b"), true);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    const wr_index_info *info = wr_index_info_get(x);
    cr_assert(info->has_dense);
    cr_assert_eq(info->dense_dim, wr_model_info_get(model)->dim);
    cr_assert_str_eq(info->dense_factory, "HNSW16");
    cr_assert_str_eq(info->dense_model_sha256, wr_model_info_get(model)->sha256);
    cr_assert_str_eq(info->default_pipeline, WR_PIPELINE_DENSE);
    cr_assert_gt(info->documents_cut, 0);
    cr_assert_eq(info->documents_cut, report.documents_cut);
    cr_assert_eq(wr_dense_count(wr_index_dense(x)), 300);
    wr_index_close(x);
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
}

Test(build, the_dense_index_is_built_anew_without_the_corpus)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    struct stat a, b;
    wr_model *model = model_or_skip();
    wr_build_options o = options_of(corpus("c.jsonl", 200), wr_test_path("index"));
    o.dense = model;
    build(&o, &report);
    cr_assert_eq(unlink(wr_test_path("c.jsonl")), 0);
    cr_assert_eq(wr_rebuild(o.out, "HNSW8", false, NULL, &report, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(report.generation, "gen-000002");
    cr_assert_eq(stat(wr_test_path("index/gen-000001/vectors.bin"), &a), 0);
    cr_assert_eq(stat(wr_test_path("index/gen-000002/vectors.bin"), &b), 0);
    cr_assert_eq(a.st_ino, b.st_ino);
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(wr_index_info_get(x)->dense_factory, "HNSW8");
    cr_assert_not(wr_dense_interruptible(wr_index_dense(x)));
    cr_assert_eq(wr_dense_count(wr_index_dense(x)), 200);
    wr_index_close(x);
    /* and back again, twice: the first generation is gone then, its vectors are not */
    cr_assert_eq(wr_rebuild(o.out, "Flat", false, NULL, &report, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_rebuild(o.out, "Flat", false, NULL, &report, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    cr_assert(wr_dense_interruptible(wr_index_dense(x)));
    cr_assert_str_eq(wr_index_info_get(x)->generation, "gen-000004");
    wr_index_close(x);
    cr_assert_eq(wr_rebuild(o.out, "HNSW0", false, NULL, &report, &err), WR_EARG);
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
    wr_model_close(model);
}

Test(build, without_vectors_there_is_nothing_to_build_anew)
{
    wr_err err;
    wr_build_report report;
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    cr_assert_eq(wr_rebuild(wr_test_path("nowhere"), "HNSW8", false, NULL, &report, &err), WR_ENOTFOUND);
    cr_assert_not(wr_path_exists(wr_test_path("nowhere")));
    build(&o, &report);
    cr_assert_eq(wr_rebuild(o.out, "HNSW8", false, NULL, &report, &err), WR_EARG);
    cr_assert(strstr(err.text, "has no vectors"), "%s", err.text);
    cr_assert_eq(wr_index_fsck(o.out, NULL, NULL, &err), WR_OK, "%s", err.text);
}

Test(build, a_factory_that_cannot_be_built_is_refused_before_any_work)
{
    wr_err err;
    wr_build_report report;
    wr_model *model = model_or_skip();
    wr_build_options o = options_of(corpus("c.jsonl", 10), wr_test_path("index"));
    o.dense = model;
    o.factory = "PQ7";
    cr_assert_eq(wr_build(&o, &report, &err), WR_EARG);
    cr_assert(strstr(err.text, "PQ7"), "%s", err.text);
    cr_assert_eq(report.documents, 0);
    wr_model_close(model);
}

Test(build, a_document_of_many_megabytes_is_indexed_whole)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    const char *path = wr_test_path("long.jsonl");
    FILE *f = fopen(path, "w");
    fprintf(f, "{\"_id\":\"short\",\"text\":\"first\"}\n{\"_id\":\"long\",\"text\":\"");
    for (int i = 0; i < 8000000; i++) fprintf(f, "x%c ", 'b' + i % 20);
    fprintf(f, "lastword\"}\n");
    fclose(f);
    wr_build_options o = options_of(path, wr_test_path("index"));
    build(&o, &report);
    cr_assert_eq(wr_index_open(&x, o.out, &err), WR_OK, "%s", err.text);
    cr_assert_geq(wr_sparse_term(wr_index_bm25(x), "lastword", 8), 0);
    wr_sparse_stats stats;
    wr_sparse_stats_get(wr_index_bm25(x), &stats);
    cr_assert_gt(stats.total_length, 7000000, "%zu", (size_t)stats.total_length);
    wr_index_close(x);
}
