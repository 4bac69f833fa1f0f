/* Every file of an index truncated and bit-flipped: refused by name when it is opened or by fsck, and what opens all
 * the same answers queries without a crash. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexer/build.h"
#include "indexer/manifest.h"
#include "tests/testlib.h"

enum { DOCS = 1500, DIM = 24, FLIPS = 80 };

static char dir[256];

static void write_vectors(const char *path)
{
    wr_err err;
    wr_vectors_writer *w;
    wr_test_random random = {3};
    static float rows[DOCS * DIM];
    for (size_t i = 0; i < DOCS * DIM; i++) rows[i] = wr_test_normal(&random);
    cr_assert_eq(wr_vectors_writer_open(&w, path, DIM, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_vectors_writer_add(w, rows, DOCS, &err), WR_OK);
    cr_assert_eq(wr_vectors_writer_commit(w, &err), WR_OK);
}

/* Gives the lexical index vectors and a graph, as a build with a model would. */
static void add_dense(void)
{
    wr_err err;
    wr_manifest m;
    char vectors[300], faiss[300], path[300], *text;
    size_t n;
    cr_assert_eq(wr_manifest_load(&m, dir, &err), WR_OK, "%s", err.text);
    snprintf(vectors, sizeof vectors, "%s/gen-000001/vectors.bin", dir);
    snprintf(faiss, sizeof faiss, "%s/gen-000001/dense.faiss", dir);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    write_vectors(vectors);
    cr_assert_eq(wr_dense_build(vectors, "HNSW8", false, faiss, &err), WR_OK, "%s", err.text);
    m.info.has_dense = true;
    m.info.dense_model_path = "/m";
    m.info.dense_model_name = "m";
    m.info.dense_model_sha256 = m.info.corpus_sha256;
    m.info.dense_pooling = "mean";
    m.info.dense_factory = "HNSW8";
    m.info.dense_dim = DIM;
    m.info.dense_max_doc_tokens = m.info.dense_max_query_tokens = 256;
    cr_assert_eq(wr_manifest_add(&m, WR_FILE_VECTORS, vectors, NULL, &err), WR_OK);
    cr_assert_eq(wr_manifest_add(&m, WR_FILE_FAISS, faiss, NULL, &err), WR_OK);
    cr_assert_eq(wr_manifest_text(&m, &text, &n, &err), WR_OK);
    cr_assert_eq(wr_file_replace(path, text, n, &err), WR_OK);
    free(text);
    wr_manifest_release(&m);
}

static void begin(void)
{
    wr_err err;
    wr_build_report report;
    wr_test_random random = {11};
    char corpus[256];
    snprintf(dir, sizeof dir, "%s", wr_test_path("index"));
    snprintf(corpus, sizeof corpus, "%s", wr_test_path("corpus.jsonl"));
    FILE *f = fopen(corpus, "w");
    for (int i = 0; i < DOCS; i++) {
        fprintf(f, "{\"_id\":\"doc%d\",\"title\":\"t%d\",\"text\":\"", i, i);
        for (size_t words = 20 + wr_test_below(&random, 60); words; words--)
            fprintf(f, "w%zu ", wr_test_below(&random, 1 + wr_test_below(&random, 2000)));
        fprintf(f, "\"}\n");
    }
    fclose(f);
    wr_build_options o = {.corpus = corpus, .out = dir, .bm25 = {0.9, 0.4}};
    cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    add_dense();
}

TestSuite(corrupt, .init = begin);

/* ---- using an index whatever its bytes are; only crashes count ---- */

static void search(const wr_index *x, wr_arena *arena)
{
    wr_hits hits;
    const wr_sparse *bm25 = wr_index_bm25(x);
    for (int q = 0; q < 30; q++) {
        uint32_t term[2];
        float weight[2] = {1.5f, 0.7f};
        size_t n = 0;
        for (int i = 0; i < 2; i++) {
            char word[16];
            int len = snprintf(word, sizeof word, "w%d", q * 3 + i * 50);
            int64_t id = wr_sparse_term(bm25, word, (size_t)len);
            if (id >= 0 && (n == 0 || term[0] < (uint32_t)id)) term[n++] = (uint32_t)id;
        }
        wr_sparse_query query = {term, weight, n};
        wr_arena_reset(arena, 0);
        if (n) wr_sparse_search(bm25, &query, 100, NULL, 0, NULL, arena, &hits);
        for (size_t i = 0; n && i < hits.n; i++) cr_assert_lt(hits.docid[i], DOCS);
    }
    const wr_dense *dense = wr_index_dense(x);
    float query[DIM];
    for (size_t i = 0; i < DIM; i++) query[i] = (float)i - 10;
    wr_arena_reset(arena, 0);
    if (dense) cr_assert_eq(wr_dense_search(dense, query, 50, NULL, NULL, 0, NULL, NULL, arena, &hits), WR_OK);
}

static void fetch(const wr_index *x)
{
    wr_err err;
    wr_docreader *r;
    cr_assert_eq(wr_docreader_open(&r, wr_index_docstore(x), &err), WR_OK);
    for (uint32_t i = 0; i < wr_index_ndocs(x); i += 7) {
        wr_doc doc;
        uint32_t docid, first, n;
        wr_index_passages(x, wr_index_document(x, i), &first, &n);
        if (!wr_docreader_get(r, wr_index_document(x, i), &doc)) wr_docreader_find(r, doc.docno, doc.docno_len, &docid);
    }
    wr_docreader_close(r);
}

/* Opens and uses it; returns what opening said. */
static wr_status use(wr_err *err)
{
    wr_index *x;
    wr_arena arena;
    wr_status st = wr_index_open(&x, dir, err);
    if (st) {
        cr_assert_null(x);
        return st;
    }
    cr_assert_eq(wr_arena_init(&arena, (size_t)64 << 20), WR_OK);
    search(x, &arena);
    fetch(x);
    wr_arena_release(&arena);
    wr_index_close(x);
    return WR_OK;
}

/* ---- damaging it ---- */

static void damaged(const char *name, const char *how, size_t at)
{
    wr_err err = {0};
    wr_status st = use(&err);
    if (!st) st = wr_index_fsck(dir, NULL, NULL, &err);
    bool bad_data = st == WR_EFORMAT || (st == WR_EUNSUPPORTED && !strcmp(name, "manifest.json"));
    cr_assert(bad_data, "%s %s at %zu: %s, '%s'", name, how, at, wr_status_name(st), err.text);
    cr_assert(strstr(err.text, name), "%s %s at %zu: '%s'", name, how, at, err.text);
}

static void restore(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void truncated(const char *path, const char *name, const char *bytes, size_t n)
{
    const size_t cut[] = {0, 1, 16, 31, 32, 33, 64, 4096, n / 3, n / 2, n - 4096, n - 33, n - 1};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        if (cut[i] >= n) continue;
        cr_assert_eq(truncate(path, (off_t)cut[i]), 0);
        damaged(name, "truncated", cut[i]);
        restore(path, bytes, n);
    }
}

/* A flipped digit of the time stamp goes unseen: it is the one thing that no checksum covers. */
static bool in_time(const char *name, const char *bytes, size_t at)
{
    if (strcmp(name, "manifest.json")) return false;
    const char *line = strstr(bytes, "  \"created\":");
    return bytes + at >= line && bytes + at < line + strcspn(line, "\n");
}

static void flipped(const char *path, const char *name, char *bytes, size_t n, uint64_t seed)
{
    wr_test_random random = {seed};
    for (size_t i = 0; i < FLIPS; i++) {
        /* Half of them where headers and roots are. */
        size_t at = wr_test_below(&random, i % 2 && n > 512 ? 512 : n), bit = wr_test_below(&random, 8);
        if (in_time(name, bytes, at)) continue;
        FILE *f = fopen(path, "r+b");
        fseek(f, (long)at, SEEK_SET);
        fputc(bytes[at] ^ 1 << bit, f);
        fclose(f);
        damaged(name, "flipped", at);
        restore(path, bytes, n);
    }
}

static void damage(const char *folder, const char *name)
{
    wr_err err;
    char path[300], *bytes;
    size_t n;
    snprintf(path, sizeof path, "%s/%s%s", dir, folder, name);
    cr_assert_eq(wr_file_read(path, (size_t)64 << 20, &bytes, &n, &err), WR_OK, "%s", err.text);
    truncated(path, name, bytes, n);
    flipped(path, name, bytes, n, n);
    cr_assert_eq(use(&err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_index_fsck(dir, NULL, NULL, &err), WR_OK, "%s", err.text);
    free(bytes);
}

Test(corrupt, the_manifest)
{
    damage("", "manifest.json");
}

Test(corrupt, the_documents)
{
    damage("gen-000001/", "docs.mdb");
}

Test(corrupt, the_passage_map)
{
    damage("gen-000001/", "passages.bin");
}

Test(corrupt, the_postings)
{
    damage("gen-000001/", "bm25.bin");
}

Test(corrupt, the_vectors)
{
    damage("gen-000001/", "vectors.bin");
}

Test(corrupt, the_dense_index)
{
    damage("gen-000001/", "dense.faiss");
}

/* Behind its checksums, too, a file's own reader refuses or survives: the manifest is made to agree with the damage. */
static void forged(enum wr_index_file which, uint64_t seed)
{
    wr_err err;
    wr_test_random random = {seed};
    char path[300], manifest[300], *bytes, *original;
    size_t n, m;
    snprintf(path, sizeof path, "%s/gen-000001/%s", dir, wr_index_file_name[which]);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", dir);
    cr_assert_eq(wr_file_read(path, (size_t)64 << 20, &bytes, &n, &err), WR_OK);
    cr_assert_eq(wr_file_read(manifest, (size_t)1 << 20, &original, &m, &err), WR_OK);
    for (size_t i = 0; i < FLIPS; i++) {
        char *text;
        size_t len, at = wr_test_below(&random, i % 2 ? 256 : n);
        wr_manifest forgery;
        FILE *f = fopen(path, "r+b");
        fseek(f, (long)at, SEEK_SET);
        fputc((int)wr_test_below(&random, 256), f);
        fclose(f);
        cr_assert_eq(wr_manifest_load(&forgery, dir, &err), WR_OK, "%s", err.text);
        free(forgery.file[which].xxh3);
        cr_assert_eq(wr_manifest_add(&forgery, which, path, NULL, &err), WR_OK);
        cr_assert_eq(wr_manifest_text(&forgery, &text, &len, &err), WR_OK);
        restore(manifest, text, len);
        use(&err);
        wr_index_fsck(dir, NULL, NULL, &err);
        free(text);
        wr_manifest_release(&forgery);
        restore(manifest, original, m);
        restore(path, bytes, n);
    }
    free(bytes);
    free(original);
}

Test(corrupt, postings_with_checksums_that_agree)
{
    forged(WR_FILE_BM25, 1);
}

Test(corrupt, vectors_and_passages_with_checksums_that_agree)
{
    forged(WR_FILE_VECTORS, 2);
    forged(WR_FILE_PASSAGES, 3);
}
