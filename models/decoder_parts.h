/* What a decoder is made of: private to decoder*.c. */
#ifndef WR_MODELS_DECODER_PARTS_H
#define WR_MODELS_DECODER_PARTS_H

#include <stdatomic.h>

#include "models/blocks.h"
#include "models/decoder.h"
#include "models/decoder_config.h"
#include "models/find.h"
#include "models/safetensors.h"

typedef struct wr_projection {
    wr_blocks w;       /* [out, in] in the map                  */
    const float *bias; /* [out], owned by the decoder, or NULL  */
} wr_projection;

typedef struct wr_decoder_layer {
    const float *norm_in, *norm_post; /* [dim]                */
    const float *norm_q, *norm_k;     /* [head_dim], or NULL  */
    wr_projection q, k, v, out, gate, up, down;
    size_t window; /* 0 = all */
} wr_decoder_layer;

/* Speeds are kept for runs of 1, 2..3, 4..7 ... tokens: a token of generation costs more than one of prefill. */
#define WR_DECODER_SPEEDS 24

struct wr_decoder {
    wr_decoder_info info;
    wr_decoder_config config;
    char path[WR_MAX_PATH];
    wr_tensors *tensors; /* of a directory, else NULL */
    wr_gguf *gguf;       /* of a GGUF file, else NULL */
    wr_tokenizer *tokenizer;
    wr_chat *chat;
    wr_blocks table;         /* [vocab, dim] embeddings */
    wr_blocks head;          /* [vocab, dim]            */
    const float *norm;       /* [dim]                   */
    float *turn;             /* [head_dim / 2] RoPE's frequencies */
    wr_decoder_layer *layer; /* [layers] */
    float **owned;           /* [nowned] norms and biases */
    size_t nowned, nread;    /* nread: tensors in use */
    bool half;               /* keys and values are fp16 */
    atomic_bool whole;       /* wr_decoder_prune_last(, false) */
    _Atomic uint64_t speed[WR_DECODER_SPEEDS]; /* nanoseconds a token, 0 = nothing measured yet */
};

/* Layer i, head h: keys at number wr_kv_at(), [room][head_dim] one position behind the other, values likewise. */
struct wr_kv {
    const wr_decoder *decoder;
    size_t room, n, width; /* width: bytes of a number */
    uint32_t *id;          /* [room] in the map        */
    char *keys, *values;   /* [layers][kv_heads][room][head_dim] */
    void *map;
    size_t bytes;
};

/* Puts what the files hold in its place: matrices stay in the map, norms and biases become floats. Every tensor that the
 * configuration asks for must be there, with its shape, and none that has no place. */
wr_status wr_decoder_read(wr_decoder *decoder, wr_err *err);

/* A stored tensor as a matrix, a vector with out 1. False when it is of another type or has more dimensions. */
bool wr_decoder_blocks(const wr_tensor *tensor, wr_blocks *w);

/* Learns from a run of n tokens of which a share was done in ns. */
void wr_decoder_learn(const wr_decoder *decoder, size_t n, double share, uint64_t ns);

/* ---- between products, in fp32, all by row; the same bits everywhere ---- */

/* y[i] = x[i] / sqrt(mean(x^2) + eps) * w[i] (arXiv 1910.07467), sums by 16 partial ones. y may be x. */
void wr_rms_norm(const float *x, const float *w, float eps, size_t n, float *y);

#endif
