/* One index shared by many threads: scans, graph searches with different ef, postings and documents at once; every
 * answer equals the one that a single thread got. For ThreadSanitizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "indexer/build.h"
#include "indexer/index.h"

enum { DOCS = 3000, DIM = 16, TASKS = 64, ROUNDS = 10, K = 10 };

static const size_t efs[] = {16, 16, 16, 200};

static void check(int ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "stress_index: %s\n", what);
    exit(1);
}

typedef struct shared {
    const wr_index *index;
    const wr_dense *flat, *graph;
    uint32_t want_flat[TASKS][K], want_graph[TASKS][K];
} shared;

typedef struct task {
    shared *s;
    size_t number;
} task;

static void search(const wr_dense *d, size_t number, uint32_t docid[K])
{
    wr_hits hits;
    wr_arena *arena = wr_arena_of_thread();
    size_t mark = wr_arena_mark(arena);
    wr_dense_params params = {.ef = efs[number % 4]};
    const float *query = wr_dense_vector(d, (uint32_t)number * 31);
    check(!wr_dense_search(d, query, K, &params, NULL, 0, NULL, NULL, arena, &hits) && hits.n == K, "search");
    memcpy(docid, hits.docid, K * sizeof *docid);
    wr_arena_rollback(arena, mark);
}

static void fetch(const wr_index *x, size_t number)
{
    wr_err err;
    wr_docreader *r;
    wr_doc doc;
    uint32_t docid;
    char docno[16];
    int n = snprintf(docno, sizeof docno, "d%zu", number);
    check(!wr_docreader_open(&r, wr_index_docstore(x), &err), "docreader");
    check(!wr_docreader_find(r, docno, (size_t)n, &docid) && docid == number, "find");
    check(!wr_docreader_get(r, docid, &doc) && !strcmp(doc.docno, docno), "get");
    wr_docreader_close(r);
    check(wr_sparse_term(wr_index_bm25(x), "word", 4) >= 0, "term");
}

static void work(void *arg)
{
    const task *t = arg;
    uint32_t docid[K];
    for (int i = 0; i < ROUNDS; i++) {
        search(t->s->flat, t->number, docid);
        check(!memcmp(docid, t->s->want_flat[t->number], sizeof docid), "the scan's answer changed");
        search(t->s->graph, t->number, docid);
        check(!memcmp(docid, t->s->want_graph[t->number], sizeof docid), "the graph's answer changed");
        fetch(t->s->index, t->number);
    }
}

static void write_corpus(const char *path)
{
    FILE *f = fopen(path, "w");
    check(f != NULL, "corpus");
    for (int i = 0; i < DOCS; i++) fprintf(f, "{\"_id\":\"d%d\",\"text\":\"word w%d\"}\n", i, i % 100);
    fclose(f);
}

static void write_vectors(const char *path)
{
    wr_err err;
    wr_vectors_writer *w;
    static float rows[DOCS * DIM];
    srand(5);
    for (size_t i = 0; i < DOCS * DIM; i++) rows[i] = (float)(rand() % 2000 - 1000) / 1000;
    check(!wr_vectors_writer_open(&w, path, DIM, &err) && !wr_vectors_writer_add(w, rows, DOCS, &err) &&
              !wr_vectors_writer_commit(w, &err),
          "vectors");
}

int main(void)
{
    wr_err err;
    wr_pool *pool;
    wr_build_report report;
    static shared s;
    static task tasks[TASKS];
    char dir[] = "/tmp/weir-stress-XXXXXX", corpus[64], out[64], vectors[64], faiss[64];
    check(mkdtemp(dir) != NULL, "mkdtemp");
    snprintf(corpus, sizeof corpus, "%s/corpus.jsonl", dir);
    snprintf(out, sizeof out, "%s/index", dir);
    snprintf(vectors, sizeof vectors, "%s/vectors", dir);
    snprintf(faiss, sizeof faiss, "%s/faiss", dir);
    write_corpus(corpus);
    write_vectors(vectors);
    check(!wr_pool_open(&pool, 4, wr_dense_thread_init, &err), "pool");
    wr_build_options o = {.corpus = corpus, .out = out, .bm25 = {0.9, 0.4}, .pool = pool};
    check(!wr_build(&o, &report, &err), err.text);
    check(!wr_dense_build(vectors, "HNSW8", false, faiss, &err), err.text);
    wr_index *index = NULL;
    wr_dense *flat = NULL, *graph = NULL;
    check(!wr_index_open(&index, out, &err) && !wr_dense_open(&flat, vectors, NULL, "Flat", &err) &&
              !wr_dense_open(&graph, vectors, faiss, "HNSW8", &err),
          err.text);
    s.index = index;
    s.flat = flat;
    s.graph = graph;
    for (size_t i = 0; i < TASKS; i++) {
        search(flat, i, s.want_flat[i]);
        search(graph, i, s.want_graph[i]);
        tasks[i] = (task){&s, i};
    }
    wr_group group;
    wr_group_init(&group, pool);
    for (size_t i = 0; i < TASKS; i++) check(!wr_group_add(&group, work, &tasks[i]), "group");
    wr_group_wait(&group, WR_NO_DEADLINE);
    wr_group_release(&group);
    wr_pool_close(pool);
    wr_dense_close(flat);
    wr_dense_close(graph);
    wr_index_close(index);
    check(!wr_dir_remove(dir, &err), err.text);
    return 0;
}
