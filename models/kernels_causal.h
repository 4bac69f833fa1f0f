/* Causal attention of a decoder: the heads that share one head of keys and values, over a cache that grows.
 *
 * For the query at position t = first + i, and every head of the group,
 *
 *     s_j = (q * scale) . k_j        for max(0, t + 1 - window) <= j <= t        (window 0: from 0 on)
 *     ctx = sum_j P_j v_j            P = softmax(s)
 *
 * in fp32, by the products of models/kernels_blocks.h and softmax_f32 of models/kernels.h: each a chain whose order
 * depends on positions alone, so that a query's bits do not depend on how many are asked at a time, nor on the
 * instruction set. Keys and values are read as they lie in the cache, as floats or as fp16.
 */
#ifndef WR_MODELS_KERNELS_CAUSAL_H
#define WR_MODELS_KERNELS_CAUSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wr_causal {
    const float *q;  /* [nq][group][width]: rows q_stride apart, the group's heads side by side */
    size_t q_stride; /* numbers */
    size_t nq, group, width;
    float scale;          /* usually 1 / sqrt(width) */
    size_t first, window; /* position of the first query; keys seen, itself included, 0 = all */
    const void *k, *v;    /* [first + nq][width], rows kv_stride numbers apart */
    size_t kv_stride;
    bool half;  /* keys and values are fp16, else fp32 */
    float *ctx; /* as q, with its stride */
    size_t ctx_stride;
    void *scratch; /* wr_causal_scratch() bytes, aligned to 64 */
} wr_causal;

void wr_causal_attend(const wr_causal *a);

/* Bytes for queries up to position keys - 1. */
size_t wr_causal_scratch(size_t keys, size_t width);

/* h[i] = x[i] as fp16, to nearest even: how keys and values are put into a cache of halves. */
void wr_halves_from(const float *x, size_t n, uint16_t *h);

#endif
