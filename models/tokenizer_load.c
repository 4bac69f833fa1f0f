#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/lines.h"
#include "data/mapfile.h"
#include "data/utf8.h"
#include "models/bpe.h"
#include "models/wordpiece.h"

/* A vocabulary of 250,000 tokens makes a tokenizer.json of 17 MB. */
#define MAX_FILE ((size_t)256 << 20)

#define MAX_PATH 4096

/* Added tokens beyond this are no BERT: each is compared one by one where its first byte is met. */
#define MAX_ADDED 65536

/* ---- added tokens */

typedef struct flags {
    bool special, normalized, single_word, lstrip, rstrip;
} flags;

static wr_added *added_find(const wr_tokenizer *tok, const char *content)
{
    for (size_t i = 0; i < tok->nadded; i++)
        if (!strcmp(tok->added[i].content, content)) return &tok->added[i];
    return NULL;
}

/* The vocabulary's id, else the next free one behind it, as `tokenizers` gives them out whatever the file says. */
static int64_t added_id(const wr_tokenizer *tok, const char *content)
{
    int64_t id = wr_vocab_id(&tok->vocab, content, strlen(content));
    if (id >= 0) return id;
    id = (int64_t)tok->vocab.tokens;
    for (size_t i = 0; i < tok->nadded; i++)
        if (tok->added[i].id >= id) id = (int64_t)tok->added[i].id + 1;
    return id;
}

static wr_status add(wr_tokenizer *tok, const char *content, flags f, const char *path, wr_err *err)
{
    size_t n = strlen(content);
    if (!n || added_find(tok, content)) return WR_OK;
    if (strstr(content, "\xEF\xBF\xBD"))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: an added token that holds U+FFFD", path);
    int64_t id = added_id(tok, content);
    if (id >= WR_VOCAB_MAX_ID || tok->nadded == MAX_ADDED)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: more than %d added tokens", path, MAX_ADDED);
    wr_added *bigger = realloc(tok->added, (tok->nadded + 1) * sizeof *bigger);
    if (!bigger) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    tok->added = bigger;
    wr_added *added = &tok->added[tok->nadded++];
    *added = (wr_added){.id = (uint32_t)id,
                        .n = n,
                        .order = (uint32_t)(tok->nadded + (f.special ? 0 : MAX_ADDED)),
                        .special = f.special,
                        .normalized = f.normalized,
                        .single_word = f.single_word,
                        .lstrip = f.lstrip,
                        .rstrip = f.rstrip};
    added->content = strdup(content);
    added->text = malloc(3 * n + 1);
    if (!added->content || !added->text) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (f.normalized)
        added->n = wr_wordpiece_normalize(&tok->raw.fold, content, n, added->text, NULL);
    else
        memcpy(added->text, content, n);
    if (!added->n) return wr_fail(err, WR_EUNSUPPORTED, "%s: an added token that is empty once normalised", path);
    return WR_OK;
}

/* ---- members of a JSON object */

static wr_status member_text(const json_t *object, const char *key, const char **out, const char *path, wr_err *err)
{
    const json_t *value = json_object_get(object, key);
    *out = json_string_value(value);
    if (*out && strlen(*out) == json_string_length(value)) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: \"%s\" must be a string without NUL", path, key);
}

static wr_status member_bool(const json_t *object, const char *key, bool *out, const char *path, wr_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) return wr_fail(err, WR_EFORMAT, "%s: \"%s\" must be true or false", path, key);
    *out = json_is_true(value);
    return WR_OK;
}

static wr_status member_flags(const json_t *object, flags *f, const char *path, wr_err *err)
{
    wr_status st = member_bool(object, "special", &f->special, path, err);
    if (!st) st = member_bool(object, "normalized", &f->normalized, path, err);
    if (!st) st = member_bool(object, "single_word", &f->single_word, path, err);
    if (!st) st = member_bool(object, "lstrip", &f->lstrip, path, err);
    if (!st) st = member_bool(object, "rstrip", &f->rstrip, path, err);
    return st;
}

/* The name of a component's type, for messages. */
static const char *type_of(const json_t *component)
{
    const char *type = json_string_value(json_object_get(component, "type"));
    return type ? type : "(no type)";
}

static bool is(const json_t *component, const char *type)
{
    return !strcmp(type_of(component), type);
}

/* A Sequence that holds exactly one component is that component. */
static const json_t *unwrap(const json_t *component, const char *list)
{
    while (is(component, "Sequence") && json_array_size(json_object_get(component, list)) == 1)
        component = json_array_get(json_object_get(component, list), 0);
    return component;
}

/* ---- tokenizer.json */

static wr_status read_vocab(wr_tokenizer *tok, json_t *vocab, const char *path, wr_err *err)
{
    if (!json_is_object(vocab)) return wr_fail(err, WR_EFORMAT, "%s: \"model.vocab\" must be an object", path);
    const char *token;
    json_t *value;
    json_object_foreach(vocab, token, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= WR_VOCAB_MAX_ID)
            return wr_fail(err, WR_EFORMAT, "%s: the id of \"%s\" is no number below %u", path, token, WR_VOCAB_MAX_ID);
        wr_status st = wr_vocab_add(&tok->vocab, token, strlen(token), (uint32_t)id);
        if (st == WR_ENOMEM) return wr_fail(err, st, "%s: out of memory", path);
        if (st) return wr_fail(err, st, "%s: the id %lld of \"%s\" is taken", path, (long long)id, token);
    }
    return WR_OK;
}

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
    if (!json_is_object(model)) return wr_fail(err, WR_EFORMAT, "%s: \"model\" must be an object", path);
    if (!is(model, "WordPiece") && (json_object_get(model, "type") || json_object_get(model, "merges")))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: the model is %s, supported is WordPiece", path, type_of(model));
    wr_status st = member_text(model, "continuing_subword_prefix", &prefix, path, err);
    if (!st) st = member_text(model, "unk_token", &unk, path, err);
    if (st) return st;
    const json_t *chars = json_object_get(model, "max_input_chars_per_word");
    json_int_t max = json_is_integer(chars) ? json_integer_value(chars) : -1;
    if (max < 0) return wr_fail(err, WR_EFORMAT, "%s: \"max_input_chars_per_word\" must be a number", path);
    if (max > WR_MAX_WORD)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: \"max_input_chars_per_word\" is %lld, supported are up to %d", path,
                       (long long)max, WR_MAX_WORD);
    tok->max_chars = (size_t)max;
    st = read_vocab(tok, json_object_get(model, "vocab"), path, err);
    return st ? st : seal(tok, prefix, unk, path, err);
}

static wr_status read_normalizer(wr_fold *fold, const json_t *normalizer, const char *path, wr_err *err)
{
    if (!normalizer || json_is_null(normalizer)) return WR_OK;
    normalizer = unwrap(normalizer, "normalizers");
    if (is(normalizer, "Sequence") && json_is_array(json_object_get(normalizer, "normalizers")) &&
        !json_array_size(json_object_get(normalizer, "normalizers")))
        return WR_OK;
    if (!is(normalizer, "BertNormalizer"))
        return wr_fail(err, WR_EUNSUPPORTED, "%s: the normalizer is %s, supported is BertNormalizer", path,
                       type_of(normalizer));
    wr_status st = member_bool(normalizer, "clean_text", &fold->clean, path, err);
    if (!st) st = member_bool(normalizer, "handle_chinese_chars", &fold->han, path, err);
    if (!st) st = member_bool(normalizer, "lowercase", &fold->lower, path, err);
    if (st) return st;
    const json_t *strip = json_object_get(normalizer, "strip_accents");
    fold->strip = fold->lower;
    return !strip || json_is_null(strip) ? WR_OK : member_bool(normalizer, "strip_accents", &fold->strip, path, err);
}

static wr_status read_added(wr_tokenizer *tok, const json_t *list, const char *path, wr_err *err)
{
    if (!list || json_is_null(list)) return WR_OK;
    if (!json_is_array(list)) return wr_fail(err, WR_EFORMAT, "%s: \"added_tokens\" must be an array", path);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        flags f;
        const char *content;
        wr_status st = member_text(item, "content", &content, path, err);
        if (!st) st = member_flags(item, &f, path, err);
        if (!st && added_find(tok, content))
            st = wr_fail(err, WR_EFORMAT, "%s: the added token \"%s\" stands there twice", path, content);
        if (!st) st = add(tok, content, f, path, err);
        if (st) return st;
    }
    return WR_OK;
}

static wr_status bert_special(const json_t *processor, const char *key, int64_t *id, const char *path, wr_err *err)
{
    const json_t *value = json_array_get(json_object_get(processor, key), 1);
    *id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (*id >= 0 && *id < WR_VOCAB_MAX_ID) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: \"post_processor.%s\" must be [token, id]", path, key);
}

static void bert_templates(wr_tokenizer *tok, int64_t cls, int64_t sep)
{
    tok->single = (wr_template){.before = cls, .between = -1, .after = sep};
    tok->pair = (wr_template){.before = cls, .between = sep, .after = sep, .b_type = 1, .after_type = 1};
}

/* The id that a template's special token stands for; -1 with an error when it is not exactly one. */
static int64_t template_special(const json_t *processor, const char *name)
{
    const json_t *special = json_object_get(json_object_get(processor, "special_tokens"), name);
    const json_t *ids = json_object_get(special, "ids");
    if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0))) return -1;
    json_int_t id = json_integer_value(json_array_get(ids, 0));
    return id < WR_VOCAB_MAX_ID ? (int64_t)id : -1;
}

/* One piece of a template into the next free place of t: special? A special? (B special?)? */
static bool template_piece(const json_t *processor, const json_t *piece, wr_template *t, int *parts)
{
    const json_t *sequence = json_object_get(piece, "Sequence"), *special = json_object_get(piece, "SpecialToken");
    const json_t *body = sequence ? sequence : special;
    const char *name = json_string_value(json_object_get(body, "id"));
    const json_t *number = json_object_get(body, "type_id");
    json_int_t type = json_is_integer(number) ? json_integer_value(number) : -1;
    if (!name || type < 0 || type > UINT8_MAX) return false;
    if (sequence) {
        if (*parts > 1 || strcmp(name, *parts ? "B" : "A")) return false;
        *(*parts ? &t->b_type : &t->a_type) = (uint8_t)type;
        ++*parts;
        return true;
    }
    int64_t id = template_special(processor, name);
    int64_t *place = *parts == 0 ? &t->before : *parts == 1 ? &t->between : &t->after;
    uint8_t *place_type = *parts == 0 ? &t->before_type : *parts == 1 ? &t->between_type : &t->after_type;
    if (id < 0 || *place >= 0) return false;
    *place = id;
    *place_type = (uint8_t)type;
    return true;
}

static wr_status read_template(const json_t *processor, const char *key, int parts, wr_template *t, const char *path,
                               wr_err *err)
{
    *t = (wr_template){.before = -1, .between = -1, .after = -1};
    const json_t *list = json_object_get(processor, key);
    int seen = 0;
    size_t i;
    json_t *piece;
    if (!json_is_array(list)) return wr_fail(err, WR_EFORMAT, "%s: \"post_processor.%s\" must be an array", path, key);
    json_array_foreach(list, i, piece)
    {
        if (!template_piece(processor, piece, t, &seen))
            return wr_fail(err, WR_EUNSUPPORTED,
                           "%s: the template \"%s\" of the post-processor has not the form [CLS] A [SEP] B [SEP]", path,
                           key);
    }
    if (seen != parts)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: the template \"%s\" of the post-processor has %d parts, expected %d",
                       path, key, seen, parts);
    return WR_OK;
}

static wr_status read_processor(wr_tokenizer *tok, const json_t *processor, const char *path, wr_err *err)
{
    bert_templates(tok, -1, -1);
    if (!processor || json_is_null(processor)) return WR_OK;
    processor = unwrap(processor, "processors");
    if (is(processor, "BertProcessing")) {
        int64_t cls, sep;
        wr_status st = bert_special(processor, "cls", &cls, path, err);
        if (!st) st = bert_special(processor, "sep", &sep, path, err);
        if (!st) bert_templates(tok, cls, sep);
        return st;
    }
    if (!is(processor, "TemplateProcessing"))
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: the post-processor is %s, supported are TemplateProcessing and BertProcessing", path,
                       type_of(processor));
    wr_status st = read_template(processor, "single", 1, &tok->single, path, err);
    if (st) return st;
    /* With one part, what follows it was read as standing between two. */
    tok->single.after = tok->single.between;
    tok->single.between = -1;
    return read_template(processor, "pair", 2, &tok->pair, path, err);
}

static wr_status load_json(wr_tokenizer *tok, const char *path, wr_err *err)
{
    json_t *root;
    wr_status st = wr_json_load(&root, path, MAX_FILE, err);
    if (st) return st;
    const json_t *pre = unwrap(json_object_get(root, "pre_tokenizer"), "pretokenizers");
    if (!json_is_object(root))
        st = wr_fail(err, WR_EFORMAT, "%s: must be a JSON object", path);
    else if (!is(pre, "BertPreTokenizer"))
        st = wr_fail(err, WR_EUNSUPPORTED, "%s: the pre-tokenizer is %s, supported is BertPreTokenizer", path,
                     type_of(pre));
    if (!st) st = read_model(tok, json_object_get(root, "model"), path, err);
    if (!st) st = read_normalizer(&tok->raw.fold, json_object_get(root, "normalizer"), path, err);
    if (!st) st = read_added(tok, json_object_get(root, "added_tokens"), path, err);
    if (!st) st = read_processor(tok, json_object_get(root, "post_processor"), path, err);
    json_decref(root);
    return st;
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
    st = wr_json_load(out, path, MAX_FILE, err);
    if (!st && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        st = wr_fail(err, WR_EFORMAT, "%s: must be a JSON object", path);
    }
    return st;
}

static wr_status option(const json_t *config, const char *key, bool *value, const char *path, wr_err *err)
{
    const json_t *member = json_object_get(config, key);
    return !member || json_is_null(member) ? WR_OK : member_bool(config, key, value, path, err);
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
    flags f = {.special = true};
    const char *content = content_of(value);
    if (!content) return wr_fail(err, WR_EFORMAT, "%s: a special token must be a string or have \"content\"", path);
    f.normalized = json_is_true(json_object_get(value, "normalized"));
    f.single_word = json_is_true(json_object_get(value, "single_word"));
    f.lstrip = json_is_true(json_object_get(value, "lstrip"));
    f.rstrip = json_is_true(json_object_get(value, "rstrip"));
    return add(tok, content, f, path, err);
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
        flags f;
        const char *content;
        value = json_object_get(decoder, key[i]);
        st = member_text(value, "content", &content, path, err);
        if (!st) st = member_flags(value, &f, path, err);
        if (!st) st = add(tok, content, f, path, err);
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
    wr_status st = option(config, "do_lower_case", &fold->lower, path, err);
    fold->strip = fold->lower;
    if (!st) st = option(config, "strip_accents", &fold->strip, path, err);
    if (!st) st = option(config, "tokenize_chinese_chars", &fold->han, path, err);
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
    bert_templates(tok, id[CLS], id[SEP]);
    st = read_decoder(tok, json_object_get(config, "added_tokens_decoder"), path, err);
    for (int i = 0; i < ROLES && !st; i++) {
        if (value[i])
            st = add_special(tok, value[i], path, err);
        else if (id[i] >= 0)
            st = add(tok, role_default[i], (flags){.special = true}, path, err);
    }
    size_t i;
    json_t *item;
    json_array_foreach(named(config, map, "additional_special_tokens"), i, item)
    {
        if (!st) st = add_special(tok, item, path, err);
    }
    return st;
}

static wr_status load_text(wr_tokenizer *tok, const char *dir, const char *path, wr_err *err)
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

/* ---- open and close */

static int by_id(const void *a, const void *b)
{
    const wr_added *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Every id that can come out is known before the first text comes in. */
static wr_status finish(wr_tokenizer *tok, const char *path, wr_err *err)
{
    if (tok->nadded) qsort(tok->added, tok->nadded, sizeof *tok->added, by_id);
    tok->ids = tok->vocab.ids;
    if (tok->nadded && tok->added[tok->nadded - 1].id >= tok->ids)
        tok->ids = (size_t)tok->added[tok->nadded - 1].id + 1;
    const int64_t special[] = {tok->single.before, tok->single.after, tok->pair.before, tok->pair.between,
                               tok->pair.after};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (special[i] >= 0 && !wr_tokenizer_token(tok, (uint32_t)special[i]))
            return wr_fail(err, WR_EFORMAT, "%s: the post-processor uses id %lld, which no token has", path,
                           (long long)special[i]);
    if (wr_added_collect(&tok->as_given, tok->added, tok->nadded, false) ||
        wr_added_collect(&tok->as_normalized, tok->added, tok->nadded, true))
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (!tok->bpe) wr_wordpiece_prepare(tok);
    if ((tok->bpe && wr_bpe_prepare(tok)) || wr_tokenizer_hash(tok))
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    return WR_OK;
}

wr_status wr_tokenizer_open(wr_tokenizer **out, const char *dir, wr_err *err)
{
    char path[MAX_PATH];
    *out = NULL;
    wr_tokenizer *tok = calloc(1, sizeof *tok);
    if (!tok) return wr_fail(err, WR_ENOMEM, "%s: out of memory", dir);
    wr_status st = wr_path_join(path, sizeof path, dir, "tokenizer.json");
    if (st) {
        wr_fail(err, st, "the path of the tokenizer is too long: \"%.64s...\"", dir);
    } else if (wr_path_exists(path)) {
        st = load_json(tok, path, err);
    } else {
        st = wr_path_join(path, sizeof path, dir, "vocab.txt");
        if (!st && !wr_path_exists(path))
            st = wr_fail(err, WR_ENOTFOUND, "%s: neither tokenizer.json nor vocab.txt", dir);
        if (!st) st = load_text(tok, dir, path, err);
    }
    if (!st) st = finish(tok, path, err);
    if (st) return wr_tokenizer_close(tok), st;
    *out = tok;
    return WR_OK;
}

void wr_tokenizer_close(wr_tokenizer *tok)
{
    if (!tok) return;
    for (size_t i = 0; i < tok->nadded; i++) {
        free(tok->added[i].text);
        free(tok->added[i].content);
    }
    free(tok->added);
    wr_added_release(&tok->as_given);
    wr_added_release(&tok->as_normalized);
    wr_bpe_free(tok->bpe);
    wr_vocab_release(&tok->vocab);
    free(tok);
}
