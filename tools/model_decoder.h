/* The verbs info and verify of `weir model` for decoders. Both open the model whole, with its tokenizer and its chat
 * template: what cannot be used is refused here as everywhere. */
#ifndef WR_TOOLS_MODEL_DECODER_H
#define WR_TOOLS_MODEL_DECODER_H

#include <stdbool.h>

#include "data/status.h"
#include "tools/model_quantize.h"

/* Prints what it is. Where the weights open but tokenizer or chat template are refused, what is known of the weights is
 * printed too, and then the refusal returned. */
wr_status wr_model_decoder_info(const char *model, bool json, wr_err *err);

/* models/decoder_verify.h, told on standard output; *exit_status 3 when something does not hold. WR_EARG for a
 * collection. */
wr_status wr_model_decoder_verify(const wr_quantize_args *args, int *exit_status, wr_err *err);

#endif
