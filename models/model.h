/* Opens a Hugging Face directory and says what it can do: an encoder, its tokenizer and what stands on top of it.
 *
 * A model is constant after opening and shared by all threads; what a call writes lives in the caller's arena.
 * Supported: BERT and DistilBERT (model_type bert, distilbert) as
 *   embedder   pooled by CLS or mean (or max), with or without L2 normalisation (modules.json, 1_Pooling/config.json;
 *              without these files: CLS and no normalisation for raw checkpoints such as TAS-B, unless told otherwise)
 *   cross      sequence classification: BERT pooler + tanh + classifier, DistilBERT pre_classifier + ReLU + classifier,
 *              Margin-MSE's `_classification_layer` on the CLS state (papers: arXiv 2010.02666); or interaction:
 *              query and passage meet late, their states are compared (heads_interaction.h)
 *   sparse     masked language model, weights of the vocabulary's tokens (heads_mlm.h): SPLADE (arXiv 2109.10086),
 * whose queries go through the model too, and OpenSearch's inference-free ones, whose queries have a table (idf.h)
 */
#ifndef WR_MODELS_MODEL_H
#define WR_MODELS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"
#include "data/budget.h"
#include "data/crew.h"
#include "data/hash.h"
#include "data/status.h"
#include "models/idf.h"
#include "models/tokenizer.h"

typedef enum wr_model_kind { WR_MODEL_EMBED, WR_MODEL_CROSS, WR_MODEL_SPARSE } wr_model_kind;
/* What makes weights of logits: ln(1 + max(0, m)), or ln(1 + ln(1 + max(0, m))), which OpenSearch's third generation
 * has (arXiv 2504.14839). */
typedef enum wr_sparse_act { WR_SPARSE_LOG, WR_SPARSE_LOG_LOG } wr_sparse_act;
typedef enum wr_pooling { WR_POOL_AUTO, WR_POOL_CLS, WR_POOL_MEAN, WR_POOL_MAX } wr_pooling;

/* What a linear layer is multiplied in. Stored: bytes where the file has bytes, else fp32. */
typedef enum wr_precision { WR_PRECISION_STORED, WR_PRECISION_INT8, WR_PRECISION_BF16, WR_PRECISION_FP32 } wr_precision;

/* What is wanted for one linear layer of the encoder, or for the word embeddings (int8 or what is stored), named as in
 * the file without ".weight". */
typedef struct wr_linear_plan {
    const char *name;
    wr_precision precision;
    const float *migrate; /* [in] int8: what its activations are multiplied by (and its weights divided by), or NULL */
    float *seen; /* [in] or NULL: grows to the largest |input| that came by in each place; one thread at a time then */
} wr_linear_plan;

/* What the caller wants instead of what the files say. Zero everything for defaults. */
typedef struct wr_model_options {
    wr_pooling pooling;
    size_t max_doc_tokens;      /* 0 = sentence_bert_config.json, else the model's positions; specials included */
    size_t max_query_tokens;    /* 0 = as max_doc_tokens                                                          */
    const char *precision;      /* of the encoder's layers: NULL = as stored, "fp32", "bf16", "int8"               */
    const wr_linear_plan *plan; /* [nplan] single layers that want something else; borrowed during the call     */
    size_t nplan;
    double prune_ratio;  /* sparse: a document's weights up to this share of its largest are dropped; 0 <= x < 1 */
    bool tokenizer_only; /* no weights are made ready: only tokenizer, hash and the table of queries       */
} wr_model_options;

typedef struct wr_model wr_model;

/* What a model is; constant, borrowed from it. */
typedef struct wr_model_info {
    const char *path;         /* absolute                                                            */
    const char *name;         /* last component of path                                              */
    const char *model_type;   /* "bert", "distilbert"                                                */
    const char *architecture; /* architectures[0] of config.json, "" when absent                     */
    wr_model_kind kind;
    size_t layers, dim, heads, ffn, vocab, positions;
    const size_t *exit_layers; /* [nexits] ascending: what config.json calls the model's exits  */
    size_t nexits;
    size_t nlabels;     /* cross: outputs of the classifier, 1 of an interaction; else 0       */
    bool joins;         /* cross: a pair is two texts (wr_tokenizer_parts) that meet behind ... */
    size_t join_layer;  /* ... so many layers, 0..layers                                       */
    wr_pooling pooling; /* embed                                                               */
    bool normalize;     /* embed: L2                                                           */
    wr_sparse_act act;  /* sparse                                                              */
    double prune_ratio; /* sparse: for wr_sparse_texts(), which prunes documents               */
    bool has_idf;       /* sparse: queries are weighed by a table, not by the model            */
    size_t density; /* sparse: tokens of a document that an index should keep, 0 = all (config.json: sparse_density) */
    size_t idf_documents; /* sparse: what its table counts for beside a corpus's own documents, 0 = it does not say
                             (config.json: sparse_idf_documents)                                                     */
    double lexical;       /* sparse: weight of a document's own words in an index (indexer/lexical.h), 0 = none
                             (config.json: sparse_lexical)                                                           */
    wr_query_tf query_tf; /* sparse: what a query's repeated token is worth by its table (config.json: sparse_query_tf) */
    size_t max_doc_tokens, max_query_tokens;
    size_t parameters;          /* elements of the tensors in use                                      */
    size_t nlinear;             /* linear layers of the encoder                                        */
    size_t nint8, nbf16;        /* how many of them multiply bytes, bf16                               */
    const char *precision;      /* "fp32", "bf16", "int8", "mixed"                                     */
    char sha256[WR_SHA256_HEX]; /* over config.json, the tokenizer's file, weights and pooling config  */
} wr_model_info;

/* MODEL is a directory, or a name that is looked up in the places of models/find.h; a name that none of them has is a
 * directory too ("." and ".." are written with a slash). */
wr_status wr_model_open(wr_model **model, const char *name_or_path, const wr_model_options *options, wr_err *err);
void wr_model_close(wr_model *model);

const wr_model_info *wr_model_info_get(const wr_model *model);
const wr_tokenizer *wr_model_tokenizer(const wr_model *model);

/* A packed batch: sequences one behind the other, no padding.
 *   cu[0] = 0 <= cu[1] <= ... <= cu[nseq] = number of tokens; every sequence has 1..positions tokens. */
typedef struct wr_batch {
    const uint32_t *id;  /* [cu[nseq]] token ids with specials, each < vocab      */
    const uint8_t *type; /* [cu[nseq]] token types, NULL = all 0; where a model joins, a pair's parts */
    const uint32_t *cu;  /* [nseq + 1]                                            */
    size_t nseq;
} wr_batch;

/* How much of a model is run. Zero everything for all of it.
 *
 * exit: so many layers, and on top the head that the checkpoint has for this exit, tensors `exits.L.*`
 * (models/heads.h), else the model's own; an embedder pools the states of layer L. Any L up to info->layers, listed in
 * exit_layers or not. keep: the share of tokens that go on to the last layer; those that receive least attention are
 * dropped on the way (models/eliminate.h). Mean and max pooling are over the tokens that were kept. */
typedef struct wr_effort {
    size_t exit;   /* 0 = all layers                                        */
    float keep;    /* 0 < keep <= 1; 0 = all tokens                         */
    wr_crew *crew; /* who shares the work on a short batch, NULL = nobody    */
} wr_effort;

/* Pooled vectors, out[nseq * dim]. The same bits for a sequence whatever else is in the batch.
 * budget may be NULL; it is checked between layers: WR_STOPPED leaves out undefined.
 * arena is rolled back before returning. WR_EARG when the model is no embedder or a length or id is out of range. */
wr_status wr_model_embed(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                         float *out);

/* The same by a crew (NULL = the caller alone): for a few short texts that one thread would take too long for. */
wr_status wr_model_embed_shared(const wr_model *model, const wr_batch *batch, wr_crew *crew, wr_arena *arena,
                                const wr_budget *budget, float *out);

/* Raw logits, out[nseq * nlabels]; otherwise as above. A relevance score is the only label, or with two labels
 * logit 1 - logit 0 (the caller's business: wr_model_relevance). */
wr_status wr_model_score(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                         float *out);

/* The same with as much effort as is said; NULL = all. WR_EARG for more layers than there are and for a keep that is no
 * share. */
wr_status wr_model_embed_with(const wr_model *model, const wr_batch *batch, const wr_effort *effort, wr_arena *arena,
                              const wr_budget *budget, float *out);
wr_status wr_model_score_with(const wr_model *model, const wr_batch *batch, const wr_effort *effort, wr_arena *arena,
                              const wr_budget *budget, float *out);

/* Weights of all tokens of the vocabulary, out[nseq * vocab], otherwise as above: what the model says of a text (of a
 * query too where has_idf is false). 0 for special tokens and ids that are no token; never below 0. Not pruned. */
wr_status wr_model_sparse(const wr_model *model, const wr_batch *batch, wr_arena *arena, const wr_budget *budget,
                          float *out);

/* Whether an embedder and a sparse model read documents alike: the same tokenizer, the same limit, and encoders that
 * give the same states (models/encoder.h). Then one pass serves both. Takes some 10 ms: ask once. */
bool wr_model_one_pass(const wr_model *dense, const wr_model *sparse);

/* wr_model_embed_shared() of one and wr_model_sparse() of the other from a single pass of the encoder, with the same
 * bits. WR_EARG when the kinds are others; that wr_model_one_pass() holds is the caller's word. */
wr_status wr_model_embed_sparse(const wr_model *dense, const wr_model *sparse, const wr_batch *batch, wr_crew *crew,
                                wr_arena *arena, const wr_budget *budget, float *vectors, float *weights);

/* The table of a sparse model's queries; NULL when has_idf is false. */
const wr_idf *wr_model_idf(const wr_model *model);

/* One relevance score of nlabels logits: 1 label: it; 2 labels: l[1] - l[0]; more: WR_EUNSUPPORTED at open. */
float wr_model_relevance(const wr_model *model, const float *logits);

/* Upper bound of the arena bytes that a batch of ntok tokens needs, the outputs not counted. */
size_t wr_model_arena_bytes(const wr_model *model, size_t ntok, size_t longest);

/* How long a batch took, learnt from what ran: predicted nanoseconds for ntok tokens on one thread (0 = unknown yet).
 * Updated by every call that ran to its end, on the budget's clock; one that the budget stopped shows that it takes
 * longer than that, and counts as half as long again. Atomic. For planning, never for results. */
uint64_t wr_model_predict_ns(const wr_model *model, size_t ntok);

/* Takes a sixteenth off the prediction for ntok tokens: for who could not begin anything because of it. Nothing else
 * would ever correct a prediction that is too high. One that was right is right again after the first attempt. */
void wr_model_doubt(const wr_model *model, size_t ntok);

/* The same with less effort. What was learnt at one effort serves the others: times are kept by the work of a typical
 * pair at that effort (wr_encoder_work) against its work with all layers and tokens. */
uint64_t wr_model_predict_ns_with(const wr_model *model, const wr_effort *effort, size_t ntok);

/* What every thread that runs a model must do once: hold BLAS to one thread. Idempotent, cheap. */
void wr_model_thread_init(void);

#endif
