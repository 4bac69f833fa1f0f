/* Learned sparse vectors: indexing and searching, exact and approximate, on one thread.
 *
 *     build/release/tests/bench_sparse VECTORS [rows=N] [queries=N] [postings=N] [lists=N] [cluster=N] [share=X]
 *                                      [cuts=3,5,8] [factors=0.6,0.8] [k=10] [keep=FOLDER]
 *                                      [terms=N] [threads=N] [exhaustive=1] [two_phase=1]
 *
 * VECTORS.docs, .queries and .terms come from tools/peers/sparse/vectors.py; rows, queries and terms (of a
 * query) take the first so many.
 * The next four are the parameters of sparse_ann.h, then the grid that is searched. keep: where the index is left, and
 * used from when it is there. threads: of the making of clusters. Each query is searched once unmeasured and then five
 * times; its time is the best, so that neighbours on the machine do not count, and the figures are over the queries.
 * Recall is of the k that are best by the given weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "indexer/sparse_ann.h"

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

/* Term i of n of the query that is taken, spread evenly over those it has; returns their number. */
static uint64_t query_terms(const struct rows *rows, uint64_t q, size_t most, uint64_t at[MAX_TERMS])
{
    uint64_t from = rows->start[q], all = rows->start[q + 1] - from, n = all < most ? all : most;
    for (uint64_t i = 0; i < n; i++) at[i] = from + i * all / n;
    return n;
}

static struct query *queries_open(const struct rows *rows, const wr_sparse *sparse, size_t most)
{
    struct query *query = calloc(rows->n + 1, sizeof *query);
    must(query, "out of memory");
    for (uint64_t q = 0; q < rows->n; q++) {
        uint64_t at[MAX_TERMS], n = query_terms(rows, q, most, at);
        for (uint64_t i = 0; i < n; i++) {
            uint32_t term = rows->term[at[i]];
            int64_t id = wr_sparse_term(sparse, spelling[term], spelling_len[term]);
            if (id < 0) continue;
            query[q].term[query[q].n] = (uint32_t)id;
            query[q].weight[query[q].n++] = rows->weight[at[i]];
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

static size_t depth = 10;

/* The best documents of each query by the given weights: wanted[q * depth..]. */
static uint32_t *wanted;
static size_t *nwanted;

static void find_wanted(const struct rows *docs, const struct rows *queries, size_t most)
{
    float *weight = calloc(nspellings, sizeof *weight);
    float *best = calloc(depth, sizeof *best);
    wanted = calloc((queries->n + 1) * depth, sizeof *wanted);
    nwanted = calloc(queries->n + 1, sizeof *nwanted);
    must(weight && best && wanted && nwanted, "out of memory");
    for (uint64_t q = 0; q < queries->n; q++) {
        wr_topk top;
        wr_topk_init(&top, depth, wanted + q * depth, best);
        uint64_t at[MAX_TERMS], n = query_terms(queries, q, most, at);
        for (uint64_t i = 0; i < n; i++) weight[queries->term[at[i]]] = queries->weight[at[i]];
        for (uint32_t d = 0; d < docs->n; d++) {
            float sum = 0;
            for (uint64_t i = docs->start[d]; i < docs->start[d + 1]; i++)
                sum += docs->weight[i] * weight[docs->term[i]];
            if (sum > 0) wr_topk_push(&top, d, sum);
        }
        nwanted[q] = wr_topk_sort(&top);
        for (uint64_t i = 0; i < n; i++) weight[queries->term[at[i]]] = 0;
    }
    free(weight);
    free(best);
}

struct searched {
    const wr_sparse *sparse;
    const wr_sparse_ann *ann;
    bool exhaustive, two_phase;
    wr_sparse_ann_options options;
};

static wr_status search(const struct searched *how, const struct query *query, wr_arena *arena, wr_hits *hits)
{
    wr_sparse_query q = {query->term, query->weight, query->n};
    if (how->ann) return wr_sparse_ann_search(how->ann, &q, depth, &how->options, NULL, 0, NULL, arena, hits);
    if (how->exhaustive) return wr_sparse_search_exhaustive(how->sparse, &q, depth, NULL, 0, arena, hits);
    if (how->two_phase) return wr_sparse_search_two_phase(how->sparse, &q, depth, NULL, NULL, 0, NULL, arena, hits);
    return wr_sparse_search(how->sparse, &q, depth, NULL, 0, NULL, arena, hits);
}

static void measure(const char *what, const struct searched *how, const struct query *query, size_t n, wr_arena *arena)
{
    double *us = calloc(n + 1, sizeof *us);
    size_t found = 0, want = 0, seen = 0;
    must(us != NULL, "out of memory");
    for (int round = 0; round <= ROUNDS; round++) {
        for (size_t q = 0; q < n; q++) {
            wr_hits hits;
            double start = now_us();
            check(search(how, &query[q], arena, &hits), &(wr_err){.text = "out of memory"});
            double took = now_us() - start;
            if (round == 1 || (round > 0 && took < us[q])) us[q] = took;
            for (size_t i = 0; round == 0 && i < hits.n; i++)
                for (size_t j = 0; j < nwanted[q]; j++) found += hits.docid[i] == wanted[q * depth + j];
            want += round == 0 ? nwanted[q] : 0;
            seen += round == 0 ? hits.seen : 0;
            wr_arena_reset(arena, 1 << 24);
        }
    }
    report(what, us, n);
    printf("   recall@%zu %.4f   seen %zu\n", depth, want ? (double)found / (double)want : 1, seen / (n ? n : 1));
    fflush(stdout);
    free(us);
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    size_t n = strlen(name);
    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], name, n) && argv[i][n] == '=') return argv[i] + n + 1;
    return fallback;
}

static uint32_t number(int argc, char **argv, const char *name)
{
    return (uint32_t)strtoull(option(argc, argv, name, "0"), NULL, 10);
}

static void measure_grid(int argc, char **argv, const wr_sparse_ann *ann, const struct query *query, size_t n,
                         wr_arena *arena)
{
    const char *cuts = option(argc, argv, "cuts", "3,4,5,6,8,12,40");
    for (char *end; *cuts; cuts = *end ? end + 1 : end) {
        uint32_t cut = (uint32_t)strtoul(cuts, &end, 10);
        const char *factors = option(argc, argv, "factors", "0.5,0.6,0.7,0.8,0.9");
        for (char *stop; *factors; factors = *stop ? stop + 1 : stop) {
            float factor = strtof(factors, &stop);
            char what[64];
            snprintf(what, sizeof what, "cut %u factor %.2f", cut, (double)factor);
            measure(what, &(struct searched){.ann = ann, .options = {factor, cut}}, query, n, arena);
        }
    }
}

static void build_ann(int argc, char **argv, const wr_sparse *sparse, const char *path, wr_pool *pool)
{
    wr_err err;
    double start = now_us();
    wr_sparse_ann_params params = {number(argc, argv, "postings"), number(argc, argv, "lists"),
                                   number(argc, argv, "cluster"), strtof(option(argc, argv, "share", "0"), NULL)};
    check(wr_sparse_ann_build(sparse, path, &params, pool, &err), &err);
    printf("clusters: %.2f s on %u thread(s), at most %.0f MiB so far\n", (now_us() - start) / 1e6,
           wr_pool_threads(pool), max_rss_mib());
}

static void print_sizes(const wr_sparse *sparse, const wr_sparse_ann *ann)
{
    wr_sparse_stats s;
    wr_sparse_ann_stats a;
    wr_sparse_stats_get(sparse, &s);
    wr_sparse_ann_stats_get(ann, &a);
    double docs = (double)s.ndocs;
    printf("bytes a document: postings %.0f, blocks %.0f, terms %.0f; forward %.0f, lists %.0f, directory %.0f\n",
           (double)s.bytes_postings / docs, (double)s.bytes_blocks / docs, (double)s.bytes_terms / docs,
           (double)a.bytes_forward / docs, (double)a.bytes_lists / docs, (double)a.bytes_directory / docs);
    printf("lists: %.1f postings a document in %llu clusters, %.1f summary entries a cluster (postings %u, lists %u, "
           "cluster %u, share %.2f)\n",
           (double)a.postings / docs, (unsigned long long)a.clusters,
           (double)a.summary_entries / (double)(a.clusters ? a.clusters : 1), a.params.list_postings,
           a.params.document_lists, a.params.cluster_docs, (double)a.params.summary_share);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/bench-sparse-XXXXXX", file[300], ann_file[300];
    struct rows docs, queries;
    wr_err err;
    wr_sparse *sparse;
    wr_sparse_ann *ann;
    wr_arena arena;
    wr_pool *pool = NULL;
    if (argc < 2) {
        printf("bench_sparse: no VECTORS given (tools/peers/sparse/vectors.py makes them): nothing measured\n");
        return 0;
    }
    size_t terms = number(argc, argv, "terms") ? number(argc, argv, "terms") : MAX_TERMS;
    if (number(argc, argv, "k")) depth = number(argc, argv, "k");
    const char *keep = option(argc, argv, "keep", NULL);
    must(mkdtemp(dir) != NULL, "no temporary folder");
    snprintf(file, sizeof file, "%s/sparse.bin", keep ? keep : dir);
    snprintf(ann_file, sizeof ann_file, "%s/sparse_ann.bin", keep ? keep : dir);
    rows_open(&docs, beside(argv[1], ".docs"));
    rows_open(&queries, beside(argv[1], ".queries"));
    terms_read(beside(argv[1], ".terms"));
    if (number(argc, argv, "rows") && number(argc, argv, "rows") < docs.n) docs.n = number(argc, argv, "rows");
    if (number(argc, argv, "queries") && number(argc, argv, "queries") < queries.n)
        queries.n = number(argc, argv, "queries");
    if (number(argc, argv, "threads") > 1) check(wr_pool_open(&pool, number(argc, argv, "threads"), NULL, &err), &err);
    if (!keep || !wr_path_exists(file)) build(&docs, dir, file);
    check(wr_sparse_open(&sparse, file, &err), &err);
    if (!keep || !wr_path_exists(ann_file)) build_ann(argc, argv, sparse, ann_file, pool);
    check(wr_sparse_ann_open(&ann, sparse, ann_file, &err), &err);
    check(wr_arena_init(&arena, (size_t)1 << 30), &err);
    print_sizes(sparse, ann);
    struct query *query = queries_open(&queries, sparse, terms);
    find_wanted(&docs, &queries, terms);
    measure("exact", &(struct searched){.sparse = sparse}, query, queries.n, &arena);
    if (number(argc, argv, "exhaustive"))
        measure("exhaustive", &(struct searched){.sparse = sparse, .exhaustive = true}, query, queries.n, &arena);
    if (number(argc, argv, "two_phase"))
        measure("two phases", &(struct searched){.sparse = sparse, .two_phase = true}, query, queries.n, &arena);
    measure_grid(argc, argv, ann, query, queries.n, &arena);
    wr_sparse_ann_close(ann);
    wr_sparse_close(sparse);
    wr_pool_close(pool);
    wr_arena_release(&arena);
    return wr_dir_remove(dir, &err) ? 1 : 0;
}
