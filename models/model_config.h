/* What the JSON files of a model directory say: config.json, and sentence-transformers' modules.json,
 * 1_Pooling/config.json and sentence_bert_config.json where present; for learned sparse models router_config.json and
 * the configuration of their SpladePooling (sparse_config.c).
 *
 * The files are untrusted: every size is checked against the bounds below before anything is allocated by it.
 */
#ifndef WR_MODELS_MODEL_CONFIG_H
#define WR_MODELS_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"
#include "models/find.h"
#include "models/model.h"

/* Generous: the largest published BERT has 48 layers of 2560; xxl vocabularies have a million entries. */
#define WR_MAX_LAYERS 256
#define WR_MAX_DIM 16384
#define WR_MAX_FFN 131072
#define WR_MAX_VOCAB (1u << 24)
#define WR_MAX_POSITIONS 65536

typedef enum wr_activation { WR_ACT_GELU, WR_ACT_RELU } wr_activation;

/* The first three are the family's names for one and the same network: post-norm layers, learned positions. */
typedef struct wr_model_config {
    bool distil;         /* DistilBERT's tensor names; no token types, no pooler                    */
    bool classification; /* the architecture says sequence classification                           */
    bool masked;         /* it says masked language model                                           */
    bool interaction;    /* it says interaction: a pair's parts are apart up to layer join          */
    size_t join;         /* 0..layers                                                               */
    char model_type[32]; /* "bert", "distilbert"                                                    */
    char architecture[128];
    size_t layers, dim, heads, ffn, vocab, positions, types;
    size_t exit_layers[WR_MAX_LAYERS]; /* [nexits] ascending, 1..layers */
    size_t nexits;
    float eps; /* of LayerNorm */
    wr_activation act;
    wr_pooling pooling; /* WR_POOL_AUTO when no file says */
    bool normalize;
    size_t max_tokens;              /* min(sentence_bert_config.json's max_seq_length, positions)               */
    char base[WR_MAX_PATH];         /* the folder of the transformer: dir, or what modules.json names            */
    char pooling_path[WR_MAX_PATH]; /* the pooling config that was read, "" for none                      */
    bool has_modules;               /* there is a modules.json                                            */
    bool sparse;                    /* a SpladePooling, or a masked language model and no pooling at all  */
    wr_sparse_act sparse_act;
    size_t density;               /* sparse: config.json's sparse_density, 0 when it says nothing               */
    size_t idf_documents;         /* sparse: likewise sparse_idf_documents                                      */
    double lexical;               /* sparse: likewise sparse_lexical                                            */
    wr_query_tf query_tf;         /* sparse: likewise sparse_query_tf, "set" (the published way) or "sqrt"      */
    char query_path[WR_MAX_PATH]; /* sparse: the query's weights (idf.h), "" when queries go through the model */
} wr_model_config;

/* Reads what dir holds. WR_EUNSUPPORTED names a model_type, activation, position embedding or module that we do not
 * have. */
wr_status wr_model_config_read(wr_model_config *config, const char *dir, wr_err *err);

/* ---- learned sparse models: sparse_config.c ---- */

/* A SpladePooling's config.json in dir/folder. */
wr_status wr_sparse_config_pooling(wr_model_config *config, const char *dir, const char *folder, wr_err *err);

/* A Router's router_config.json in dir/folder: which folders the document's encoder and the query's weights have. */
wr_status wr_sparse_config_router(wr_model_config *config, const char *dir, const char *folder, wr_err *err);

/* The query's weights where no router names them: idf.json or query_token_weights.txt in dir. */
void wr_sparse_config_query(wr_model_config *config, const char *dir);

/* Whether a path of a module lies inside the model's folder. */
bool wr_module_is_inside(const char *path);

#endif
