/* BM25 alone: documents a second into the index, and microseconds a query out of it, on one thread.
 *
 *     build/release/tests/bench_bm25 [CORPUS [QUERIES [PARTS]]]
 *
 * CORPUS is anything that `weir index` reads (data/sample by default), QUERIES a file with one query a line (by default
 * every title of the corpus up to 1,000). Each query is analysed and searched once unmeasured and then five times, one
 * at a time; a query's time is the best of its five, so that neighbours on the machine do not count, and the figures
 * are percentiles of those. PARTS > 1 indexes the corpus that many times over, for growth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/corpus.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "indexer/analyzer.h"
#include "indexer/sparse.h"

enum { MAX_QUERIES = 10000, MAX_TERMS = 512, ROUNDS = 5 };

static struct query {
    char *text;
    uint32_t term[MAX_TERMS];
    float weight[MAX_TERMS];
    size_t n;
    double analyse_us, search_us;
} * queries;
static size_t nqueries;

static void check(wr_status st, const wr_err *err)
{
    if (!st) return;
    fprintf(stderr, "bench_bm25: %s\n", err->text);
    exit(1);
}

static double now_us(void)
{
    return (double)wr_clock_now(&wr_clock_system) / 1e3;
}

static double max_rss_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void query_add(const char *text, size_t n)
{
    if (nqueries == MAX_QUERIES || n == 0) return;
    queries[nqueries++].text = strndup(text, n);
}

static void queries_read(const char *path)
{
    wr_err err;
    wr_lines *lines;
    const char *line;
    size_t n;
    check(wr_lines_open(&lines, path, &err), &err);
    for (;;) {
        check(wr_lines_next(lines, &line, &n, &err), &err);
        if (!line) break;
        query_add(line, n);
    }
    wr_lines_close(lines);
}

static void add_document(wr_sparse_writer *writer, wr_analyzer *analyzer, const wr_doc *doc, wr_arena *arena)
{
    wr_err err = {.text = "out of memory"};
    size_t n = doc->title_len + 1 + doc->text_len, count;
    char *text = wr_arena_alloc(arena, n + 1);
    wr_term *term;
    check(text ? WR_OK : WR_ENOMEM, &err);
    snprintf(text, n + 1, "%s %s", doc->title, doc->text);
    check(wr_analyzer_terms(analyzer, text, n, arena, &term, &count), &err);
    const char **spelling = wr_arena_calloc(arena, count, sizeof *spelling);
    uint32_t *len = wr_arena_calloc(arena, count, sizeof *len);
    check(spelling && len ? WR_OK : WR_ENOMEM, &err);
    for (size_t i = 0; i < count; i++) {
        spelling[i] = term[i].text;
        len[i] = (uint32_t)term[i].len;
    }
    check(wr_sparse_writer_add(writer, spelling, len, count, &err), &err);
    wr_arena_reset(arena, 1 << 24);
}

static void build(const char *path, const char *dir, const char *file, int parts, bool titles, wr_analyzer *analyzer)
{
    wr_err err;
    wr_sparse_writer *writer;
    wr_arena arena;
    uint64_t documents = 0;
    double start = now_us();
    check(wr_arena_init(&arena, (size_t)4 << 30), &err);
    check(wr_sparse_writer_open(&writer, dir, 0, &err), &err);
    for (int part = 0; part < parts; part++) {
        wr_corpus *corpus;
        wr_doc doc;
        check(wr_corpus_open(&corpus, path, WR_CORPUS_AUTO, &err), &err);
        for (;;) {
            check(wr_corpus_next(corpus, &doc, &err), &err);
            if (!doc.docno) break;
            add_document(writer, analyzer, &doc, &arena);
            documents++;
            if (titles && nqueries < 1000) query_add(doc.title, doc.title_len);
        }
        wr_corpus_close(corpus);
    }
    double read = now_us();
    check(wr_sparse_writer_commit_bm25(writer, file, &(wr_bm25_params){0.9, 0.4}, &err), &err);
    double end = now_us();
    printf("index: %llu documents in %.2f s (%.2f s read and analysed, %.2f s merged), %.0f documents/s, at most %.0f "
           "MiB\n",
           (unsigned long long)documents, (end - start) / 1e6, (read - start) / 1e6, (end - read) / 1e6,
           (double)documents / (end - start) * 1e6, max_rss_mib());
    wr_arena_release(&arena);
}

static void analyse(const wr_sparse *sparse, wr_analyzer *analyzer, struct query *query, wr_arena *arena)
{
    wr_term *term;
    size_t count;
    wr_err err = {.text = "out of memory"};
    query->n = 0;
    check(wr_analyzer_terms(analyzer, query->text, strlen(query->text), arena, &term, &count), &err);
    for (size_t i = 0; i < count; i++) {
        int64_t id = wr_sparse_term(sparse, term[i].text, term[i].len);
        if (id < 0) continue;
        float idf = wr_sparse_idf(sparse, (uint32_t)id);
        size_t j = 0;
        while (j < query->n && query->term[j] != (uint32_t)id) j++;
        if (j == MAX_TERMS) continue;
        if (j == query->n) {
            query->term[query->n] = (uint32_t)id;
            query->weight[query->n++] = 0;
        }
        query->weight[j] += idf;
    }
}

static double searched(const wr_sparse *sparse, const struct query *query, size_t k, wr_arena *arena, double *sum)
{
    wr_hits hits;
    wr_err err = {.text = "out of memory"};
    double start = now_us();
    check(wr_sparse_search(sparse, &(wr_sparse_query){query->term, query->weight, query->n}, k, NULL, 0, NULL, arena,
                           &hits),
          &err);
    double us = now_us() - start;
    for (size_t i = 0; i < hits.n; i++) *sum += (double)hits.score[i] / (double)(hits.docid[i] + 1);
    wr_arena_reset(arena, 1 << 24);
    return us;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *us)
{
    double sum = 0;
    qsort(us, nqueries, sizeof *us, by_value);
    for (size_t i = 0; i < nqueries; i++) sum += us[i];
    printf("%-10s p50 %8.1f us   p90 %8.1f us   p99 %8.1f us   mean %8.1f us   %8.0f queries/s\n", what,
           us[nqueries / 2], us[nqueries * 9 / 10], us[nqueries * 99 / 100], sum / (double)nqueries,
           (double)nqueries / sum * 1e6);
}

static void measure(const wr_sparse *sparse, wr_analyzer *analyzer)
{
    static const size_t depth[] = {10, 100, 1000};
    wr_arena arena;
    double *us = calloc(nqueries + 1, sizeof *us);
    check(us ? wr_arena_init(&arena, (size_t)1 << 30) : WR_ENOMEM, &(wr_err){.text = "out of memory"});
    for (int round = 0; round <= ROUNDS; round++) {
        for (size_t i = 0; i < nqueries; i++) {
            double start = now_us();
            analyse(sparse, analyzer, &queries[i], &arena);
            wr_arena_reset(&arena, 1 << 24);
            double took = now_us() - start;
            if (round > 0 && (round == 1 || took < us[i])) us[i] = took;
        }
    }
    report("analysis", us);
    for (size_t d = 0; d < sizeof depth / sizeof *depth; d++) {
        char what[32];
        double sum = 0;
        for (int round = 0; round <= ROUNDS; round++) {
            for (size_t i = 0; i < nqueries; i++) {
                double took = searched(sparse, &queries[i], depth[d], &arena, &sum);
                if (round > 0 && (round == 1 || took < us[i])) us[i] = took;
            }
        }
        snprintf(what, sizeof what, "k = %zu", depth[d]);
        report(what, us);
        fprintf(stderr, "(checksum %.6f)\n", sum);
    }
    wr_arena_release(&arena);
    free(us);
}

int main(int argc, char **argv)
{
    const char *corpus = argc > 1 ? argv[1] : "data/sample", *reuse = getenv("BENCH_INDEX");
    char dir[] = "/tmp/bench-bm25-XXXXXX", file[64];
    wr_err err;
    wr_sparse *sparse;
    wr_analyzer *analyzer;
    queries = calloc(MAX_QUERIES, sizeof *queries);
    if (!queries || !mkdtemp(dir)) return 1;
    snprintf(file, sizeof file, "%s/bm25.bin", dir);
    check(wr_analyzer_open(&analyzer, "english", &err), &err);
    if (argc > 2) queries_read(argv[2]);
    if (!reuse) build(corpus, dir, file, argc > 3 ? atoi(argv[3]) : 1, argc <= 2, analyzer);
    check(wr_sparse_open(&sparse, reuse ? reuse : file, &err), &err);
    wr_sparse_stats stats;
    wr_sparse_stats_get(sparse, &stats);
    printf(
        "stored: %llu terms, %llu postings, %.1f MiB (terms %.1f, postings %.1f, blocks %.1f): %.2f bytes a posting\n",
        (unsigned long long)stats.nterms, (unsigned long long)stats.npostings,
        (double)(stats.bytes_terms + stats.bytes_postings + stats.bytes_blocks) / 1048576,
        (double)stats.bytes_terms / 1048576, (double)stats.bytes_postings / 1048576,
        (double)stats.bytes_blocks / 1048576,
        (double)(stats.bytes_postings + stats.bytes_blocks) / (double)stats.npostings);
    measure(sparse, analyzer);
    wr_sparse_close(sparse);
    wr_analyzer_close(analyzer);
    return wr_dir_remove(dir, &err) ? 1 : 0;
}
