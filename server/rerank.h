/* How a request's texts were ranked, by a cross-encoder or a decoder: private to server/api_rerank*.c. */
#ifndef WR_SERVER_RERANK_H
#define WR_SERVER_RERANK_H

#include "ranker/llm.h"
#include "server/exchange.h"

typedef struct wr_reranked {
    size_t i;        /* of the text in the request                                                                     */
    float raw;       /* the model's logit, or the difference of two; of a list its letter's, -INFINITY where it has none */
    float relevance; /* 0 to 1, falling along the ranking                                                              */
} wr_reranked;

/* What ranks, and what came of it. */
typedef struct wr_reranking {
    const wr_model *model; /* or */
    wr_llm *llm;
    const char *name;  /* of the model, as the server knows it */
    const char *stage; /* what was left out is left out of: "cross", "list", "pointwise" */
    wr_reranked *item; /* [n] best first, room for all texts: those that got a score; of a list all */
    size_t n;
    size_t planned, done;
    size_t cut; /* of a list: texts that had to be cut below what its prompt keeps of them */
} wr_reranking;

/* The logistic function: cross-encoders are trained with it on top of the logit, and of two logits it is the softmax. */
float wr_relevance(float raw);

/* Best first, equal ones as they came. */
void wr_reranked_sort(wr_reranked *item, size_t n);

/* Ranks x's texts by rank->llm: as a list, or one by one where the request's mode is pointwise. budget as in
 * wr_score_texts(). False with x->problem filled. */
bool wr_api_rerank_llm(wr_exchange *x, const wr_budget *budget, wr_reranking *rank);

#endif
