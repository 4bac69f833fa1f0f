/* Between the loaders of tokenizers: members of JSON objects, components, added tokens. Others include tokenizer.h. */
#ifndef WR_MODELS_TOKENIZER_LOAD_H
#define WR_MODELS_TOKENIZER_LOAD_H

#include <jansson.h>

#include "models/tokenizer_parts.h"

/* A vocabulary of 250,000 tokens makes a tokenizer.json of 17 MB. */
#define WR_TOKENIZER_MAX_FILE ((size_t)256 << 20)

typedef struct wr_added_flags {
    bool special, normalized, single_word, lstrip, rstrip;
} wr_added_flags;

/* WR_EFORMAT with a sentence when the member is missing or of another type. */
wr_status wr_member_text(const json_t *object, const char *key, const char **out, const char *path, wr_err *err);
wr_status wr_member_bool(const json_t *object, const char *key, bool *out, const char *path, wr_err *err);
/* A member that may be missing or null: *out stays. */
wr_status wr_option_bool(const json_t *object, const char *key, bool *out, const char *path, wr_err *err);
wr_status wr_member_flags(const json_t *object, wr_added_flags *flags, const char *path, wr_err *err);

/* The name of a component's type, for messages. */
const char *wr_component_type(const json_t *component);
bool wr_component_is(const json_t *component, const char *type);

/* A Sequence that holds exactly one component (in the array `list`) is that component. */
const json_t *wr_component_only(const json_t *component, const char *list);

/* An added token, with the vocabulary's id or the next free one; one that is there or empty is passed over. What is looked
 * for is normalised as the tokenizer does it so far. WR_EUNSUPPORTED, WR_ENOMEM. */
wr_status wr_tokenizer_add(wr_tokenizer *tok, const char *content, wr_added_flags flags, const char *path, wr_err *err);

/* "model.vocab" of tokenizer.json. */
wr_status wr_tokenizer_read_vocab(wr_tokenizer *tok, json_t *vocab, const char *path, wr_err *err);

/* What stands around a text: nothing but BERT's [CLS] and [SEP] where the ids are not -1. */
void wr_tokenizer_bert_templates(wr_tokenizer *tok, int64_t cls, int64_t sep);

/* One of the kinds: model, normaliser and pre-tokenizer of tokenizer.json; vocab.txt with what stands beside it. */
wr_status wr_wordpiece_load(wr_tokenizer *tok, const json_t *root, const char *path, wr_err *err);
wr_status wr_wordpiece_load_text(wr_tokenizer *tok, const char *dir, const char *path, wr_err *err);
wr_status wr_bpe_load(wr_tokenizer *tok, const json_t *root, const char *path, wr_err *err);

/* Checks and tables, once everything is read. */
wr_status wr_tokenizer_finish(wr_tokenizer *tok, const char *path, wr_err *err);

#endif
