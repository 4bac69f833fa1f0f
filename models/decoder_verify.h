/* Whether a decoder without a certificate is in order: what can be told of any checkpoint by itself.
 *
 * wr_decoder_open() has found every tensor with its shape, and none too many. Here all that is stored is read, and the
 * model is run. It does not tell a good model from a bad one, nor that no bit has changed: for that there are
 * wr_decoder_info's sha256 and published figures.
 */
#ifndef WR_MODELS_DECODER_VERIFY_H
#define WR_MODELS_DECODER_VERIFY_H

#include <stddef.h>

#include "data/pool.h"
#include "data/status.h"
#include "models/decoder.h"

/* Tokens of the run: more than a chunk, so that keys and values of an earlier one are read; 15 s of a thread at 7 B. */
#define WR_DECODER_VERIFY_TOKENS (WR_DECODER_CHUNK + 64)

typedef struct wr_decoder_verified {
    size_t tensors, tokens; /* read, run */
} wr_decoder_verified;

/* Checks, in this order:
 *   - every value of every tensor is a finite number                          else WR_EFORMAT, naming tensor and row
 *   - a chat template (if there is one) renders a user's message              else its status and sentence
 *   - texts of our own (probe.h; any ids where no tokenizer was opened) of WR_DECODER_VERIFY_TOKENS tokens, or of the
 *     model's positions where it has fewer: logits are finite, and their bits are the same in one piece by all threads
 *     of pool, in three pieces by one thread, and of the last token behind what is kept of the others
 *                                                                             else WR_OK and a sentence in missed[cap]
 * missed is "" when all hold. pool may be NULL. Reads the whole file: about a second a gigabyte and thread. */
wr_status wr_decoder_verify(const wr_decoder *decoder, wr_pool *pool, wr_decoder_verified *verified, char *missed,
                            size_t cap, wr_err *err);

#endif
