#include "indexer/topk.h"

#include <assert.h>
#include <math.h>

static void swap(uint32_t *docid, float *score, size_t a, size_t b)
{
    uint32_t d = docid[a];
    float s = score[a];
    docid[a] = docid[b];
    score[a] = score[b];
    docid[b] = d;
    score[b] = s;
}

/* Sinks the pair (d, s) from the empty place i of a heap of n pairs with the worst on top. */
static void sink(uint32_t *docid, float *score, size_t n, size_t i, uint32_t d, float s)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && wr_better(score[child], docid[child], score[child + 1], docid[child + 1])) child++;
        if (!wr_better(s, d, score[child], docid[child])) break;
        docid[i] = docid[child];
        score[i] = score[child];
        i = child;
    }
    docid[i] = d;
    score[i] = s;
}

/* Takes the worst off the top and puts it behind the heap, until the best stands first. */
static void unheap(uint32_t *docid, float *score, size_t n)
{
    while (n > 1) {
        n--;
        swap(docid, score, 0, n);
        sink(docid, score, n, 0, docid[0], score[0]);
    }
}

void wr_topk_init(wr_topk *top, size_t k, uint32_t *docid, float *score)
{
    assert(k >= 1);
    *top = (wr_topk){.docid = docid, .score = score, .k = k, .n = 0};
}

void wr_topk_push(wr_topk *top, uint32_t docid, float score)
{
    if (top->n == top->k) {
        if (wr_better(score, docid, top->score[0], top->docid[0]))
            sink(top->docid, top->score, top->n, 0, docid, score);
        return;
    }
    size_t i = top->n++;
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!wr_better(top->score[parent], top->docid[parent], score, docid)) break;
        top->docid[i] = top->docid[parent];
        top->score[i] = top->score[parent];
    }
    top->docid[i] = docid;
    top->score[i] = score;
}

float wr_topk_threshold(const wr_topk *top)
{
    return top->n < top->k ? -INFINITY : top->score[0];
}

size_t wr_topk_sort(wr_topk *top)
{
    unheap(top->docid, top->score, top->n);
    return top->n;
}

void wr_hits_sort(uint32_t *docid, float *score, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sink(docid, score, n, i, docid[i], score[i]);
    unheap(docid, score, n);
}
