/* The prompt of one window: texts, template, repair, tokens, and what to cut when there are too many of them. */
#include "ranker/listwise.h"

#include <stdio.h>
#include <string.h>

#include "data/utf8.h"
#include "models/repair.h"
#include "models/unicode.h"
#include "ranker/prompt.h"

static const char system_text[] =
    "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the query";

/* What the two wordings differ in; between "{num} passages" and so on they agree. */
static const struct wording {
    const char *article, *blank, *answer;
} wordings[] = {
    [WR_PROMPT_TEMPLATE] = {"an", "", "Answer concisely and directly and only respond"},
    [WR_PROMPT_PAPER] = {"a", "\n", "Only respond"},
};

typedef struct build {
    const wr_tokenizer *tok;
    const wr_chat *chat;
    wr_prompt kind;
    size_t n, window;
    wr_arena *arena;
    wr_err *err;
    wr_text query;                  /* as it goes into the template  */
    wr_text passage[WR_WINDOW_MAX]; /* repaired, words not yet cut   */
    uint32_t longer;                /* bit i: passage i is a beginning only */
    wr_text system;                 /* special strings not guarded   */
    bool whole;                     /* the finished string is repaired */
} build;

/* ---- texts */

/* Python's white space: what str.split() splits at. */
static bool is_space(uint32_t cp)
{
    return wr_unicode_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

/* The first `words` words, joined by single spaces. out has room for text.n bytes. *cut: there are more. */
static size_t first_words(wr_text text, size_t words, char *out, bool *cut)
{
    size_t n = 0, count = 0;
    bool inside = false;
    *cut = false;
    for (size_t at = 0, len; at < text.n && !*cut; at += len) {
        bool space = is_space(wr_utf8_decode(text.bytes + at, text.n - at, &len));
        if (!space && !inside) {
            if ((*cut = count++ == words)) break;
            if (n) out[n++] = ' ';
        }
        inside = !space;
        if (space) continue;
        memcpy(out + n, text.bytes + at, len);
        n += len;
    }
    return n;
}

static size_t count_words(wr_text text)
{
    size_t count = 0;
    bool inside = false;
    for (size_t at = 0, len; at < text.n; at += len) {
        bool space = is_space(wr_utf8_decode(text.bytes + at, text.n - at, &len));
        count += !space && !inside;
        inside = !space;
    }
    return count;
}

/* [123] becomes (123), in place: digits of any script, as Python's \d has them. */
static void round_numbers(char *text, size_t n)
{
    size_t open = SIZE_MAX;
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t cp = wr_utf8_decode(text + at, n - at, &len);
        if (cp == '[') {
            open = at;
        } else if (cp == ']' && open != SIZE_MAX && at > open + 1) {
            text[open] = '(', text[at] = ')';
            open = SIZE_MAX;
        } else if (!wr_unicode_is_digit(cp)) {
            open = SIZE_MAX;
        }
    }
}

/* Valid UTF-8 in memory of our own. */
static wr_status own(wr_text text, wr_arena *arena, char **bytes, size_t *n)
{
    if (text.n > SIZE_MAX / 3) return WR_ENOMEM;
    *bytes = wr_arena_alloc(arena, 3 * text.n);
    if (!*bytes) return WR_ENOMEM;
    *n = wr_utf8_repair(text.bytes, text.n, *bytes);
    return WR_OK;
}

static wr_status query_text(build *b, wr_text query, bool repaired)
{
    char *bytes;
    size_t n;
    wr_status st = repaired ? wr_repair(query, b->arena, &query) : WR_OK;
    if (!st) st = own(query, b->arena, &bytes, &n);
    if (st) return st;
    round_numbers(bytes, n);
    return wr_tokenizer_guard(b->tok, (wr_text){bytes, n}, b->arena, &b->query);
}

static wr_text stripped(wr_text text)
{
    size_t len;
    while (text.n && is_space(wr_utf8_decode(text.bytes, text.n, &len))) text.bytes += len, text.n -= len;
    while (text.n) {
        size_t at = text.n - 1;
        while (at && ((unsigned char)text.bytes[at] & 0xc0) == 0x80) at--;
        if (!is_space(wr_utf8_decode(text.bytes + at, text.n - at, &len))) break;
        text.n = at;
    }
    return text;
}

/* Valid UTF-8, stripped and repaired, into out[room]; what the repair takes besides is given back. *cut: it had no room. */
static wr_status mended(wr_text joined, wr_arena *arena, char *out, size_t room, size_t *n, bool *cut)
{
    char *bytes;
    size_t size, mark = wr_arena_mark(arena);
    wr_text text;
    wr_status st = own(joined, arena, &bytes, &size);
    if (!st) st = wr_repair(stripped((wr_text){bytes, size}), arena, &text);
    if (st) return st;
    *cut = text.n > room;
    *n = *cut ? room : text.n;
    while (*cut && *n && ((unsigned char)text.bytes[*n] & 0xc0) == 0x80) --*n;
    if (*n) memcpy(out, text.bytes, *n);
    wr_arena_rollback(arena, mark);
    return WR_OK;
}

/* "Title: {title} Content: {text}", stripped and repaired. *cut: a beginning of it. */
static wr_status passage_text(build *b, const wr_passage *passage, wr_text *out, bool *cut)
{
    static const char title[] = "Title: ", content[] = " Content: ";
    wr_text head = wr_prompt_head(passage->title), text = wr_prompt_head(passage->text);
    size_t most = head.n + text.n + sizeof title + sizeof content, n = 0;
    /* A repaired text is seldom longer; a sign of which NFC makes three has more than a byte. */
    char *out_bytes = wr_arena_alloc(b->arena, 4 * most);
    size_t mark = wr_arena_mark(b->arena);
    char *joined = wr_arena_alloc(b->arena, most);
    if (!out_bytes || !joined) return WR_ENOMEM;
    if (head.n) {
        memcpy(joined, title, sizeof title - 1), n = sizeof title - 1;
        memcpy(joined + n, head.bytes, head.n), n += head.n;
        memcpy(joined + n, content, sizeof content - 1), n += sizeof content - 1;
    }
    if (text.n) memcpy(joined + n, text.bytes, text.n), n += text.n;
    out->bytes = out_bytes;
    wr_status st = mended((wr_text){joined, n}, b->arena, out_bytes, 4 * most, &out->n, cut);
    if (st) return st;
    *cut |= head.n < passage->title.n || text.n < passage->text.n;
    wr_arena_rollback(b->arena, mark);
    return WR_OK;
}

/* A passage as it goes into the prompt: words, tokens (SIZE_MAX: all), brackets, no special tokens. */
static wr_status cut_passage(const build *b, wr_text text, size_t words, size_t tokens, wr_text *out, bool *cut)
{
    char *bytes = wr_arena_alloc(b->arena, text.n + 1);
    if (!bytes) return WR_ENOMEM;
    size_t n = first_words(text, words, bytes, cut);
    round_numbers(bytes, n);
    wr_status st = wr_tokenizer_guard(b->tok, (wr_text){bytes, n}, b->arena, out);
    size_t whole = out->n;
    if (!st && tokens != SIZE_MAX) st = wr_prompt_cut(b->tok, *out, tokens, b->arena, out);
    *cut |= out->n < whole;
    return st;
}

/* ---- the string */

typedef struct page {
    char *at;
    size_t n;
} page;

static void put(page *to, const char *s, size_t n)
{
    if (n) memcpy(to->at + to->n, s, n);
    to->n += n;
}

static void word(page *to, const char *s)
{
    put(to, s, strlen(s));
}

/* Room for all fixed words of a prompt: the longest wording has 600 bytes, a passage's frame 5. */
#define FRAME 2048

static wr_status user_text(const build *b, wr_text query, const wr_text *passage, wr_text *out)
{
    const struct wording *w = &wordings[b->kind];
    size_t size = FRAME + 2 * query.n;
    char num[16];
    for (size_t i = 0; i < b->n; i++) size += passage[i].n + 16;
    page to = {wr_arena_alloc(b->arena, size), 0};
    if (!to.at) return WR_ENOMEM;
    snprintf(num, sizeof num, "%zu", b->n);
    if (b->chat && !wr_chat_has_system(b->chat)) word(&to, system_text), word(&to, "\n ");
    word(&to, "I will provide you with "), word(&to, num), word(&to, " passages, each indicated by "),
        word(&to, w->article);
    word(&to, " alphabetical identifier []. Rank the passages based on their relevance to the search query: ");
    put(&to, query.bytes, query.n), word(&to, ".\n"), word(&to, w->blank);
    for (size_t i = 0; i < b->n; i++) {
        put(&to, (char[]){'[', (char)('A' + i), ']', ' '}, 4);
        put(&to, passage[i].bytes, passage[i].n), word(&to, "\n");
    }
    word(&to, "Search Query: "), put(&to, query.bytes, query.n);
    word(&to, ".\nRank the "), word(&to, num);
    word(&to,
         " passages above based on their relevance to the search query. All the passages should be included and listed "
         "using identifiers, in descending order of relevance. The output format should be [] > [], e.g., [B] > [A], ");
    word(&to, w->answer), word(&to, " with the ranking results, do not say any word or explain.");
    *out = (wr_text){to.at, to.n};
    return WR_OK;
}

static wr_status wrapped(const build *b, wr_text user, wr_text *out)
{
    wr_message message[2] = {{"system", {system_text, sizeof system_text - 1}}, {"user", user}};
    bool has_system = b->chat && wr_chat_has_system(b->chat);
    if (b->chat) return wr_chat_render(b->chat, message + !has_system, has_system ? 2 : 1, true, b->arena, out, b->err);
    page to = {wr_arena_alloc(b->arena, user.n + FRAME), 0};
    if (!to.at) return wr_fail(b->err, WR_ENOMEM, "prompt: the arena is exhausted");
    word(&to, system_text), word(&to, "\n"), put(&to, user.bytes, user.n), word(&to, "\n");
    *out = (wr_text){to.at, to.n};
    return WR_OK;
}

/* Text and ids with BOS and the forced "[". */
static wr_status assembled(const build *b, wr_text query, const wr_text *passage, wr_text *text, wr_tokens *ids)
{
    wr_text user, string;
    wr_status st = user_text(b, query, passage, &user);
    if (st) return wr_fail(b->err, st, "prompt: the arena is exhausted");
    st = wrapped(b, user, &string);
    if (!st && b->whole && (st = wr_repair(string, b->arena, &string)))
        wr_fail(b->err, st, "prompt: the arena is exhausted");
    if (st) return st;
    char *at = wr_arena_alloc(b->arena, string.n + 1);
    if (!at) return wr_fail(b->err, WR_ENOMEM, "prompt: the arena is exhausted");
    memcpy(at, string.bytes, string.n);
    at[string.n] = '[';
    if (wr_prompt_encode(b->tok, (wr_text){at, string.n + 1}, b->arena, text, ids))
        return wr_fail(b->err, WR_ENOMEM, "prompt: the arena is exhausted");
    return WR_OK;
}

/* ---- fitting */

typedef struct fit {
    size_t most;     /* tokens that a prompt may have, the forced "[" apart */
    wr_tokens bones; /* the same prompt with harmless texts                 */
    size_t longest;  /* words of the longest passage                        */
} fit;

static wr_status measure(const build *b, size_t context, fit *f)
{
    char list[8 * WR_WINDOW_MAX];
    size_t n = 0;
    wr_tokens answer;
    wr_text text, x[WR_WINDOW_MAX];
    for (size_t i = 0; i < b->window; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s[%c]", i ? " > " : "", (int)('A' + i));
    if (wr_tokenizer_encode(b->tok, list, n, b->arena, SIZE_MAX, &answer))
        return wr_fail(b->err, WR_ENOMEM, "prompt: the arena is exhausted");
    f->most = context > answer.n ? context - answer.n : 0;
    f->longest = 0;
    for (size_t i = 0; i < b->n; i++) {
        x[i] = (wr_text){"x", 1};
        size_t words = count_words(b->passage[i]);
        if (words > f->longest) f->longest = words;
    }
    return assembled(b, (wr_text){"x", 1}, x, &text, &f->bones);
}

static wr_status attempt(const build *b, size_t words, size_t tokens, wr_listwise_prompt *out)
{
    wr_text passage[WR_WINDOW_MAX];
    bool cut;
    out->cut = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (cut_passage(b, b->passage[i], words, tokens, &passage[i], &cut))
            return wr_fail(b->err, WR_ENOMEM, "prompt: the arena is exhausted");
        if (cut || (b->longer >> i & 1)) out->cut |= (uint32_t)1 << i;
    }
    out->words = words;
    out->tokens = tokens == SIZE_MAX ? 0 : tokens;
    return assembled(b, b->query, passage, &out->text, &out->ids);
}

/* Every passage gets an equal share of what an empty prompt leaves; smaller until it fits. */
static wr_status share(const build *b, const fit *f, size_t mark, wr_listwise_prompt *out)
{
    wr_status st = attempt(b, 1, 0, out);
    if (st) return st;
    size_t bare = out->ids.n - 1;
    if (bare > f->most)
        return wr_fail(b->err, WR_EARG,
                       "prompt: %zu tokens without any passage, at most %zu fit: the query is too long", bare, f->most);
    size_t tokens = (f->most - bare) / b->n;
    for (;; tokens -= tokens / 8 + 1) {
        wr_arena_rollback(b->arena, mark);
        if ((st = attempt(b, 1, tokens, out)) || out->ids.n - 1 <= f->most || !tokens) return st;
    }
}

size_t wr_listwise_words(wr_prompt kind, size_t window)
{
    return kind == WR_PROMPT_PAPER ? (size_t)300 * 20 / window : 300;
}

static wr_status fitted(const build *b, const fit *f, wr_listwise_prompt *out)
{
    size_t mark = wr_arena_mark(b->arena), words = wr_listwise_words(b->kind, b->window);
    for (size_t over = 0;;) {
        wr_arena_rollback(b->arena, mark);
        wr_status st = attempt(b, words, SIZE_MAX, out);
        if (st) return st;
        if (out->ids.n - 1 <= f->most) return WR_OK;
        over = out->ids.n - 1 - f->most;
        size_t off = over / (4 * b->window) ? over / (4 * b->window) : 1;
        while (words > off && words - off >= f->longest)
            words -= off; /* nothing is cut yet: the next would be the same */
        if (words <= 1) break;
        words = words > off ? words - off : 1;
    }
    wr_arena_rollback(b->arena, mark);
    return share(b, f, mark, out);
}

wr_status wr_listwise_prompt_make(const wr_tokenizer *tok, const wr_chat *chat, wr_prompt kind, wr_text query,
                                  const wr_passage *passage, size_t n, size_t window, size_t context, wr_arena *arena,
                                  wr_listwise_prompt *out, wr_err *err)
{
    build b = {.tok = tok, .chat = chat, .kind = kind, .n = n, .window = window, .arena = arena, .err = err};
    fit f;
    wr_status st = WR_OK;
    *out = (wr_listwise_prompt){.text = {"", 0}};
    if (!n || n > window || window > WR_WINDOW_MAX)
        return wr_fail(err, WR_EARG, "prompt: %zu passages in a window of %zu, expected 1 to %d", n, window,
                       WR_WINDOW_MAX);
    for (size_t i = 0; i < n && !st; i++) {
        bool cut = false;
        st = passage_text(&b, &passage[i], &b.passage[i], &cut);
        if (cut) b.longer |= (uint32_t)1 << i;
    }
    if (st) return wr_fail(err, st, "prompt: the arena is exhausted");
    /* 0: as published. 1: the query repaired before it is guarded. 2: and the whole string left as it is. */
    for (int caution = 0; caution < 3; caution++) {
        b.whole = caution < 2;
        if (query_text(&b, query, caution > 0)) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
        if ((st = measure(&b, context, &f)) || (st = fitted(&b, &f, out))) break;
        if (!wr_prompt_same_specials(tok, &out->ids, &f.bones)) {
            st = wr_fail(err, WR_EFORMAT, "prompt: query or passages form a special token with the chat template");
            continue;
        }
        out->shared = wr_prompt_shared(out->ids.id, out->ids.n, f.bones.id, f.bones.n);
        return WR_OK;
    }
    *out = (wr_listwise_prompt){.text = {"", 0}};
    return st;
}
