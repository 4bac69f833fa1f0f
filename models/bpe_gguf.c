/* BPE from the metadata of a GGUF file. What tokenizer.json states, the file leaves to a name ("tokenizer.ggml.pre"):
 * the normaliser, the pre-tokenizers and a word's way past the merges are those of the files that bear the name. */
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/bpe.h"
#include "models/gguf.h"
#include "models/tokenizer_load.h"

#define NAMED "tokenizer.ggml" /* stands for the file in sentences: the caller names its path */

/* ---- what a name stands for */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"

typedef struct known {
    const char *pre;
    const char *split; /* pattern of a Split that isolates, before ByteLevel */
    bool by_gpt2;      /* ByteLevel brings its own pattern                   */
    bool nfc, ignore_merges, bos;
} known;

static const known kinds[] = {
    {"gpt-2", NULL, true, false, false, false},
    {"llama-bpe", CONTRACTIONS BEFORE "\\p{L}+|\\p{N}{1,3}" REST, false, false, true, true},
    {"qwen2", CONTRACTIONS BEFORE "\\p{L}+|\\p{N}" REST, false, true, false, false},
    {"smollm", "\\p{N}", true, false, false, false},
    {"tekken",
     BEFORE UPPER "*" LOWER "+|" BEFORE UPPER "+" LOWER
                  "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, false, true, true},
};

/* Other names of the same. */
static const char *canonical(wr_text pre)
{
    static const char *const alias[][2] = {{"llama3", "llama-bpe"}, {"llama-v3", "llama-bpe"}, {"phi-2", "gpt-2"}};
    for (size_t i = 0; i < sizeof alias / sizeof *alias; i++)
        if (strlen(alias[i][0]) == pre.n && !memcmp(alias[i][0], pre.bytes, pre.n)) return alias[i][1];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].pre) == pre.n && !memcmp(kinds[i].pre, pre.bytes, pre.n)) return kinds[i].pre;
    return NULL;
}

static wr_status kind_of(const wr_gguf *g, const known **kind, wr_err *err)
{
    wr_text pre;
    if (!wr_gguf_text(g, NAMED ".pre", &pre))
        return wr_fail(err, WR_EUNSUPPORTED, NAMED ".pre is missing: the file does not say how text is cut into words");
    const char *name = canonical(pre);
    if (!name)
        return wr_fail(err, WR_EUNSUPPORTED,
                       NAMED ".pre \"%.*s\" is not supported; supported are gpt-2, llama-bpe, qwen2, smollm and tekken",
                       pre.n < 40 ? (int)pre.n : 40, pre.bytes);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].pre, name)) *kind = &kinds[i];
    return WR_OK;
}

/* ---- tokens */

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* tokenizer.ggml.token_type */

typedef struct list {
    const wr_text *token;
    const double *type, *score; /* type may be NULL: all normal */
    size_t n;
} list;

static int type_of(const list *l, size_t i)
{
    double type = l->type ? l->type[i] : NORMAL;
    return type >= NORMAL && type <= BYTE ? (int)type : UNUSED;
}

static wr_status read_list(const wr_gguf *g, bool scores, list *l, wr_err *err)
{
    size_t n;
    *l = (list){0};
    if (!wr_gguf_texts(g, NAMED ".tokens", &l->token, &l->n))
        return wr_fail(err, WR_EFORMAT, NAMED ".tokens must be an array of strings");
    if (l->n >= WR_VOCAB_MAX_ID) return wr_fail(err, WR_EUNSUPPORTED, NAMED ".tokens: more than %u", WR_VOCAB_MAX_ID);
    if (wr_gguf_reals(g, NAMED ".token_type", &l->type, &n) && n != l->n)
        return wr_fail(err, WR_EFORMAT, NAMED ".token_type has %zu entries, there are %zu tokens", n, l->n);
    if (scores && (!wr_gguf_reals(g, NAMED ".scores", &l->score, &n) || n != l->n))
        return wr_fail(err, WR_EFORMAT, NAMED ".scores must have one number for each of the %zu tokens", l->n);
    for (size_t i = 0; i < l->n; i++)
        if (memchr(l->token[i].bytes, 0, l->token[i].n) || !wr_utf8_valid(l->token[i].bytes, l->token[i].n))
            return wr_fail(err, WR_EFORMAT, NAMED ".tokens: token %zu is no text in UTF-8 without NUL", i);
    return WR_OK;
}

/* Of two ids with one spelling the lower one is found: the higher goes in first. Unused ids stand for nothing. */
static wr_status add_tokens(wr_tokenizer *tok, const list *l, wr_err *err)
{
    for (size_t i = l->n; i-- > 0;) {
        if (!l->token[i].n || type_of(l, i) == UNUSED) continue;
        wr_status st = wr_vocab_add(&tok->vocab, l->token[i].bytes, l->token[i].n, (uint32_t)i);
        if (st) return wr_fail(err, st, st == WR_ENOMEM ? "out of memory" : NAMED ".tokens: token %zu is too long", i);
    }
    return wr_vocab_seal(&tok->vocab, NULL) ? wr_fail(err, WR_ENOMEM, "out of memory") : WR_OK;
}

/* Control tokens and the user's are found in the text as it is given. */
static wr_status add_added(wr_tokenizer *tok, const list *l, wr_err *err)
{
    for (size_t i = 0; i < l->n; i++) {
        int type = type_of(l, i);
        if ((type != CONTROL && type != USER_DEFINED && type != UNKNOWN) || !l->token[i].n) continue;
        char *content = malloc(l->token[i].n + 1);
        if (!content) return wr_fail(err, WR_ENOMEM, "out of memory");
        memcpy(content, l->token[i].bytes, l->token[i].n);
        content[l->token[i].n] = 0;
        wr_status st = wr_tokenizer_add(tok, content, (wr_added_flags){.special = type != USER_DEFINED}, NAMED, err);
        free(content);
        if (st) return st;
    }
    return WR_OK;
}

/* ---- what stands before a text */

/* The first token where the file says so, or by default; files that end a text with one are made for other things. */
static wr_status first_token(wr_tokenizer *tok, const wr_gguf *g, bool by_default, wr_err *err)
{
    uint64_t add = by_default, id = 0, end = 0;
    wr_gguf_unsigned(g, NAMED ".add_bos_token", &add);
    if (wr_gguf_unsigned(g, NAMED ".add_eos_token", &end) && end)
        return wr_fail(err, WR_EUNSUPPORTED, NAMED ".add_eos_token is true");
    tok->single = tok->pair = (wr_template){.before = -1, .between = -1, .after = -1};
    if (!add) return WR_OK;
    if (!wr_gguf_unsigned(g, NAMED ".bos_token_id", &id) || id >= tok->vocab.ids)
        return wr_fail(err, WR_EFORMAT, NAMED ".bos_token_id must be the id of a token");
    tok->single.before = tok->pair.before = tok->pair.between = (int64_t)id;
    tok->pair.b_type = tok->pair.between_type = 1;
    return WR_OK;
}

/* ---- byte-level BPE */

static wr_status no_memory(wr_status st, wr_err *err)
{
    return st ? wr_fail(err, st, "out of memory") : WR_OK;
}

static wr_status read_merges(wr_tokenizer *tok, const wr_gguf *g, wr_err *err)
{
    const wr_text *merge;
    size_t n;
    if (!wr_gguf_texts(g, NAMED ".merges", &merge, &n))
        return wr_fail(err, WR_EFORMAT, NAMED ".merges must be an array of strings");
    if (n >= WR_VOCAB_MAX_ID) return wr_fail(err, WR_EUNSUPPORTED, NAMED ".merges: more than %u", WR_VOCAB_MAX_ID);
    wr_status st = no_memory(wr_bpe_reserve(tok->bpe, n), err);
    for (size_t i = 0; i < n && !st; i++) {
        const char *space = memchr(merge[i].bytes, ' ', merge[i].n);
        size_t left = space ? (size_t)(space - merge[i].bytes) : 0, rest = space ? merge[i].n - left - 1 : 0;
        if (!space || memchr(space + 1, ' ', rest))
            return wr_fail(err, WR_EFORMAT, NAMED ".merges: merge %zu must be \"a b\"", i);
        st = wr_bpe_merge_of(tok, (wr_text){merge[i].bytes, left}, (wr_text){space + 1, rest}, i, NAMED, err);
    }
    return st;
}

static wr_status read_bytes(wr_tokenizer *tok, const wr_gguf *g, wr_err *err)
{
    const known *kind = NULL;
    list l;
    wr_bpe *bpe = tok->bpe;
    wr_text none = {0};
    bpe->unk = -1;
    wr_status st = kind_of(g, &kind, err);
    if (!st) st = read_list(g, false, &l, err);
    if (st) return st;
    bpe->ignore_merges = kind->ignore_merges;
    if (kind->nfc) st = no_memory(wr_normal_add(&bpe->normal, WR_NORMAL_NFC, none, none), err);
    wr_text split = {kind->split, kind->split ? strlen(kind->split) : 0};
    wr_stage stage = {.kind = WR_STAGE_SPLIT, .behavior = WR_SPLIT_ISOLATED};
    if (!st && split.n) st = wr_bpe_add_stage(bpe, stage, split, NAMED, err);
    if (!st) st = wr_bpe_add_bytes(bpe, false, kind->by_gpt2, NAMED, err);
    if (!st) st = add_tokens(tok, &l, err);
    if (!st) st = read_merges(tok, g, err);
    if (!st) st = add_added(tok, &l, err);
    return st ? st : first_token(tok, g, kind->bos, err);
}

/* ---- SentencePiece's: merges follow from the scores */

typedef struct way {
    double score; /* of the piece that is made */
    size_t left_chars, right_chars;
    uint32_t piece, left, right;
} way;

/* The best score first, then the longest left half, then the longest right half; then as they are listed. */
static int by_score(const void *a, const void *b)
{
    const way *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
    if (x->piece != y->piece) return x->piece < y->piece ? -1 : 1;
    return x->left != y->left ? (x->left < y->left ? -1 : 1) : (x->right > y->right) - (x->right < y->right);
}

typedef struct ways {
    way *way; /* [n] */
    size_t n, cap;
} ways;

static bool is_piece(const list *l, int64_t id)
{
    return id >= 0 && type_of(l, (size_t)id) == NORMAL;
}

/* Every way to put piece i together from two others. */
static wr_status ways_of(const wr_tokenizer *tok, const list *l, size_t i, ways *w)
{
    wr_text piece = l->token[i];
    size_t chars = 0, at = 0;
    for (size_t j = 0; j < piece.n; j++) chars += ((unsigned char)piece.bytes[j] & 0xC0) != 0x80;
    if (type_of(l, i) != NORMAL || chars < 2) return WR_OK;
    for (size_t done = 1; done < chars; done++) {
        size_t len;
        wr_utf8_decode(piece.bytes + at, piece.n - at, &len);
        at += len;
        int64_t left = wr_vocab_id(&tok->vocab, piece.bytes, at);
        int64_t right = wr_vocab_id(&tok->vocab, piece.bytes + at, piece.n - at);
        if (!is_piece(l, left) || !is_piece(l, right)) continue;
        if (w->n == w->cap) {
            way *bigger = realloc(w->way, (2 * w->cap + 1024) * sizeof *bigger);
            if (!bigger) return WR_ENOMEM;
            w->way = bigger;
            w->cap = 2 * w->cap + 1024;
        }
        w->way[w->n++] = (way){l->score[i], done, chars - done, (uint32_t)i, (uint32_t)left, (uint32_t)right};
    }
    return WR_OK;
}

#define MAX_PIECE 1024 /* bytes; SentencePiece makes none of more than 16 characters unless it is told to */

static wr_status merges_by_score(wr_tokenizer *tok, const list *l, wr_err *err)
{
    ways w = {0};
    wr_status st = WR_OK;
    for (size_t i = 0; i < l->n && !st; i++) {
        if (l->score[i] != l->score[i] || l->token[i].n > MAX_PIECE)
            st =
                wr_fail(err, WR_EFORMAT, NAMED ".scores: token %zu has none, or is longer than %d bytes", i, MAX_PIECE);
        else
            st = no_memory(ways_of(tok, l, i, &w), err);
    }
    if (!st) st = no_memory(wr_bpe_reserve(tok->bpe, w.n), err);
    if (!st && w.n) qsort(w.way, w.n, sizeof *w.way, by_score);
    for (size_t i = 0; i < w.n && !st; i++) {
        int64_t id = wr_vocab_id(&tok->vocab, l->token[w.way[i].piece].bytes, l->token[w.way[i].piece].n);
        wr_bpe_add_merge(tok->bpe, w.way[i].left, w.way[i].right, (uint32_t)i, (uint32_t)id);
    }
    free(w.way);
    return st;
}

static wr_status read_pieces(wr_tokenizer *tok, const wr_gguf *g, wr_err *err)
{
    static const char mark[] = "\xE2\x96\x81";
    wr_bpe *bpe = tok->bpe;
    wr_text to = {mark, sizeof mark - 1};
    uint64_t unk = 0, prefix = 1, squeeze = 0; /* what the file leaves out is so in Llama's */
    list l;
    if (wr_gguf_unsigned(g, NAMED ".remove_extra_whitespaces", &squeeze) && squeeze)
        return wr_fail(err, WR_EUNSUPPORTED, NAMED ".remove_extra_whitespaces is true");
    wr_gguf_unsigned(g, NAMED ".add_space_prefix", &prefix);
    wr_gguf_unsigned(g, NAMED ".unknown_token_id", &unk);
    wr_status st = read_list(g, true, &l, err);
    if (st) return st;
    bpe->byte_fallback = bpe->fuse_unk = true;
    bpe->unk = unk < l.n && l.token[unk].n ? (int64_t)unk : -1;
    if (prefix) st = no_memory(wr_normal_add(&bpe->normal, WR_NORMAL_PREPEND, (wr_text){0}, to), err);
    if (!st) st = no_memory(wr_normal_add(&bpe->normal, WR_NORMAL_REPLACE, (wr_text){" ", 1}, to), err);
    if (!st) st = add_tokens(tok, &l, err);
    if (!st) st = merges_by_score(tok, &l, err);
    if (!st) st = add_added(tok, &l, err);
    return st ? st : first_token(tok, g, true, err);
}

/* ---- */

static bool is(wr_text text, const char *s)
{
    return text.n == strlen(s) && !memcmp(text.bytes, s, text.n);
}

wr_status wr_tokenizer_open_gguf(wr_tokenizer **out, const wr_gguf *gguf, wr_err *err)
{
    wr_text model;
    *out = NULL;
    if (!wr_gguf_text(gguf, NAMED ".model", &model))
        return wr_fail(err, WR_ENOTFOUND, "the GGUF file has no tokenizer");
    if (!is(model, "gpt2") && !is(model, "llama"))
        return wr_fail(err, WR_EUNSUPPORTED, NAMED ".model \"%.*s\" is not supported; supported are gpt2 and llama",
                       model.n < 40 ? (int)model.n : 40, model.bytes);
    wr_tokenizer *tok = calloc(1, sizeof *tok);
    if (tok) tok->bpe = calloc(1, sizeof *tok->bpe);
    wr_status st = tok && tok->bpe ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    if (!st) st = is(model, "gpt2") ? read_bytes(tok, gguf, err) : read_pieces(tok, gguf, err);
    if (!st) st = wr_tokenizer_finish(tok, NAMED, err);
    if (st) return wr_tokenizer_close(tok), st;
    *out = tok;
    return WR_OK;
}
