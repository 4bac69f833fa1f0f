#include "tests/testlib_sparse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS = 7, TOPIC_TERMS = 40 };

static void must(wr_status st, const wr_err *err)
{
    if (!st) return;
    fprintf(stderr, "testlib_sparse: %s\n", err->text);
    abort();
}

static uint32_t zipf(wr_test_random *random, size_t nterms)
{
    return (uint32_t)(pow((double)nterms, wr_test_uniform(random)) - 1);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Fills a row with distinct terms, ascending; returns their number. */
static size_t draw_row(wr_test_random *random, size_t nterms, size_t most, uint32_t *term)
{
    size_t want = wr_test_below(random, most + 1), n = 0, topic = wr_test_below(random, TOPICS);
    for (size_t i = 0; i < want; i++) {
        uint32_t t = zipf(random, nterms);
        if (i % 2) t = (uint32_t)((topic * 7919 + zipf(random, TOPIC_TERMS) * 31) % nterms);
        term[n++] = t;
    }
    qsort(term, n, sizeof *term, compare_u32);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || term[i] != term[i - 1]) term[kept++] = term[i];
    return kept;
}

wr_test_vectors wr_test_vectors_random(wr_test_random *random, size_t n, size_t nterms, size_t most, bool ties)
{
    wr_test_vectors v = {n, nterms, calloc(n + 1, sizeof *v.start), calloc(n * most + 1, sizeof *v.term),
                         calloc(n * most + 1, sizeof *v.weight)};
    for (size_t i = 0; i < n; i++) {
        size_t at = v.start[i], terms = draw_row(random, nterms, most, v.term + at);
        v.start[i + 1] = at + terms;
        for (size_t j = 0; j < terms; j++)
            v.weight[at + j] =
                ties ? (float)(1 + wr_test_below(random, 3)) : (float)(0.01 + 2 * wr_test_uniform(random));
    }
    return v;
}

void wr_test_vectors_free(wr_test_vectors *v)
{
    free(v->start);
    free(v->term);
    free(v->weight);
}

wr_sparse *wr_test_vectors_index(const wr_test_vectors *v, const char *dir, const char *path, size_t budget, bool bm25)
{
    wr_err err = {.text = "out of memory"};
    wr_sparse_writer *writer;
    wr_sparse *sparse;
    char(*text)[16] = calloc(v->nterms + 1, sizeof *text);
    const char **term = calloc(v->start[v->n] + 1, sizeof *term);
    uint32_t *len = calloc(v->start[v->n] + 1, sizeof *len);
    must(text && term && len ? WR_OK : WR_ENOMEM, &err);
    for (size_t t = 0; t < v->nterms; t++) snprintf(text[t], sizeof text[t], "t%u", (uint32_t)t);
    for (size_t i = 0; i < v->start[v->n]; i++) {
        term[i] = text[v->term[i]];
        len[i] = (uint32_t)strlen(term[i]);
    }
    must(wr_sparse_writer_open(&writer, dir, budget, &err), &err);
    for (size_t d = 0; d < v->n; d++) {
        size_t at = v->start[d], n = v->start[d + 1] - at;
        if (bm25)
            must(wr_sparse_writer_add(writer, term + at, len + at, n, &err), &err);
        else
            must(wr_sparse_writer_add_weights(writer, term + at, len + at, v->weight + at, n, &err), &err);
    }
    if (bm25)
        must(wr_sparse_writer_commit_bm25(writer, path, &(wr_bm25_params){0.9, 0.4}, &err), &err);
    else
        must(wr_sparse_writer_commit_weights(writer, path, &err), &err);
    must(wr_sparse_open(&sparse, path, &err), &err);
    must(wr_sparse_verify(sparse, &err), &err);
    free(text);
    free(term);
    free(len);
    return sparse;
}

wr_test_query wr_test_query_random(wr_test_random *random, const wr_sparse *sparse, size_t most)
{
    wr_test_query query = {.n = 0};
    wr_sparse_stats stats;
    wr_sparse_stats_get(sparse, &stats);
    size_t want = most > 64 ? 64 : most, topic = wr_test_below(random, TOPICS);
    bool ties = wr_test_below(random, 2);
    for (size_t i = 0; i < want; i++) {
        char text[16];
        size_t t = i % 2 ? topic * 7919 + zipf(random, TOPIC_TERMS) * 31 : zipf(random, (size_t)stats.nterms + 2);
        snprintf(text, sizeof text, "t%u", (uint32_t)(t % ((size_t)stats.nterms + 2)));
        int64_t id = wr_sparse_term(sparse, text, strlen(text));
        bool again = id < 0;
        for (size_t j = 0; j < query.n; j++) again |= query.term[j] == (uint32_t)id;
        if (again) continue;
        query.term[query.n] = (uint32_t)id;
        query.weight[query.n++] = ties ? 1.0f : wr_sparse_idf(sparse, (uint32_t)id) + 0.01f;
    }
    return query;
}

bool wr_test_same_hits(const wr_hits *a, const wr_hits *b)
{
    if (a->n != b->n || a->partial || b->partial) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->docid[i] != b->docid[i] || a->score[i] != b->score[i]) return false;
    return true;
}
