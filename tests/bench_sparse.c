/* Learned sparse vectors: indexing and searching, on one thread.
 *
 *     build/release/tests/bench_sparse VECTORS [ROWS]
 *
 * VECTORS.docs, .queries and .terms come from tools/peers/sparse/vectors.py. ROWS: the first so many documents only.
 * Each query is searched once unmeasured and then ROUNDS times; its time is the best, so that neighbours on the machine
 * do not count, and the figures are over the queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "indexer/sparse.h"

enum { ROUNDS = 5, MAX_TERMS = 512 };

/* Rows of terms with weights, as the file has them. */
struct rows {
    wr_map map;
    uint64_t n;
    const uint64_t *start;
    const uint32_t *term;
    const float *weight;
};

static char **spelling;
static uint32_t *spelling_len;
static size_t nspellings;

static void check(wr_status st, const wr_err *err)
{
    if (!st) return;
    fprintf(stderr, "bench_sparse: %s\n", err->text);
    exit(1);
}

static void must(bool fine, const char *what)
{
    if (fine) return;
    fprintf(stderr, "bench_sparse: %s\n", what);
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

static const char *beside(const char *name, const char *suffix)
{
    static char path[4096];
    must((size_t)snprintf(path, sizeof path, "%s%s", name, suffix) < sizeof path, "the path is too long");
    return path;
}

static void rows_open(struct rows *rows, const char *path)
{
    wr_err err;
    check(wr_map_open(&rows->map, path, &err), &err);
    const uint64_t *head = (const uint64_t *)(const void *)rows->map.bytes;
    must(rows->map.size >= 16 && rows->map.size == 8 * (head[0] + 3) + 8 * head[1], "not a file of vectors.py");
    rows->n = head[0];
    rows->start = head + 2;
    rows->term = (const uint32_t *)(const void *)(rows->start + rows->n + 1);
    rows->weight = (const float *)(const void *)(rows->term + head[1]);
}

static void terms_read(const char *path)
{
    wr_err err;
    wr_lines *lines;
    const char *line;
    size_t n, room = 0;
    check(wr_lines_open(&lines, path, &err), &err);
    for (;;) {
        check(wr_lines_next(lines, &line, &n, &err), &err);
        if (!line) break;
        if (nspellings == room) {
            room = room ? 2 * room : 4096;
            spelling = realloc(spelling, room * sizeof *spelling);
            spelling_len = realloc(spelling_len, room * sizeof *spelling_len);
            must(spelling && spelling_len, "out of memory");
        }
        spelling[nspellings] = strndup(line, n);
        spelling_len[nspellings++] = (uint32_t)n;
    }
    wr_lines_close(lines);
}

static void build(const struct rows *docs, const char *dir, const char *file)
{
    wr_err err;
    wr_sparse_writer *writer;
    const char *term[MAX_TERMS];
    uint32_t len[MAX_TERMS];
    double start = now_us();
    check(wr_sparse_writer_open(&writer, dir, 0, &err), &err);
    for (uint64_t d = 0; d < docs->n; d++) {
        uint64_t from = docs->start[d], n = docs->start[d + 1] - from;
        must(n <= MAX_TERMS, "a document has too many terms");
        for (uint64_t i = 0; i < n; i++) {
            term[i] = spelling[docs->term[from + i]];
            len[i] = spelling_len[docs->term[from + i]];
        }
        check(wr_sparse_writer_add_weights(writer, term, len, docs->weight + from, n, &err), &err);
    }
    check(wr_sparse_writer_commit_weights(writer, file, &err), &err);
    printf("index: %llu documents in %.2f s, at most %.0f MiB (the vectors' map counted)\n",
           (unsigned long long)docs->n, (now_us() - start) / 1e6, max_rss_mib());
}

/* A query's terms as the index numbers them. */
struct query {
    uint32_t term[MAX_TERMS];
    float weight[MAX_TERMS];
    size_t n;
};

static struct query *queries_open(const struct rows *rows, const wr_sparse *sparse)
{
    struct query *query = calloc(rows->n + 1, sizeof *query);
    must(query, "out of memory");
    for (uint64_t q = 0; q < rows->n; q++) {
        for (uint64_t i = rows->start[q]; i < rows->start[q + 1] && query[q].n < MAX_TERMS; i++) {
            int64_t id = wr_sparse_term(sparse, spelling[rows->term[i]], spelling_len[rows->term[i]]);
            if (id < 0) continue;
            query[q].term[query[q].n] = (uint32_t)id;
            query[q].weight[query[q].n++] = rows->weight[i];
        }
    }
    return query;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *us, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += us[i];
    qsort(us, n, sizeof *us, compare_doubles);
    printf("%-28s p50 %8.1f us   p90 %8.1f us   p99 %8.1f us   mean %8.1f us", what, us[n / 2], us[n * 9 / 10],
           us[n * 99 / 100], sum / (double)n);
}

/* Share of the k best by the given weights that are in a list. */
static double recall_of(const struct rows *docs, const struct rows *queries, uint64_t q, const wr_hits *hits, size_t k)
{
    static float *weight;
    static uint64_t *key;
    if (!weight) weight = calloc(nspellings, sizeof *weight);
    if (!key) key = calloc(docs->n, sizeof *key);
    must(weight && key, "out of memory");
    for (uint64_t i = queries->start[q]; i < queries->start[q + 1]; i++) weight[queries->term[i]] = queries->weight[i];
    float *best = calloc(k + 1, sizeof *best);
    uint32_t *who = calloc(k + 1, sizeof *who);
    wr_topk top;
    must(best && who, "out of memory");
    wr_topk_init(&top, k, who, best);
    for (uint32_t d = 0; d < docs->n; d++) {
        float sum = 0;
        for (uint64_t i = docs->start[d]; i < docs->start[d + 1]; i++) sum += docs->weight[i] * weight[docs->term[i]];
        if (sum > 0) wr_topk_push(&top, d, sum);
    }
    size_t n = wr_topk_sort(&top), found = 0;
    for (size_t i = 0; i < hits->n; i++)
        for (size_t j = 0; j < n; j++) found += hits->docid[i] == who[j];
    for (uint64_t i = queries->start[q]; i < queries->start[q + 1]; i++) weight[queries->term[i]] = 0;
    free(best);
    free(who);
    return n ? (double)found / (double)n : 1;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/bench-sparse-XXXXXX", file[64];
    struct rows docs, queries;
    wr_err err;
    wr_sparse *sparse;
    wr_arena arena;
    if (argc < 2) {
        printf("bench_sparse: no VECTORS given (tools/peers/sparse/vectors.py makes them): nothing measured\n");
        return 0;
    }
    must(mkdtemp(dir) != NULL, "no temporary folder");
    snprintf(file, sizeof file, "%s/sparse.bin", dir);
    rows_open(&docs, beside(argv[1], ".docs"));
    rows_open(&queries, beside(argv[1], ".queries"));
    terms_read(beside(argv[1], ".terms"));
    if (argc > 2 && strtoull(argv[2], NULL, 10) < docs.n) docs.n = strtoull(argv[2], NULL, 10);
    build(&docs, dir, file);
    check(wr_sparse_open(&sparse, file, &err), &err);
    check(wr_arena_init(&arena, (size_t)1 << 30), &err);
    struct query *query = queries_open(&queries, sparse);
    double *us = calloc(queries.n + 1, sizeof *us), recall = 0;
    size_t sampled = queries.n < 100 ? queries.n : 100;
    for (size_t e = 0; e < 2; e++) {
        for (int round = 0; round <= ROUNDS; round++) {
            for (uint64_t q = 0; q < queries.n; q++) {
                wr_hits hits;
                wr_sparse_query sq = {query[q].term, query[q].weight, query[q].n};
                double start = now_us();
                if (e)
                    check(wr_sparse_search_exhaustive(sparse, &sq, 10, NULL, 0, &arena, &hits), &err);
                else
                    check(wr_sparse_search(sparse, &sq, 10, NULL, 0, NULL, &arena, &hits), &err);
                double took = now_us() - start;
                if (round == 1 || (round > 0 && took < us[q])) us[q] = took;
                if (round == 0 && !e && q < sampled) recall += recall_of(&docs, &queries, q, &hits, 10);
                wr_arena_reset(&arena, 1 << 24);
            }
        }
        report(e ? "exhaustive" : "exact", us, queries.n);
        if (!e) printf("   recall@10 against the given weights %.4f", recall / (double)sampled);
        printf("\n");
    }
    wr_sparse_close(sparse);
    wr_arena_release(&arena);
    return wr_dir_remove(dir, &err) ? 1 : 0;
}
