/* Pointwise reranking by a decoder: it is asked of every text whether it is relevant, and the score is the difference of two
 * logits behind the prompt.
 *
 *     yesno    Qwen3-Reranker's prompt (its model card; Zhang et al., arXiv 2506.05176):
 *
 *                  system     Judge whether the Document meets the requirements based on the Query and the Instruct provided.
 *                             Note that the answer can only be "yes" or "no".
 *                  user       <Instruct>: {instruction}\n<Query>: {query}\n<Document>: {text}
 *                  assistant  <think>\n\n</think>\n\n
 *
 *              score = logit("yes") - logit("no"). The turns are ChatML's, byte for byte as published, where the vocabulary
 *              has <|im_start|>, <|im_end|> and <think>; else, and where the caller gave a template, the chat template's.
 *     monot5   monoT5's words (Nogueira et al., arXiv 2003.06713) as a decoder reads them, without chat template:
 *
 *                  Query: {query} Document: {text} Relevant:
 *
 *              score = logit(" true") - logit(" false").
 *
 * The published probability is the logistic function of the score, softmax over the two. Which token an answer begins with is
 * looked up where it stands: behind the prompt, in the model's own tokens ("yes", " true", "\u2581true").
 *
 * The text stands behind all the rest that changes, so the texts of one query share what is in front of it (ranker/llm.h).
 * Texts are read one after the other, each by all cores, the first ones first; a text that is too long loses its end. Query
 * and text never become special tokens.
 *
 *     st = wr_pointwise_begin(&judge, llm, &options, query, arena, err);
 *     for (i = 0; i < n && !st; i++) st = wr_pointwise_score(&judge, text[i], pool, budget, &score[i], &cut[i], err);
 */
#ifndef WR_RANKER_RERANK_POINTWISE_H
#define WR_RANKER_RERANK_POINTWISE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/pool.h"
#include "data/status.h"
#include "data/text.h"
#include "ranker/llm.h"

typedef enum wr_judge { WR_JUDGE_AUTO, WR_JUDGE_YESNO, WR_JUDGE_MONOT5 } wr_judge;

/* What the models were trained with where a data set names no instruction of its own (Qwen3-Reranker's card). */
#define WR_INSTRUCTION "Given a web search query, retrieve relevant passages that answer the query"

/* Zero everything for defaults. */
typedef struct wr_pointwise_options {
    wr_judge judge;      /* AUTO: yesno where there is a chat template or ChatML's tokens, else monot5 */
    wr_text instruction; /* yesno; n 0: WR_INSTRUCTION                                                */
} wr_pointwise_options;

typedef struct wr_pointwise {
    wr_llm *llm;
    wr_judge judge;            /* not AUTO */
    wr_text query, instruction; /* as they go into a prompt */
    bool chatml;
    uint32_t row[2]; /* ids: what raises the score, what lowers it                */
    wr_tokens bones; /* the prompt of a harmless text, whose special tokens count */
    size_t tokens;   /* a prompt may have                                        */
} wr_pointwise;

const char *wr_judge_name(wr_judge judge); /* "yesno", "monot5" */

/* Makes what is the same for all texts. llm and query are borrowed; the rest is borrowed from the arena.
 * WR_EARG: the query leaves no room for a text. WR_EFORMAT: query and template form a special token, or the template fails.
 * WR_EUNSUPPORTED: both answers begin with one token. WR_ENOMEM. */
wr_status wr_pointwise_begin(wr_pointwise *judge, wr_llm *llm, const wr_pointwise_options *options, wr_text query,
                             wr_arena *arena, wr_err *err);

/* The prompt of one text, borrowed from the arena; *cut: the text is not whole. Errors as above. */
wr_status wr_pointwise_prompt(const wr_pointwise *judge, wr_text text, wr_arena *arena, wr_text *prompt, wr_tokens *ids,
                              bool *cut, wr_err *err);

/* The score of one text, with the calling thread's arena and the pool's idle workers (pool may be NULL). WR_STOPPED: there is
 * no time for it, nothing is filled then. */
wr_status wr_pointwise_score(const wr_pointwise *judge, wr_text text, wr_pool *pool, const wr_budget *budget, float *score,
                             bool *cut, wr_err *err);

/* Scores of n texts, score[n] and cut[n], in their order; *done: so many, the first ones. WR_OK also when the budget ended
 * it. */
wr_status wr_pointwise_run(const wr_pointwise *judge, const wr_text *text, size_t n, wr_pool *pool, const wr_budget *budget,
                           float *score, bool *cut, size_t *done, wr_err *err);

#endif
