/* What running a model in part costs in quality and gains in speed: exits, and tokens dropped on the way.
 *
 *     build/release/tests/bench_exits [EVERY [PRECISION...]]
 *
 * all-MiniLM-L6-v2 as a dense retriever on TREC DL 2019 (the folder dl19 in WEIR_SHARED/collections, ../shared by
 * default): the judged passages and every EVERYth (4) of the others; 0 measures speed alone, on the judged ones. For
 * each precision (fp32, int8) a table: nDCG@10 by exact scoring, passages a second on two threads (the best of some
 * rounds, in each of which all settings take their turn), its ratio to the whole model, and the ratio of multiply-adds
 * that wr_encoder_work() counts for the same lengths. Passages and queries end behind the same layer; tokens are
 * dropped from passages alone, since a query has too few.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/budget.h"
#include "data/corpus.h"
#include "data/pool.h"
#include "data/trec.h"
#include "models/embed.h"
#include "models/encoder.h"
#include "models/kernels.h"
#include "models/model.h"
#include "tools/measures.h"

enum { DEPTH = 10, THREADS = 2, ROUNDS = 3, TIMED = 256, MICRO_TOKENS = 1024 };

static const wr_effort efforts[] = {{.exit = 0, .keep = 0},    {.exit = 5, .keep = 0},    {.exit = 4, .keep = 0},
                                    {.exit = 3, .keep = 0},    {.exit = 2, .keep = 0},    {.exit = 0, .keep = 0.8f},
                                    {.exit = 0, .keep = 0.6f}, {.exit = 0, .keep = 0.5f}, {.exit = 0, .keep = 0.4f},
                                    {.exit = 0, .keep = 0.2f}, {.exit = 4, .keep = 0.5f}, {.exit = 3, .keep = 0.5f}};
enum { EFFORTS = sizeof efforts / sizeof *efforts };

/* Passages or queries as ids, longest first so that a micro-batch's are of one length. */
typedef struct texts {
    const char **name; /* [n] docno or qid */
    wr_tokens *tokens; /* [n]              */
    size_t *order;     /* [n]              */
    size_t n;
} texts;

typedef struct bench {
    char folder[1024];
    size_t every;
    wr_qrels qrels;
    wr_topics topics;
    wr_arena arena; /* of names and ids */
    texts passages, queries;
    wr_pool *pool;
    double ndcg[EFFORTS];
    uint64_t best_ns[EFFORTS];
} bench;

static void die(const wr_err *err)
{
    fprintf(stderr, "bench_exits: %s\n", err->text);
    exit(1);
}

static void *memory(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (!p) abort();
    return p;
}

static void add_text(bench *b, const wr_model *model, texts *to, const char *name, const char *text, size_t n)
{
    size_t length = strlen(name) + 1;
    char *copy = wr_arena_alloc(&b->arena, length);
    if (to->n % 1024 == 0) {
        to->name = realloc(to->name, (to->n + 1024) * sizeof *to->name);
        to->tokens = realloc(to->tokens, (to->n + 1024) * sizeof *to->tokens);
    }
    if (!copy || !to->name || !to->tokens) abort();
    memcpy(copy, name, length);
    to->name[to->n] = copy;
    if (wr_tokenizer_single(wr_model_tokenizer(model), text, n, &b->arena, wr_model_info_get(model)->max_doc_tokens,
                            &to->tokens[to->n++]))
        abort();
}

static const texts *sorting;

static int longest_first(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b, n = sorting->tokens[x].n, m = sorting->tokens[y].n;
    return n != m ? (n < m) - (n > m) : (x > y) - (x < y);
}

static void sort(texts *t)
{
    t->order = memory(t->n, sizeof *t->order);
    for (size_t i = 0; i < t->n; i++) t->order[i] = i;
    sorting = t;
    qsort(t->order, t->n, sizeof *t->order, longest_first);
}

static bool is_judged(const wr_qrels *qrels, const char *docno)
{
    long rel;
    for (size_t i = 0; i < qrels->n; i++)
        if (wr_qrels_rel(&qrels->topic[i], docno, &rel)) return true;
    return false;
}

static void read_texts(bench *b, const wr_model *model)
{
    char path[1100];
    wr_err err;
    wr_corpus *corpus;
    wr_doc doc;
    size_t others = 0;
    if (wr_arena_init(&b->arena, (size_t)1 << 30)) abort();
    snprintf(path, sizeof path, "%s/queries.jsonl", b->folder);
    if (wr_topics_read(&b->topics, path, &err)) die(&err);
    snprintf(path, sizeof path, "%s/qrels/test.tsv", b->folder);
    if (wr_qrels_read(&b->qrels, path, &err) || wr_corpus_open(&corpus, b->folder, WR_CORPUS_BEIR, &err)) die(&err);
    for (size_t i = 0; i < b->topics.n; i++) {
        const wr_topic *t = &b->topics.topic[i];
        add_text(b, model, &b->queries, t->qid, t->text, t->text_len);
    }
    for (;;) {
        if (wr_corpus_next(corpus, &doc, &err)) die(&err);
        if (!doc.docno) break;
        if (is_judged(&b->qrels, doc.docno) || (b->every && others++ % b->every == 0))
            add_text(b, model, &b->passages, doc.docno, doc.text, doc.text_len);
    }
    wr_corpus_close(corpus);
    sort(&b->passages);
    sort(&b->queries);
}

/* ---- encoding ---- */

typedef struct encoding {
    const wr_model *model;
    const texts *t;
    const wr_effort *effort;
    size_t step;   /* every so many texts of the order */
    size_t *begin; /* [nbatches + 1] */
    float *out;    /* [t->n, dim] */
} encoding;

static void encode_batch(void *arg, size_t b)
{
    const encoding *e = arg;
    wr_arena *arena = wr_arena_of_thread();
    size_t from = e->begin[b], n = e->begin[b + 1] - from, dim = wr_model_info_get(e->model)->dim, ntok = 0;
    if (!arena) abort();
    size_t mark = wr_arena_mark(arena);
    uint32_t *cu = wr_arena_calloc(arena, n + 1, sizeof *cu);
    float *rows = wr_arena_alloc(arena, n * dim * sizeof *rows);
    for (size_t i = 0; i < n; i++) ntok += e->t->tokens[e->t->order[(from + i) * e->step]].n;
    uint32_t *id = wr_arena_alloc(arena, ntok * sizeof *id);
    if (!cu || !rows || !id) abort();
    for (size_t i = 0; i < n; i++) {
        const wr_tokens *tokens = &e->t->tokens[e->t->order[(from + i) * e->step]];
        memcpy(id + cu[i], tokens->id, tokens->n * sizeof *id);
        cu[i + 1] = cu[i] + (uint32_t)tokens->n;
    }
    wr_batch batch = {.id = id, .cu = cu, .nseq = n};
    if (wr_model_embed_with(e->model, &batch, e->effort, arena, NULL, rows)) abort();
    for (size_t i = 0; i < n; i++)
        memcpy(e->out + e->t->order[(from + i) * e->step] * dim, rows + i * dim, dim * sizeof *rows);
    wr_arena_rollback(arena, mark);
}

/* Every step-th text; returns the time. */
static uint64_t encode(wr_pool *pool, const wr_model *model, const texts *t, const wr_effort *effort, size_t step,
                       float *out)
{
    size_t count = (t->n + step - 1) / step, nbatches = 0, tokens = 0;
    size_t *begin = memory(count + 1, sizeof *begin);
    for (size_t i = 0; i < count; i++) {
        size_t n = t->tokens[t->order[i * step]].n;
        if (i == 0 || tokens + n > MICRO_TOKENS) begin[nbatches++] = i, tokens = 0;
        tokens += n;
    }
    begin[nbatches] = count;
    encoding e = {model, t, effort, step, begin, out};
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_pool_for(pool, nbatches, encode_batch, &e);
    free(begin);
    return wr_clock_now(&wr_clock_system) - start;
}

/* ---- what comes out ---- */

static const char *docno_of(const bench *b, const size_t *best, size_t i)
{
    return b->passages.name[best[i]];
}

/* The ten best by inner product, equal ones in the order of the corpus. */
static void best_of(const bench *b, const float *score, size_t *best)
{
    size_t n = 0;
    for (size_t i = 0; i < b->passages.n; i++) {
        size_t at = n;
        while (at > 0 && score[i] > score[best[at - 1]]) at--;
        if (at == DEPTH) continue;
        size_t end = n < DEPTH ? n++ : DEPTH - 1;
        memmove(best + at + 1, best + at, (end - at) * sizeof *best);
        best[at] = i;
    }
}

static double quality(bench *b, const wr_model *model, const wr_effort *effort)
{
    size_t dim = wr_model_info_get(model)->dim, best[DEPTH];
    wr_effort all_tokens = {.exit = effort->exit};
    float *passage = memory(b->passages.n * dim, sizeof *passage), *query = memory(b->queries.n * dim, sizeof *query);
    float *score = memory(b->passages.n, sizeof *score);
    wr_measures measures;
    wr_judged judged = {0};
    wr_err err;
    double sum = 0, value;
    encode(b->pool, model, &b->passages, effort, 1, passage);
    encode(b->pool, model, &b->queries, &all_tokens, 1, query);
    if (wr_measures_parse(&measures, NULL, 0, "nDCG@10", &err)) die(&err);
    for (size_t q = 0; q < b->queries.n; q++) {
        wr_kernels_get()->dots_f32(passage, b->passages.n, dim, query + q * dim, score);
        best_of(b, score, best);
        if (wr_judged_reset(&judged, wr_qrels_find(&b->qrels, b->queries.name[q]), DEPTH)) abort();
        for (size_t i = 0; i < DEPTH; i++) wr_judged_add(&judged, docno_of(b, best, i));
        wr_measures_score(&measures, &judged, 1, &value);
        sum += value;
    }
    wr_judged_release(&judged);
    wr_measures_release(&measures);
    free(passage), free(query), free(score);
    return sum / (double)b->queries.n;
}

/* Multiply-adds for the passages that are timed. */
static double work(const bench *b, const wr_model *model, const wr_effort *effort, size_t step)
{
    const wr_model_info *info = wr_model_info_get(model);
    wr_encoder e = {.layers = info->layers, .dim = info->dim, .ffn = info->ffn};
    double sum = 0;
    for (size_t i = 0; i < b->passages.n; i += step)
        sum += wr_encoder_work(&e, &(wr_pass){.exit = effort->exit, .keep = effort->keep},
                               b->passages.tokens[b->passages.order[i]].n);
    return sum;
}

static void measure(bench *b, const wr_model *model, const char *precision)
{
    size_t step = b->passages.n / TIMED + 1, count = (b->passages.n + step - 1) / step, layers;
    float *out = memory(b->passages.n * wr_model_info_get(model)->dim, sizeof *out);
    layers = wr_model_info_get(model)->layers;
    memset(b->best_ns, 0, sizeof b->best_ns);
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < EFFORTS; i++) {
            uint64_t ns = encode(b->pool, model, &b->passages, &efforts[i], step, out);
            if (!b->best_ns[i] || ns < b->best_ns[i]) b->best_ns[i] = ns;
        }
    free(out);
    printf("%s, %zu passages, %zu of them timed\n%6s %6s %8s %12s %7s %7s\n", precision, b->passages.n, count, "exit",
           "keep", "nDCG@10", "passages/s", "speed", "work");
    for (size_t i = 0; i < EFFORTS; i++) {
        double seconds = (double)b->best_ns[i] * 1e-9;
        b->ndcg[i] = b->every ? quality(b, model, &efforts[i]) : 0;
        printf("%6zu %6.2f %8.4f %12.0f %7.2f %7.2f\n", efforts[i].exit ? efforts[i].exit : layers,
               efforts[i].keep > 0 ? (double)efforts[i].keep : 1.0, b->ndcg[i], (double)count / seconds,
               (double)b->best_ns[0] / (double)b->best_ns[i],
               work(b, model, &efforts[0], step) / work(b, model, &efforts[i], step));
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static bench b;
    static const char *const usual[] = {"fp32", "int8"};
    const char *shared = getenv("WEIR_SHARED");
    size_t n = argc > 2 ? (size_t)argc - 2 : 2;
    wr_model *model;
    wr_err err;
    wr_corpus *corpus;
    b.every = argc > 1 ? strtoul(argv[1], NULL, 10) : 4;
    snprintf(b.folder, sizeof b.folder, "%s/collections/dl19", shared && *shared ? shared : "../shared");
    if (wr_corpus_open(&corpus, b.folder, WR_CORPUS_BEIR, &err))
        return printf("skipped: %s is not there\n", b.folder), 0;
    wr_corpus_close(corpus);
    if (wr_pool_open(&b.pool, THREADS, wr_model_thread_init, &err)) die(&err);
    for (size_t i = 0; i < n; i++) {
        const char *precision = argc > 2 ? argv[i + 2] : usual[i];
        wr_model_options options = {.precision = precision};
        if (wr_model_open(&model, "all-MiniLM-L6-v2", &options, &err)) die(&err);
        if (!b.passages.n) read_texts(&b, model);
        measure(&b, model, precision);
        wr_model_close(model);
    }
    wr_pool_close(b.pool);
    wr_qrels_release(&b.qrels);
    wr_topics_release(&b.topics);
    wr_arena_release(&b.arena);
    return 0;
}
