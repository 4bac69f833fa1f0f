/* `weir rerank` with a decoder: what the command line says, and the way from texts to an order.
 */
#ifndef WR_TOOLS_RERANK_H
#define WR_TOOLS_RERANK_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "tools/texts.h"

/* See the options of cmd_rerank.c; 0 and NULL are defaults. */
typedef struct wr_rerank_options {
    const char *model, *query, *precision, *prompt, *logits, *chat_template, *instruction, *generate;
    size_t threads, window, stride, exit;
    double keep;
    bool json, listwise, pointwise;
} wr_rerank_options;

/* Whether the model that is named is a decoder. */
bool wr_rerank_is_llm(const wr_rerank_options *options);

/* Orders the texts on standard input by the decoder and prints them, best first: id and score by lines, or one JSON object. A text's title
 * is its own part of a listwise prompt. Equal scores keep the order of the input. */
wr_status wr_rerank_llm(const wr_rerank_options *options, wr_err *err);

/* All texts on standard input. */
wr_status wr_rerank_read(wr_texts *texts, wr_err *err);

/* Lines of id and score, or {"results": [{"id", "index", "score"}]}, in this order; score[] is by text. */
wr_status wr_rerank_print(const wr_texts *texts, const uint32_t *order, const float *score, bool json, wr_err *err);

#endif
