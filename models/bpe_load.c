/* BPE from tokenizer.json: model, normaliser, pre-tokenizers. */
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/bpe.h"
#include "models/tokenizer_load.h"

/* ---- the model */

static int64_t id_of(const wr_tokenizer *tok, const char *token, size_t n)
{
    return wr_vocab_id(&tok->vocab, token, n);
}

/* The two halves of a merge: "a b", or ["a", "b"] in newer files. False when it is neither. */
static bool halves(const json_t *merge, wr_text half[2])
{
    if (json_array_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *value = json_array_get(merge, i);
            half[i] = (wr_text){json_string_value(value), json_string_length(value)};
        }
        return half[0].bytes && half[1].bytes;
    }
    const char *s = json_string_value(merge), *space = s ? strchr(s, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    half[0] = (wr_text){s, (size_t)(space - s)};
    half[1] = (wr_text){space + 1, json_string_length(merge) - half[0].n - 1};
    return true;
}

#define MAX_TOKEN 4096 /* bytes of a token that a merge makes; the longest in use have some hundred */

wr_status wr_bpe_merge_of(wr_tokenizer *tok, wr_text left, wr_text right, size_t rank, const char *path, wr_err *err)
{
    char both[MAX_TOKEN];
    if (left.n + right.n > sizeof both)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: merge %zu makes a token of more than %d bytes", path, rank,
                       MAX_TOKEN);
    if (left.n) memcpy(both, left.bytes, left.n);
    if (right.n) memcpy(both + left.n, right.bytes, right.n);
    int64_t a = id_of(tok, left.bytes, left.n), b = id_of(tok, right.bytes, right.n);
    int64_t id = id_of(tok, both, left.n + right.n);
    if (a < 0 || b < 0 || id < 0)
        return wr_fail(err, WR_EFORMAT, "%s: merge %zu names a token that is not in the vocabulary", path, rank);
    wr_bpe_add_merge(tok->bpe, (uint32_t)a, (uint32_t)b, (uint32_t)rank, (uint32_t)id);
    return WR_OK;
}

static wr_status read_merges(wr_tokenizer *tok, const json_t *merges, const char *path, wr_err *err)
{
    size_t i;
    json_t *merge;
    if (!json_is_array(merges)) return wr_fail(err, WR_EFORMAT, "%s: \"model.merges\" must be an array", path);
    if (json_array_size(merges) >= WR_VOCAB_MAX_ID)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: more than %u merges", path, WR_VOCAB_MAX_ID);
    if (wr_bpe_reserve(tok->bpe, json_array_size(merges))) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    json_array_foreach(merges, i, merge)
    {
        wr_text half[2];
        if (!halves(merge, half))
            return wr_fail(err, WR_EFORMAT, "%s: merge %zu must be \"a b\" or [\"a\", \"b\"]", path, i);
        wr_status st = wr_bpe_merge_of(tok, half[0], half[1], i, path, err);
        if (st) return st;
    }
    return WR_OK;
}

/* A string that these families leave out, null or empty. */
static wr_status must_be_empty(const json_t *model, const char *key, const char *path, wr_err *err)
{
    const json_t *value = json_object_get(model, key);
    if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value))) return WR_OK;
    return wr_fail(err, WR_EUNSUPPORTED, "%s: \"model.%s\" is not supported with BPE", path, key);
}

static wr_status read_model(wr_tokenizer *tok, const json_t *model, const char *path, wr_err *err)
{
    wr_bpe *bpe = tok->bpe;
    const json_t *dropout = json_object_get(model, "dropout"), *unk = json_object_get(model, "unk_token");
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: \"model.dropout\" makes ids random", path);
    wr_status st = must_be_empty(model, "continuing_subword_prefix", path, err);
    if (!st) st = must_be_empty(model, "end_of_word_suffix", path, err);
    if (!st) st = wr_option_bool(model, "fuse_unk", &bpe->fuse_unk, path, err);
    if (!st) st = wr_option_bool(model, "byte_fallback", &bpe->byte_fallback, path, err);
    if (!st) st = wr_option_bool(model, "ignore_merges", &bpe->ignore_merges, path, err);
    if (!st) st = wr_tokenizer_read_vocab(tok, json_object_get(model, "vocab"), path, err);
    if (st) return st;
    if (wr_vocab_seal(&tok->vocab, NULL)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    bpe->unk = json_is_string(unk) ? id_of(tok, json_string_value(unk), json_string_length(unk)) : -1;
    if (json_is_string(unk) && bpe->unk < 0)
        return wr_fail(err, WR_EFORMAT, "%s: the unknown token \"%s\" is not in the vocabulary", path,
                       json_string_value(unk));
    return read_merges(tok, json_object_get(model, "merges"), path, err);
}

/* ---- normalisers */

static wr_status read_normalizer(wr_normal *normal, const json_t *n, int depth, const char *path, wr_err *err);

static wr_status read_normalizers(wr_normal *normal, const json_t *list, int depth, const char *path, wr_err *err)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list)) return wr_fail(err, WR_EFORMAT, "%s: \"normalizers\" must be an array", path);
    if (depth > 3) return wr_fail(err, WR_EUNSUPPORTED, "%s: Sequences in Sequences of normalizers", path);
    json_array_foreach(list, i, item)
    {
        wr_status st = read_normalizer(normal, item, depth + 1, path, err);
        if (st) return st;
    }
    return WR_OK;
}

static wr_text text_of(const json_t *string)
{
    return (wr_text){json_string_value(string), json_string_length(string)};
}

static wr_status read_normalizer(wr_normal *normal, const json_t *n, int depth, const char *path, wr_err *err)
{
    wr_text none = {0};
    wr_status st;
    if (!n || json_is_null(n)) return WR_OK;
    if (wr_component_is(n, "Sequence"))
        return read_normalizers(normal, json_object_get(n, "normalizers"), depth, path, err);
    if (wr_component_is(n, "NFC")) {
        st = wr_normal_add(normal, WR_NORMAL_NFC, none, none);
    } else if (wr_component_is(n, "Prepend")) {
        wr_text to = text_of(json_object_get(n, "prepend"));
        if (!to.bytes) return wr_fail(err, WR_EFORMAT, "%s: \"normalizer.prepend\" must be a string", path);
        st = wr_normal_add(normal, WR_NORMAL_PREPEND, none, to);
    } else if (wr_component_is(n, "Replace")) {
        wr_text from = text_of(json_object_get(json_object_get(n, "pattern"), "String"));
        wr_text to = text_of(json_object_get(n, "content"));
        if (!from.n || !to.bytes)
            return wr_fail(err, WR_EUNSUPPORTED,
                           "%s: a Replace normalizer must have \"pattern\": {\"String\": ...} and \"content\"", path);
        st = wr_normal_add(normal, WR_NORMAL_REPLACE, from, to);
    } else {
        return wr_fail(err, WR_EUNSUPPORTED,
                       "%s: the normalizer is %s, with BPE supported are NFC, Prepend, Replace and Sequence", path,
                       wr_component_type(n));
    }
    return st ? wr_fail(err, st, "%s: out of memory", path) : WR_OK;
}

/* ---- pre-tokenizers */

#define MAX_STAGES 16 /* the longest in use has four */

/* GPT-2's, which ByteLevel brings along. */
static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static wr_status no_pattern(wr_status st, const wr_err *why, const char *path, wr_err *err)
{
    return wr_fail(err, st, "%s: pre_tokenizer: %s", path, why->text);
}

wr_status wr_bpe_add_stage(wr_bpe *bpe, wr_stage stage, wr_text pattern, const char *path, wr_err *err)
{
    wr_err why;
    if (bpe->bytes) return wr_fail(err, WR_EUNSUPPORTED, "%s: a pre-tokenizer behind ByteLevel", path);
    if (bpe->nstages == MAX_STAGES)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: more than %d pre-tokenizers", path, MAX_STAGES);
    wr_stage *bigger = realloc(bpe->stage, (bpe->nstages + 1) * sizeof *bigger);
    if (!bigger) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    bpe->stage = bigger;
    wr_status st = pattern.bytes ? wr_pattern_compile(&stage.pattern, pattern, &why) : WR_OK;
    if (st) return no_pattern(st, &why, path, err);
    bpe->stage[bpe->nstages++] = stage;
    bpe->bytes = stage.kind == WR_STAGE_BYTES;
    return WR_OK;
}

wr_status wr_bpe_add_bytes(wr_bpe *bpe, bool prefix_space, bool by_gpt2, const char *path, wr_err *err)
{
    wr_text pattern = {by_gpt2 ? gpt2 : NULL, by_gpt2 ? sizeof gpt2 - 1 : 0};
    wr_stage stage = {.kind = WR_STAGE_BYTES, .behavior = WR_SPLIT_ISOLATED, .prefix_space = prefix_space};
    return wr_bpe_add_stage(bpe, stage, pattern, path, err);
}

static bool behavior_of(const char *name, wr_behavior *behavior)
{
    static const char *const known[] = {"Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    for (int i = 0; name && i < 5; i++)
        if (!strcmp(name, known[i])) return *behavior = (wr_behavior)i, true;
    return false;
}

static wr_status read_split(wr_bpe *bpe, const json_t *p, const char *path, wr_err *err)
{
    wr_stage stage = {.kind = WR_STAGE_SPLIT};
    const json_t *pattern = json_object_get(p, "pattern");
    wr_text regex = text_of(json_object_get(pattern, "Regex")), string = text_of(json_object_get(pattern, "String"));
    wr_err why;
    if (!behavior_of(json_string_value(json_object_get(p, "behavior")), &stage.behavior))
        return wr_fail(err, WR_EFORMAT, "%s: a Split with an unknown \"behavior\"", path);
    wr_status st = wr_option_bool(p, "invert", &stage.invert, path, err);
    if (st) return st;
    if (regex.bytes) return wr_bpe_add_stage(bpe, stage, regex, path, err);
    if (!string.n) return wr_fail(err, WR_EFORMAT, "%s: a Split without \"pattern\"", path);
    st = wr_pattern_literal(&stage.pattern, string, &why);
    if (st) return no_pattern(st, &why, path, err);
    st = wr_bpe_add_stage(bpe, stage, (wr_text){0}, path, err);
    if (st) wr_pattern_free(stage.pattern);
    return st;
}

static wr_status read_bytes(wr_bpe *bpe, const json_t *p, const char *path, wr_err *err)
{
    bool prefix_space = true, by_gpt2 = true; /* what `tokenizers` takes for a member that is missing */
    wr_status st = wr_option_bool(p, "add_prefix_space", &prefix_space, path, err);
    if (!st) st = wr_option_bool(p, "use_regex", &by_gpt2, path, err);
    return st ? st : wr_bpe_add_bytes(bpe, prefix_space, by_gpt2, path, err);
}

static wr_status read_digits(wr_bpe *bpe, const json_t *p, const char *path, wr_err *err)
{
    bool each = false;
    wr_status st = wr_option_bool(p, "individual_digits", &each, path, err);
    wr_stage stage = {.kind = WR_STAGE_SPLIT, .behavior = each ? WR_SPLIT_ISOLATED : WR_SPLIT_CONTIGUOUS};
    return st ? st : wr_bpe_add_stage(bpe, stage, (wr_text){"\\p{N}", 5}, path, err);
}

/* Older files have "add_prefix_space" in the place of "prepend_scheme". */
static bool scheme_of(const json_t *p, wr_prepend *scheme)
{
    static const char *const known[] = {"always", "first", "never"};
    const char *name = json_string_value(json_object_get(p, "prepend_scheme"));
    *scheme = json_is_false(json_object_get(p, "add_prefix_space")) ? WR_PREPEND_NEVER : WR_PREPEND_ALWAYS;
    for (int i = 0; name && i < 3; i++)
        if (!strcmp(name, known[i])) return *scheme = (wr_prepend)i, true;
    return !name;
}

static wr_status read_metaspace(wr_bpe *bpe, const json_t *p, const char *path, wr_err *err)
{
    wr_stage stage = {.kind = WR_STAGE_METASPACE, .behavior = WR_SPLIT_NEXT};
    wr_text mark = text_of(json_object_get(p, "replacement"));
    bool splits = true;
    size_t len = 0;
    wr_err why;
    if (mark.n) wr_utf8_decode(mark.bytes, mark.n, &len);
    if (!mark.n || mark.n != len || !mark.bytes[0])
        return wr_fail(err, WR_EFORMAT, "%s: \"replacement\" of Metaspace must be one character", path);
    memcpy(stage.mark, mark.bytes, mark.n);
    if (!scheme_of(p, &stage.scheme))
        return wr_fail(err, WR_EFORMAT, "%s: \"prepend_scheme\" of Metaspace must be always, first or never", path);
    wr_status st = wr_option_bool(p, "split", &splits, path, err);
    if (st) return st;
    st = splits ? wr_pattern_literal(&stage.pattern, mark, &why) : WR_OK;
    if (st) return no_pattern(st, &why, path, err);
    st = wr_bpe_add_stage(bpe, stage, (wr_text){0}, path, err);
    if (st) wr_pattern_free(stage.pattern);
    return st;
}

static wr_status read_pre(wr_bpe *bpe, const json_t *p, int depth, const char *path, wr_err *err)
{
    static const struct {
        const char *type;
        wr_status (*read)(wr_bpe *, const json_t *, const char *, wr_err *);
    } known[] = {
        {"Split", read_split}, {"ByteLevel", read_bytes}, {"Digits", read_digits}, {"Metaspace", read_metaspace}};
    const json_t *list = json_object_get(p, "pretokenizers");
    size_t i;
    json_t *item;
    if (!p || json_is_null(p)) return WR_OK;
    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (wr_component_is(p, known[i].type)) return known[i].read(bpe, p, path, err);
    if (!wr_component_is(p, "Sequence") || depth > 3)
        return wr_fail(
            err, WR_EUNSUPPORTED,
            "%s: the pre-tokenizer is %s, with BPE supported are Split, ByteLevel, Digits, Metaspace and Sequence",
            path, wr_component_type(p));
    if (!json_is_array(list)) return wr_fail(err, WR_EFORMAT, "%s: \"pretokenizers\" must be an array", path);
    json_array_foreach(list, i, item)
    {
        wr_status st = read_pre(bpe, item, depth + 1, path, err);
        if (st) return st;
    }
    return WR_OK;
}

wr_status wr_bpe_load(wr_tokenizer *tok, const json_t *root, const char *path, wr_err *err)
{
    tok->bpe = calloc(1, sizeof *tok->bpe);
    if (!tok->bpe) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    wr_status st = read_model(tok, json_object_get(root, "model"), path, err);
    if (!st) st = read_normalizer(&tok->bpe->normal, json_object_get(root, "normalizer"), 0, path, err);
    return st ? st : read_pre(tok->bpe, json_object_get(root, "pre_tokenizer"), 0, path, err);
}
