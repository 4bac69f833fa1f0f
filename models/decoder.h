/* Decoders (Llama 2/3, Mistral, Qwen2/2.5, Qwen3): a prompt in, the logits behind its last token out.
 *
 * Opened from a Hugging Face directory (model_type llama, mistral, qwen2, qwen3; safetensors in F32, F16 or BF16, one file
 * or shards) or a GGUF file (general.architecture llama, qwen2, qwen3; F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K). The
 * weights stay in the map and are multiplied as they are stored (models/kernels_blocks.h).
 *
 * One layer (pre-norm; papers.md 18.4), x the states [tokens, dim]:
 *     h = RMSNorm(x) w_in            RMSNorm(x) = x / sqrt(mean(x^2) + eps)
 *     q, k, v = h Wq' (+ bias), ...  heads of head_dim; Qwen3: RMSNorm over head_dim of q and k
 *     q, k = RoPE(q, k)              pairs (i, i + head_dim/2), in GGUF's llama (2i, 2i + 1): its rows are permuted so
 *     x += softmax(q k' / sqrt(head_dim), causal, within the window) v Wo'    heads share kv_heads
 *     x += Wdown (silu(Wgate g) * Wup g),  g = RMSNorm(x) w_post
 * and logits = RMSNorm(x_last) w_norm . head rows that are wanted.
 *
 * Prefill goes in chunks of at most WR_DECODER_CHUNK tokens through all layers, so activations are bounded and only keys
 * and values grow: in fp32 where weights are F32, F16 or BF16, in fp16 where they are quantised. In the last layer of the
 * last chunk only keys and values are made for all tokens; queries, attention, output projection, FFN and head for the last
 * token alone; the chunks before it need no more than the last layer's keys and values either
 * (FIRST, arXiv 2406.15657, needs the logits of one position).
 *
 * Bits: a token's states depend on the tokens before it and on nothing else, whatever the chunks, the crew or what was
 * reused; so a prompt appended in any number of calls, or behind a prefix that wr_kv_reuse() kept, has the logits of a fresh
 * one, bit for bit.
 *
 *     wr_kv_reuse(kv, id, n);
 *     size_t have = wr_kv_tokens(kv);
 *     st = wr_decoder_run(decoder, kv, id + have, n - have, &logits, crew, arena, budget);
 */
#ifndef WR_MODELS_DECODER_H
#define WR_MODELS_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/crew.h"
#include "data/hash.h"
#include "data/status.h"
#include "models/blocks.h"
#include "models/chat.h"
#include "models/tokenizer.h"

/* Tokens that go through all layers at a time. A multiple of the kernels' tiles; at 7 B its activations take 50 MB. */
#define WR_DECODER_CHUNK 256

typedef struct wr_decoder wr_decoder; /* constant after open; shared by all threads */

/* Whether path is a GGUF file by its magic or its name's ending (a damaged one is refused as what it was meant to be), or a
 * directory whose config.json names a decoder's model_type. A name is looked up as wr_decoder_open() does it. */
bool wr_decoder_is(const char *path);

/* What the caller wants instead of what the files say. Zero everything for defaults. */
typedef struct wr_decoder_options {
    const char *precision;     /* NULL or "stored": weights as they are; anything else is refused                */
    size_t max_tokens;         /* of a sequence; 0 = the model's positions                                       */
    const char *chat_template; /* a file whose template takes the place of the model's own (models/chat.h)       */
    bool weights_only;         /* neither tokenizer nor template is opened, both are NULL then: for measurements */
} wr_decoder_options;

/* name_or_path is a directory, a GGUF file, or the name of one in the places of models/find.h. WR_EUNSUPPORTED names a
 * model_type, a tensor's type or a feature that is not here; WR_EFORMAT a size that does not fit. Also opens the tokenizer
 * and the chat template. */
wr_status wr_decoder_open(wr_decoder **decoder, const char *name_or_path, const wr_decoder_options *options, wr_err *err);
void wr_decoder_close(wr_decoder *decoder); /* NULL is fine */

/* What a decoder is; constant, borrowed from it. */
typedef struct wr_decoder_info {
    const char *path;         /* absolute                                                  */
    const char *name;         /* last component of path                                    */
    const char *model_type;   /* "llama", "mistral", "qwen2", "qwen3"; GGUF says llama for Mistral too */
    const char *architecture; /* architectures[0] of config.json, general.architecture     */
    const char *format;       /* "F32", "Q4_0", ...: what most bytes of weights are stored as */
    size_t layers, dim, heads, kv_heads, head_dim, ffn, vocab;
    size_t positions;  /* tokens of a sequence: what the model allows, or max_tokens of the options */
    size_t window;     /* tokens that a token sees, itself included; 0 = all                        */
    size_t sliding;    /* how many layers have that window                                          */
    double rope_base;  /* RoPE (decoder_config.h)                                                    */
    const char *rope_scaling; /* "none", "linear", "llama3", "factors" (rope_freqs.weight)           */
    double rope_factor;       /* of linear and llama3, else 1                                        */
    bool tied;         /* the head is the table of embeddings                                       */
    size_t parameters; /* elements of the tensors in use                                            */
    size_t tensors;    /* in use                                                                    */
    size_t bytes[WR_BLOCK_TYPES]; /* of matrices, by the type they are stored as                     */
    size_t files, file_bytes;     /* that hold weights                                               */
    /* Over name, length and bytes of configuration, tokenizer and weights. Of a file of weights that is larger than
     * WR_DECODER_HASH_WHOLE: everything before its data, then 1 MiB at each of 256 places spread evenly over the data
     * (the last is its end). It tells models apart that somebody made; it does not prove that no bit is different. */
    char sha256[WR_SHA256_HEX];
    bool sampled; /* a file was that large */
} wr_decoder_info;

/* Larger files of weights are hashed by samples: SHA-256 reads 1 to 2 GB/s, a disk less, and 4 GB at every start is what
 * nobody waits for. */
#define WR_DECODER_HASH_WHOLE ((size_t)1 << 30)

const wr_decoder_info *wr_decoder_info_get(const wr_decoder *decoder);
const wr_tokenizer *wr_decoder_tokenizer(const wr_decoder *decoder);
const wr_chat *wr_decoder_chat(const wr_decoder *decoder); /* NULL when the model has no template */

/* ---- keys and values ---- */

/* Keys and values of one sequence, with its ids. One thread at a time. */
typedef struct wr_kv wr_kv;

/* Room for `tokens` (at most info->positions, else WR_EARG). Memory is reserved now and taken as it is filled: layers *
 * kv_heads * head_dim * 2 numbers a token, 128 KiB a token at Mistral-7B's shape in fp16. decoder must outlive kv. */
wr_status wr_kv_open(wr_kv **kv, const wr_decoder *decoder, size_t tokens, wr_err *err);
void wr_kv_close(wr_kv *kv); /* NULL is fine */
size_t wr_kv_tokens(const wr_kv *kv);

/* Cuts back to the longest prefix shared with id[0..n), at most n - 1 (the last token is always run, for its logits).
 * Returns its length. n 0 empties. */
size_t wr_kv_reuse(wr_kv *kv, const uint32_t *id, size_t n);

/* Cuts back to the first `tokens`; more than there are changes nothing. */
void wr_kv_cut(wr_kv *kv, size_t tokens);

/* ---- running ---- */

/* Which logits are wanted of the last position. */
typedef struct wr_logits {
    const uint32_t *row; /* [n] token ids; NULL = the whole vocabulary      */
    size_t n;            /* of row; not read when row is NULL               */
    float *out;          /* [n], or [vocab]; filled on WR_OK                */
} wr_logits;

/* Appends id[0..n), n >= 1, to kv and reads logits behind the last (logits may be NULL: only keys and values are wanted,
 * and then the last layer makes nothing else).
 *
 *   crew    NULL = the caller alone; the same bits whoever helps
 *   arena   rolled back before returning; wr_decoder_arena_bytes() says how much is needed
 *   budget  may be NULL; looked at between layers. WR_STOPPED: kv is as it was before the chunk that was stopped, the
 *           chunks before it are kept (wr_kv_tokens() tells)
 *
 * WR_EARG when an id is no token, n is 0 or kv has not the room; WR_ENOMEM. */
wr_status wr_decoder_run(const wr_decoder *decoder, wr_kv *kv, const uint32_t *id, size_t n, const wr_logits *logits,
                         wr_crew *crew, wr_arena *arena, const wr_budget *budget);

/* Upper bound of the arena bytes that a run of n tokens takes by a crew of so many threads. */
size_t wr_decoder_arena_bytes(const wr_decoder *decoder, size_t n, size_t threads);

/* How long ntok tokens of prefill will take, learnt from what ran; 0 = unknown yet. For planning, never for results. */
uint64_t wr_decoder_predict_ns(const wr_decoder *decoder, size_t ntok);

/* For measurements: with false, wr_decoder_run() does all of the last layer for every token, as a decoder without the
 * shortcut would. The logits are the same. */
void wr_decoder_prune_last(wr_decoder *decoder, bool prune);

#endif
