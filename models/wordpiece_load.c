/* WordPiece from files: its parts of tokenizer.json, and vocab.txt with what stands beside it. */
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "data/utf8.h"
#include "models/tokenizer_load.h"
#include "models/wordpiece.h"

#define MAX_PATH 4096

/* ---- tokenizer.json */

static wr_status seal(wr_tokenizer *tok, const char *prefix, const char *unk, const char *path, wr_err *err)
{
    if (wr_vocab_seal(&tok->vocab, prefix)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    int64_t id = wr_vocab_id(&tok->vocab, unk, strlen(unk));
    if (id < 0) return wr_fail(err, WR_EFORMAT, "%s: the unknown token \"%s\" is not in the vocabulary", path, unk);
    tok->unk = (uint32_t)id;
    return WR_OK;
}

static wr_status read_model(wr_tokenizer *tok, const json_t *model, const char *path, wr_err *err)
{
    const char *prefix, *unk;
    wr_status st = wr_member_text(model, "continuing_subword_prefix", &prefix, path, err);
    if (!st) st = wr_member_text(model, "unk_token", &unk, path, err);
    if (st) return st;
    const json_t *chars = json_object_get(model, "max_input_chars_per_word");
    json_int_t max = json_is_integer(chars) ? json_integer_value(chars) : -1;
    if (max < 0) return wr_fail(err, WR_EFORMAT, "%s: \"max_input_chars_per_word\" must be a number", path);
    if (max > WR_MAX_WORD)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: \"max_input_chars_per_word\" is %lld, supported are up to %d", path,
                       (long long)max, WR_MAX_WORD);
    tok->max_chars = (size_t)max;
    st = wr_tokenizer_read_vocab(tok, json_object_get(model, "vocab"), path, err);
    return st ? st : seal(tok, prefix, unk, path, err);
}

static wr_status read_normalizer(wr_fold *fold, const json_t *normalizer, const char *path, wr_err *err)
{
    if (!normalizer || json_is_null(normalizer)) return WR_OK;
    normalizer = wr_component_only(normalizer, "normalizers");
    if (wr_component_is(normalizer, "Sequence") && json_is_array(json_object_get(normalizer, "normalizers")) &&
        !json_array_size(json_object_get(normalizer, "normalizers")))
        return WR_OK;
    if (!wr_component_is(normalizer, "BertNormalizer"))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: the normalizer is %s, supported is BertNormalizer", path,
                       wr_component_type(normalizer));
    wr_status st = wr_member_bool(normalizer, "clean_text", &fold->clean, path, err);
    if (!st) st = wr_member_bool(normalizer, "handle_chinese_chars", &fold->han, path, err);
    if (!st) st = wr_member_bool(normalizer, "lowercase", &fold->lower, path, err);
    if (st) return st;
    const json_t *strip = json_object_get(normalizer, "strip_accents");
    fold->strip = fold->lower;
    return !strip || json_is_null(strip) ? WR_OK : wr_member_bool(normalizer, "strip_accents", &fold->strip, path, err);
}

wr_status wr_wordpiece_load(wr_tokenizer *tok, const json_t *root, const char *path, wr_err *err)
{
    const json_t *pre = wr_component_only(json_object_get(root, "pre_tokenizer"), "pretokenizers");
    if (!wr_component_is(pre, "BertPreTokenizer"))
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: the pre-tokenizer is %s, with WordPiece supported is BertPreTokenizer", path,
                       wr_component_type(pre));
    wr_status st = read_model(tok, json_object_get(root, "model"), path, err);
    return st ? st : read_normalizer(&tok->raw.fold, json_object_get(root, "normalizer"), path, err);
}

/* ---- vocab.txt */

static wr_status read_lines(wr_tokenizer *tok, const char *path, wr_err *err)
{
    wr_lines *lines;
    wr_status st = wr_lines_open(&lines, path, err);
    const char *line;
    size_t n;
    while (!st && !(st = wr_lines_next(lines, &line, &n, err)) && line) {
        size_t number = wr_lines_number(lines);
        if (!wr_utf8_valid(line, n) || memchr(line, 0, n))
            st = wr_fail(err, WR_EFORMAT, "%s: line %zu: not a token in UTF-8", path, number);
        else if (n && wr_vocab_add(&tok->vocab, line, n, (uint32_t)(number - 1)))
            st = wr_fail(err, WR_EFORMAT, "%s: line %zu: more tokens than a vocabulary can have", path, number);
    }
    wr_lines_close(lines);
    return st;
}

/* Reads an optional file beside vocab.txt; *out stays NULL when it is missing. */
static wr_status load_optional(json_t **out, const char *dir, const char *name, wr_err *err)
{
    char path[MAX_PATH];
    *out = NULL;
    wr_status st = wr_path_join(path, sizeof path, dir, name);
    if (st || !wr_path_exists(path)) return WR_OK;
    st = wr_json_load(out, path, WR_TOKENIZER_MAX_FILE, err);
    if (!st && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        st = wr_fail(err, WR_EFORMAT, "%s: must be a JSON object", path);
    }
    return st;
}

/* A special token is a string or an object with "content"; config goes before map. NULL when neither names it. */
static const json_t *named(const json_t *config, const json_t *map, const char *key)
{
    const json_t *value = json_object_get(config, key);
    if (!value || json_is_null(value)) value = json_object_get(map, key);
    return value && !json_is_null(value) ? value : NULL;
}

static const char *content_of(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static wr_status add_special(wr_tokenizer *tok, const json_t *value, const char *path, wr_err *err)
{
    wr_added_flags f = {.special = true};
    const char *content = content_of(value);
    if (!content) return wr_fail(err, WR_EFORMAT, "%s: a special token must be a string or have \"content\"", path);
    f.normalized = json_is_true(json_object_get(value, "normalized"));
    f.single_word = json_is_true(json_object_get(value, "single_word"));
    f.lstrip = json_is_true(json_object_get(value, "lstrip"));
    f.rstrip = json_is_true(json_object_get(value, "rstrip"));
    return wr_tokenizer_add(tok, content, f, path, err);
}

static int by_number(const void *a, const void *b)
{
    long long x = atoll(*(const char *const *)a), y = atoll(*(const char *const *)b);
    return x < y ? -1 : x > y;
}

/* "added_tokens_decoder": {"100": {"content": ...}, ...}, in the order of the ids. */
static wr_status read_decoder(wr_tokenizer *tok, json_t *decoder, const char *path, wr_err *err)
{
    size_t n = json_object_size(decoder), i = 0;
    const char **key = malloc((n + 1) * sizeof *key), *name;
    json_t *value;
    wr_status st = WR_OK;
    if (!key) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    json_object_foreach(decoder, name, value) key[i++] = name;
    qsort(key, n, sizeof *key, by_number);
    for (i = 0; i < n && !st; i++) {
        wr_added_flags f;
        const char *content;
        value = json_object_get(decoder, key[i]);
        st = wr_member_text(value, "content", &content, path, err);
        if (!st) st = wr_member_flags(value, &f, path, err);
        if (!st) st = wr_tokenizer_add(tok, content, f, path, err);
    }
    free(key);
    return st;
}

static const char *const role[] = {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
static const char *const role_default[] = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
enum { UNK, SEP, PAD, CLS, MASK, ROLES };

/* The tokenizers that are BERT's WordPiece under another name. */
static bool is_bert(const char *class)
{
    static const char *const known[] = {"Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if (strncmp(class, known[i], n)) continue;
        if (!strcmp(class + n, "Tokenizer") || !strcmp(class + n, "TokenizerFast")) return true;
    }
    return false;
}

static wr_status read_config(wr_tokenizer *tok, const json_t *config, const json_t *map, const char *path, wr_err *err)
{
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    if (class && !is_bert(class))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: the tokenizer is a %s, supported is BertTokenizer", path, class);
    wr_fold *fold = &tok->raw.fold;
    *fold = (wr_fold){.clean = true, .han = true, .lower = true};
    wr_status st = wr_option_bool(config, "do_lower_case", &fold->lower, path, err);
    fold->strip = fold->lower;
    if (!st) st = wr_option_bool(config, "strip_accents", &fold->strip, path, err);
    if (!st) st = wr_option_bool(config, "tokenize_chinese_chars", &fold->han, path, err);
    if (st) return st;
    int64_t id[ROLES];
    const json_t *value[ROLES];
    for (int i = 0; i < ROLES; i++) {
        value[i] = named(config, map, role[i]);
        const char *token = value[i] ? content_of(value[i]) : role_default[i];
        id[i] = token ? wr_vocab_id(&tok->vocab, token, strlen(token)) : -1;
        if (id[i] < 0 && (i == UNK || i == SEP || i == CLS))
            return wr_fail(err, WR_EFORMAT, "%s: the vocabulary has no %s", path, role[i]);
    }
    tok->unk = (uint32_t)id[UNK];
    wr_tokenizer_bert_templates(tok, id[CLS], id[SEP]);
    st = read_decoder(tok, json_object_get(config, "added_tokens_decoder"), path, err);
    for (int i = 0; i < ROLES && !st; i++) {
        if (value[i])
            st = add_special(tok, value[i], path, err);
        else if (id[i] >= 0)
            st = wr_tokenizer_add(tok, role_default[i], (wr_added_flags){.special = true}, path, err);
    }
    size_t i;
    json_t *item;
    json_array_foreach(named(config, map, "additional_special_tokens"), i, item)
    {
        if (!st) st = add_special(tok, item, path, err);
    }
    return st;
}

wr_status wr_wordpiece_load_text(wr_tokenizer *tok, const char *dir, const char *path, wr_err *err)
{
    json_t *config = NULL, *map = NULL, *more = NULL;
    tok->max_chars = 100;
    wr_status st = load_optional(&config, dir, "tokenizer_config.json", err);
    if (!st) st = load_optional(&map, dir, "special_tokens_map.json", err);
    if (!st) st = load_optional(&more, dir, "added_tokens.json", err);
    if (!st && json_object_size(more))
        st = wr_fail(err, WR_EUNSUPPORTED, "%s/added_tokens.json: only tokenizer.json may bring added tokens", dir);
    if (!st) st = read_lines(tok, path, err);
    if (!st && wr_vocab_seal(&tok->vocab, "##")) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (!st) st = read_config(tok, config, map, path, err);
    json_decref(config);
    json_decref(map);
    json_decref(more);
    return st;
}
