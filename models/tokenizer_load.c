#include "models/tokenizer_load.h"

#include <stdlib.h>
#include <string.h>

#include "data/arena.h"
#include "data/json.h"
#include "data/mapfile.h"
#include "models/bpe.h"
#include "models/wordpiece.h"

#define MAX_PATH 4096

/* Added tokens beyond this are no tokenizer's: each is compared one by one where its first byte is met. */
#define MAX_ADDED 65536

/* ---- added tokens */

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

/* What is looked for: the content itself, or as the normaliser makes it. */
static wr_status normalized_text(wr_tokenizer *tok, wr_added *added, const char *path, wr_err *err)
{
    wr_text text = {added->content, strlen(added->content)};
    wr_arena arena = {0};
    char *folded = NULL;
    wr_status st = WR_OK;
    if (added->normalized && tok->bpe) {
        st = wr_arena_init(&arena, (size_t)1 << 26);
        if (!st) st = wr_normalize(&tok->bpe->normal, text, &arena, &text, NULL);
    } else if (added->normalized) {
        folded = malloc(3 * text.n);
        if (folded) text.n = wr_wordpiece_normalize(&tok->raw.fold, text.bytes, text.n, folded, NULL);
        st = folded ? WR_OK : WR_ENOMEM;
        text.bytes = folded;
    }
    added->text = st ? NULL : malloc(text.n + 1);
    if (added->text && text.n) memcpy(added->text, text.bytes, text.n);
    added->n = text.n;
    free(folded);
    wr_arena_release(&arena);
    if (!added->text) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (!text.n) return wr_fail(err, WR_EUNSUPPORTED, "%s: an added token that is empty once normalised", path);
    return WR_OK;
}

wr_status wr_tokenizer_add(wr_tokenizer *tok, const char *content, wr_added_flags f, const char *path, wr_err *err)
{
    if (!*content || added_find(tok, content)) return WR_OK;
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
                        .order = (uint32_t)(tok->nadded + (f.special ? 0 : MAX_ADDED)),
                        .special = f.special,
                        .normalized = f.normalized,
                        .single_word = f.single_word,
                        .lstrip = f.lstrip,
                        .rstrip = f.rstrip};
    added->content = strdup(content);
    return added->content ? normalized_text(tok, added, path, err) : wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
}

/* ---- members of a JSON object */

wr_status wr_member_text(const json_t *object, const char *key, const char **out, const char *path, wr_err *err)
{
    const json_t *value = json_object_get(object, key);
    *out = json_string_value(value);
    if (*out && strlen(*out) == json_string_length(value)) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: \"%s\" must be a string without NUL", path, key);
}

wr_status wr_member_bool(const json_t *object, const char *key, bool *out, const char *path, wr_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) return wr_fail(err, WR_EFORMAT, "%s: \"%s\" must be true or false", path, key);
    *out = json_is_true(value);
    return WR_OK;
}

wr_status wr_option_bool(const json_t *object, const char *key, bool *out, const char *path, wr_err *err)
{
    const json_t *member = json_object_get(object, key);
    return !member || json_is_null(member) ? WR_OK : wr_member_bool(object, key, out, path, err);
}

wr_status wr_member_flags(const json_t *object, wr_added_flags *f, const char *path, wr_err *err)
{
    wr_status st = wr_member_bool(object, "special", &f->special, path, err);
    if (!st) st = wr_member_bool(object, "normalized", &f->normalized, path, err);
    if (!st) st = wr_member_bool(object, "single_word", &f->single_word, path, err);
    if (!st) st = wr_member_bool(object, "lstrip", &f->lstrip, path, err);
    if (!st) st = wr_member_bool(object, "rstrip", &f->rstrip, path, err);
    return st;
}

/* The name of a component's type, for messages. */
const char *wr_component_type(const json_t *component)
{
    const char *type = json_string_value(json_object_get(component, "type"));
    return type ? type : "(no type)";
}

bool wr_component_is(const json_t *component, const char *type)
{
    return !strcmp(wr_component_type(component), type);
}

/* A Sequence that holds exactly one component is that component. */
const json_t *wr_component_only(const json_t *component, const char *list)
{
    while (wr_component_is(component, "Sequence") && json_array_size(json_object_get(component, list)) == 1)
        component = json_array_get(json_object_get(component, list), 0);
    return component;
}

/* ---- tokenizer.json */

wr_status wr_tokenizer_read_vocab(wr_tokenizer *tok, json_t *vocab, const char *path, wr_err *err)
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

static wr_status read_added(wr_tokenizer *tok, const json_t *list, const char *path, wr_err *err)
{
    if (!list || json_is_null(list)) return WR_OK;
    if (!json_is_array(list)) return wr_fail(err, WR_EFORMAT, "%s: \"added_tokens\" must be an array", path);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        wr_added_flags f;
        const char *content;
        wr_status st = wr_member_text(item, "content", &content, path, err);
        if (!st) st = wr_member_flags(item, &f, path, err);
        if (!st && added_find(tok, content))
            st = wr_fail(err, WR_EFORMAT, "%s: the added token \"%s\" stands there twice", path, content);
        if (!st) st = wr_tokenizer_add(tok, content, f, path, err);
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

void wr_tokenizer_bert_templates(wr_tokenizer *tok, int64_t cls, int64_t sep)
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

/* ByteLevel changes offsets alone; of a Sequence that begins with it the one component behind it counts. */
static const json_t *behind_bytes(const json_t *processor)
{
    const json_t *list = json_object_get(processor, "processors");
    bool two = json_array_size(list) == 2 && wr_component_is(json_array_get(list, 0), "ByteLevel");
    return two ? json_array_get(list, 1) : processor;
}

static wr_status read_processor(wr_tokenizer *tok, const json_t *processor, const char *path, wr_err *err)
{
    wr_tokenizer_bert_templates(tok, -1, -1);
    if (!processor || json_is_null(processor)) return WR_OK;
    processor = wr_component_only(processor, "processors");
    if (tok->bpe && wr_component_is(processor, "Sequence")) processor = behind_bytes(processor);
    if (tok->bpe && wr_component_is(processor, "ByteLevel")) return WR_OK;
    if (wr_component_is(processor, "BertProcessing")) {
        int64_t cls, sep;
        wr_status st = bert_special(processor, "cls", &cls, path, err);
        if (!st) st = bert_special(processor, "sep", &sep, path, err);
        if (!st) wr_tokenizer_bert_templates(tok, cls, sep);
        return st;
    }
    if (!wr_component_is(processor, "TemplateProcessing"))
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: the post-processor is %s, supported are TemplateProcessing and BertProcessing", path,
                       wr_component_type(processor));
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
    wr_status st = wr_json_load(&root, path, WR_TOKENIZER_MAX_FILE, err);
    if (st) return st;
    const json_t *model = json_object_get(root, "model");
    bool typed = json_object_get(model, "type");
    if (!json_is_object(root))
        st = wr_fail(err, WR_EFORMAT, "%s: must be a JSON object", path);
    else if (!json_is_object(model))
        st = wr_fail(err, WR_EFORMAT, "%s: \"model\" must be an object", path);
    else if (typed && !wr_component_is(model, "WordPiece") && !wr_component_is(model, "BPE"))
        st = wr_fail(err, WR_EUNSUPPORTED, "%s: the model is %s, supported are WordPiece and BPE", path,
                     wr_component_type(model));
    else if (wr_component_is(model, "BPE") || (!typed && json_object_get(model, "merges")))
        st = wr_bpe_load(tok, root, path, err);
    else
        st = wr_wordpiece_load(tok, root, path, err);
    if (!st) st = read_added(tok, json_object_get(root, "added_tokens"), path, err);
    if (!st) st = read_processor(tok, json_object_get(root, "post_processor"), path, err);
    json_decref(root);
    return st;
}

/* ---- open and close */

static int by_id(const void *a, const void *b)
{
    const wr_added *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Every id that can come out is known before the first text comes in. */
wr_status wr_tokenizer_finish(wr_tokenizer *tok, const char *path, wr_err *err)
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
        if (!st) st = wr_wordpiece_load_text(tok, dir, path, err);
    }
    if (!st) st = wr_tokenizer_finish(tok, path, err);
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
