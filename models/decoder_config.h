/* What config.json or a GGUF file's metadata say about a decoder: sizes, which layers slide, how positions turn.
 *
 * Both are untrusted: every size is checked against the bounds below before anything is allocated by it, and what would
 * change the result and is not implemented is refused by name.
 *
 * RoPE turns the pair i of a head at position p by the angle p * f_i (arXiv 2104.09864, eq. 15), f_i = base^(-2 i /
 * head_dim), all in fp32 as transformers does it, and then
 *     linear    f_i / factor                                                        (positions interpolated)
 *     llama3    w = 2 pi / f_i:  f_i / factor          where w > original / low
 *               f_i                                    where w < original / high
 *               (1 - s) f_i / factor + s f_i           between, s = (original / w - low) / (high - low)
 *     GGUF      f_i / rope_freqs[i]                    which is llama3's, worked out beforehand
 */
#ifndef WR_MODELS_DECODER_CONFIG_H
#define WR_MODELS_DECODER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "models/gguf.h"

/* Generous: Llama-3.1-405B has 126 layers of 16384, a feed-forward layer of 53248, 131072 positions; Llama 4 says ten
 * million. A head wider than 1024 is no head. */
#define WR_DECODER_LAYERS 256
#define WR_DECODER_DIM 65536
#define WR_DECODER_FFN (1u << 20)
#define WR_DECODER_VOCAB (1u << 24)
#define WR_DECODER_POSITIONS (1u << 24)
#define WR_DECODER_HEAD 1024

typedef enum wr_rope_kind { WR_ROPE_PLAIN, WR_ROPE_LINEAR, WR_ROPE_LLAMA3 } wr_rope_kind;

typedef struct wr_rope_config {
    wr_rope_kind kind;
    bool adjacent; /* pairs (2i, 2i + 1), else (i, i + head_dim / 2) */
    double base, factor, low, high;
    double original; /* positions */
} wr_rope_config;

typedef struct wr_decoder_config {
    char model_type[32]; /* "llama", "mistral", "qwen2", "qwen3" */
    char architecture[128];
    size_t layers, dim, heads, kv_heads, head_dim, ffn, vocab, positions;
    size_t window;                   /* of the layers that slide, 0 when none does */
    bool slides[WR_DECODER_LAYERS];  /* [layers]                                   */
    bool tied;
    bool qkv_bias, out_bias, ffn_bias, head_norm; /* which tensors a layer must have */
    float eps;
    wr_rope_config rope;
} wr_decoder_config;

/* dir/config.json. WR_EUNSUPPORTED names what is not here, WR_EFORMAT a size that cannot be. */
wr_status wr_decoder_config_read(wr_decoder_config *config, const char *dir, wr_err *err);

/* The metadata of a GGUF file. Biases and tied are told by its tensors. */
wr_status wr_decoder_config_gguf(wr_decoder_config *config, const wr_gguf *gguf, const char *path, wr_err *err);

/* Whether config.json of dir names a model_type that is known here; false when there is none. */
bool wr_decoder_config_is(const char *dir);

/* f [head_dim / 2]. */
void wr_rope_frequencies(const wr_rope_config *rope, size_t head_dim, float *f);

/* ---- for the two readers ---- */

/* What both check when all is read: heads fit, head_dim is even, products are in range. */
wr_status wr_decoder_config_check(const wr_decoder_config *config, const char *path, wr_err *err);

#endif
