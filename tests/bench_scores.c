/* weir as one of the engines that tools/peers/encoder compares: opens models and answers on standard output, one line
 * for each command on standard input, so that the other engines can take their turns in between.
 *
 *     build/release/tests/bench_scores THREADS
 *
 *     open NAME PRECISION DIR   ok | no SENTENCE        a model into one of sixteen slots
 *     pairs FILE                ok N                    query TAB passage a line; tokenised when they are scored
 *     texts FILE                ok N                    one text a line
 *     score NAME                ok SECONDS TOKENS       all pairs by wr_model_score(), their ids made before
 *     rank NAME                 ok SECONDS              all pairs by wr_score_texts(), one call a query: with
 * tokenising one NAME CALLS TOKENS     ok MICROSECONDS...      the first pair cut to so many tokens, ids made before
 *     query NAME CALLS TEXT     ok MICROSECONDS...      one text by wr_embed_texts(): with tokenising, by all idle
 * threads embed NAME FROM TO        ok SECONDS              texts FROM to TO by wr_embed_texts() ids NAME FILE ok
 * writes the pairs' ids, one line a pair scores NAME FILE          ok                      writes what the last `score`
 * gave, one line a pair
 *
 * Pairs are sorted by length and cut into micro-batches by tokens as wr_embed_texts() does it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/lines.h"
#include "data/pool.h"
#include "models/embed.h"
#include "models/model.h"
#include "ranker/rank.h"

enum { MAX_MODELS = 16, MAX_NAME = 32 };

typedef struct text_list {
    wr_text *query, *text; /* [n] query NULL for texts alone */
    size_t n;
} text_list;

/* The pairs as one model's tokenizer sees them. */
typedef struct pair_ids {
    uint32_t *id; /* [cu[n]] pairs longest first */
    uint8_t *type;
    uint32_t *cu;  /* [n + 1] */
    size_t *order; /* [n] number of the pair    */
    size_t *begin; /* [nbatches + 1]            */
    size_t n, nbatches;
} pair_ids;

typedef struct slot {
    char name[MAX_NAME];
    wr_model *model;
    pair_ids ids;
    float *score; /* [pairs] */
} slot;

static slot slots[MAX_MODELS];
static text_list pairs, texts;
static wr_pool *pool;

static void *memory(size_t n)
{
    void *p = calloc(n + 1, 1);
    if (!p) abort();
    return p;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_scores: %s\n", what);
    exit(1);
}

static double since(uint64_t start_ns)
{
    return (double)(wr_clock_now(&wr_clock_system) - start_ns) / 1e9;
}

static slot *find(const char *name)
{
    for (size_t i = 0; i < MAX_MODELS; i++)
        if (slots[i].model && !strcmp(slots[i].name, name)) return &slots[i];
    die("no model of this name is open");
    return NULL;
}

/* ---- inputs ---- */

static void list_read(text_list *list, const char *path, bool two)
{
    wr_err err;
    wr_lines *lines;
    const char *line;
    size_t n, room = 0;
    *list = (text_list){0};
    if (wr_lines_open(&lines, path, &err)) die(err.text);
    for (;;) {
        if (wr_lines_next(lines, &line, &n, &err)) die(err.text);
        if (!line) break;
        if (list->n == room) {
            room = room ? 2 * room : 1024;
            list->text = realloc(list->text, room * sizeof *list->text);
            list->query = realloc(list->query, room * sizeof *list->query);
            if (!list->text || !list->query) abort();
        }
        char *copy = memcpy(memory(n), line, n), *tab = two ? memchr(copy, '\t', n) : NULL;
        if (two && !tab) die("a line without a tab among the pairs");
        size_t head = tab ? (size_t)(tab - copy) + 1 : 0;
        list->query[list->n] = (wr_text){copy, tab ? head - 1 : 0};
        list->text[list->n++] = (wr_text){copy + head, n - head};
    }
    wr_lines_close(lines);
}

static bool same(wr_text a, wr_text b)
{
    return a.n == b.n && !memcmp(a.bytes, b.bytes, a.n);
}

/* ---- pairs that are tokenised before ---- */

static const pair_ids *sorting;

static int longest_first(const void *a, const void *b)
{
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    uint32_t x = sorting->cu[i + 1] - sorting->cu[i], y = sorting->cu[j + 1] - sorting->cu[j];
    if (x != y) return x > y ? -1 : 1;
    return (i > j) - (i < j);
}

static size_t tokenise(const slot *s, size_t i, size_t max, uint32_t *id, uint8_t *type)
{
    const wr_tokenizer *tok = wr_model_tokenizer(s->model);
    wr_arena *arena = wr_arena_of_thread();
    size_t mark = wr_arena_mark(arena);
    wr_tokens a, b;
    bool cut;
    if (wr_tokenizer_encode(tok, pairs.query[i].bytes, pairs.query[i].n, arena, max, &a) ||
        wr_tokenizer_encode(tok, pairs.text[i].bytes, pairs.text[i].n, arena, max, &b))
        die("a pair cannot be tokenised");
    bool parts = wr_model_info_get(s->model)->joins;
    size_t n = (parts ? wr_tokenizer_parts : wr_tokenizer_pair)(tok, &a, &b, max, id, type, &cut);
    wr_arena_rollback(arena, mark);
    return n;
}

static void make_ids(slot *s)
{
    size_t max = wr_model_info_get(s->model)->max_doc_tokens, n = pairs.n;
    pair_ids first = {.id = memory(n * max * sizeof(uint32_t)), .type = memory(n * max), .n = n}, *to = &s->ids;
    first.cu = memory((n + 1) * sizeof *first.cu);
    *to = (pair_ids){.n = n, .order = memory(n * sizeof *to->order), .begin = memory((n + 1) * sizeof *to->begin)};
    for (size_t i = 0; i < n; i++) {
        first.cu[i + 1] = first.cu[i] + (uint32_t)tokenise(s, i, max, first.id + first.cu[i], first.type + first.cu[i]);
        to->order[i] = i;
    }
    sorting = &first;
    qsort(to->order, n, sizeof *to->order, longest_first);
    to->id = memory(first.cu[n] * sizeof *to->id);
    to->type = memory(first.cu[n]);
    to->cu = memory((n + 1) * sizeof *to->cu);
    for (size_t i = 0; i < n; i++) {
        uint32_t from = first.cu[to->order[i]], len = first.cu[to->order[i] + 1] - from;
        memcpy(to->id + to->cu[i], first.id + from, len * sizeof *to->id);
        memcpy(to->type + to->cu[i], first.type + from, len);
        to->cu[i + 1] = to->cu[i] + len;
        if (i == 0 || to->cu[i + 1] - to->cu[to->begin[to->nbatches - 1]] > WR_MICRO_BATCH_TOKENS)
            to->begin[to->nbatches++] = i;
    }
    to->begin[to->nbatches] = n;
    free(first.id);
    free(first.type);
    free(first.cu);
    s->score = memory(n * sizeof *s->score);
}

static void score_batch(void *arg, size_t b)
{
    slot *s = arg;
    const pair_ids *ids = &s->ids;
    wr_arena *arena = wr_arena_of_thread();
    size_t from = ids->begin[b], n = ids->begin[b + 1] - from, labels = wr_model_info_get(s->model)->nlabels;
    size_t mark = wr_arena_mark(arena);
    uint32_t *cu = wr_arena_alloc(arena, (n + 1) * sizeof *cu), base = ids->cu[from];
    float *logits = wr_arena_alloc(arena, n * labels * sizeof *logits);
    for (size_t i = 0; i <= n; i++) cu[i] = ids->cu[from + i] - base;
    wr_batch batch = {.id = ids->id + base, .type = ids->type + base, .cu = cu, .nseq = n};
    if (wr_model_score(s->model, &batch, arena, NULL, logits)) die("a batch cannot be scored");
    for (size_t i = 0; i < n; i++) s->score[ids->order[from + i]] = wr_model_relevance(s->model, logits + i * labels);
    wr_arena_rollback(arena, mark);
}

/* ---- the commands ---- */

static void do_open(const char *name, const char *precision, const char *dir)
{
    wr_err err;
    size_t i = 0;
    while (i < MAX_MODELS && slots[i].model) i++;
    if (i == MAX_MODELS) die("sixteen models are open already");
    snprintf(slots[i].name, sizeof slots[i].name, "%s", name);
    if (wr_model_open(&slots[i].model, dir, &(wr_model_options){.precision = precision}, &err))
        printf("no %s\n", err.text);
    else
        printf("ok\n");
}

static void do_score(const char *name)
{
    slot *s = find(name);
    if (!s->ids.n) make_ids(s);
    uint64_t start = wr_clock_now(&wr_clock_system);
    wr_pool_for(pool, s->ids.nbatches, score_batch, s);
    double seconds = since(start);
    printf("ok %.6f %u\n", seconds, s->ids.cu[s->ids.n]);
}

static void do_rank(const char *name)
{
    slot *s = find(name);
    float *score = memory(pairs.n * sizeof *score);
    bool *done = memory(pairs.n);
    uint64_t start = wr_clock_now(&wr_clock_system);
    for (size_t i = 0, end; i < pairs.n; i = end) {
        for (end = i + 1; end < pairs.n && same(pairs.query[i], pairs.query[end]);) end++;
        if (wr_score_texts(s->model, pool, pairs.query[i], pairs.text + i, end - i, NULL, score + i, done + i, NULL))
            die("texts cannot be scored");
    }
    printf("ok %.6f\n", since(start));
    free(score);
    free(done);
}

static void do_one(const char *name, size_t calls, size_t tokens)
{
    slot *s = find(name);
    wr_arena *arena = wr_arena_of_thread();
    uint32_t id[512], cu[2] = {0};
    uint8_t type[512];
    float logits[16];
    if (tokens > 512 || wr_model_info_get(s->model)->nlabels > 16) die("at most 512 tokens and 16 labels");
    cu[1] = (uint32_t)tokenise(s, 0, tokens, id, type);
    wr_batch batch = {.id = id, .type = type, .cu = cu, .nseq = 1};
    printf("ok");
    for (size_t i = 0; i < calls; i++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        if (wr_model_score(s->model, &batch, arena, NULL, logits)) die("a text cannot be scored");
        printf(" %.2f", since(start) * 1e6);
    }
    printf("\n");
}

static void do_query(const char *name, size_t calls, const char *text)
{
    slot *s = find(name);
    wr_text query = {text, strlen(text)};
    float *out = memory(wr_model_info_get(s->model)->dim * sizeof *out);
    printf("ok");
    for (size_t i = 0; i < calls; i++) {
        uint64_t start = wr_clock_now(&wr_clock_system);
        if (wr_embed_texts(s->model, pool, &query, 1, true, NULL, out, NULL)) die("a text cannot be encoded");
        printf(" %.2f", since(start) * 1e6);
    }
    printf("\n");
    free(out);
}

static void do_embed(const char *name, size_t from, size_t to)
{
    slot *s = find(name);
    if (from > to || to > texts.n) die("there are fewer texts");
    float *out = memory((to - from) * wr_model_info_get(s->model)->dim * sizeof *out);
    uint64_t start = wr_clock_now(&wr_clock_system);
    if (wr_embed_texts(s->model, pool, texts.text + from, to - from, false, NULL, out, NULL))
        die("texts cannot be encoded");
    printf("ok %.6f\n", since(start));
    free(out);
}

static void do_write(const char *name, const char *path, bool scores)
{
    slot *s = find(name);
    FILE *file = fopen(path, "w");
    if (!file) die("a file cannot be written");
    if (!s->ids.n) make_ids(s);
    for (size_t i = 0; scores && i < pairs.n; i++) fprintf(file, "%.9g\n", (double)s->score[i]);
    for (size_t i = 0; !scores && i < s->ids.n; i++) {
        fprintf(file, "%zu", s->ids.order[i]);
        for (uint32_t t = s->ids.cu[i]; t < s->ids.cu[i + 1]; t++) fprintf(file, " %u", s->ids.id[t]);
        fprintf(file, "\n");
    }
    fclose(file);
    printf("ok\n");
}

static void command(char *line)
{
    char verb[16] = "", name[MAX_NAME] = "", precision[16] = "";
    size_t a = 0, b = 0;
    int rest = 0;
    line[strcspn(line, "\n")] = '\0';
    sscanf(line, "%15s %n", verb, &rest);
    const char *argument = line + rest;
    if (!strcmp(verb, "pairs") || !strcmp(verb, "texts")) {
        text_list *list = *verb == 'p' ? &pairs : &texts;
        list_read(list, argument, *verb == 'p');
        printf("ok %zu\n", list->n);
    } else if (!strcmp(verb, "open") && sscanf(argument, "%31s %15s %n", name, precision, &rest) == 2) {
        do_open(name, precision, argument + rest);
    } else if (!strcmp(verb, "one") && sscanf(argument, "%31s %zu %zu", name, &a, &b) == 3) {
        do_one(name, a, b);
    } else if (!strcmp(verb, "query") && sscanf(argument, "%31s %zu %n", name, &a, &rest) == 2) {
        do_query(name, a, argument + rest);
    } else if (!strcmp(verb, "embed") && sscanf(argument, "%31s %zu %zu", name, &a, &b) == 3) {
        do_embed(name, a, b);
    } else if (sscanf(argument, "%31s %n", name, &rest) == 1) {
        if (!strcmp(verb, "score"))
            do_score(name);
        else if (!strcmp(verb, "rank"))
            do_rank(name);
        else if (!strcmp(verb, "ids") || !strcmp(verb, "scores"))
            do_write(name, argument + rest, *verb == 's');
        else
            die("unknown command");
    } else {
        die("unknown command");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[4096];
    wr_err err;
    if (argc != 2 || atoi(argv[1]) < 1) {
        printf("bench_scores: run by tools/peers/encoder/run\n");
        return 0;
    }
    if (wr_pool_open(&pool, (unsigned)atoi(argv[1]), wr_ranker_thread_start, &err)) die(err.text);
    wr_model_thread_init();
    while (fgets(line, sizeof line, stdin)) command(line);
    wr_pool_close(pool);
    for (size_t i = 0; i < MAX_MODELS; i++) wr_model_close(slots[i].model);
    return 0;
}
