#include "indexer/analyzer.h"

#include <libstemmer.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/utf8.h"
#include "indexer/analyzer_stop.h"
#include "indexer/stem_english.h"

/* Words of one character are dropped, as by scikit-learn's and bm25s's pattern \w\w+. */
#define MIN_CHARS 2

/* Places of the stop-word table: a power of two, several times the longest list, so that most probes end at once. */
#define STOP_PLACES 1024

struct wr_analyzer {
    struct sb_stemmer *stemmer; /* NULL for "english", which has its own, and for "none" */
    bool english;
    size_t longest_stop;
    wr_term stop[STOP_PLACES]; /* text NULL = free */
};

/* A word under construction. */
struct word {
    char text[WR_MAX_TERM];
    size_t len, chars;
    bool full; /* cut: later characters are skipped */
    bool marks;
};

static size_t stop_place(const char *text, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)text[i]) * 16777619u;
    return (h ^ h >> 15) % STOP_PLACES;
}

static bool is_stop(const wr_analyzer *analyzer, const char *text, size_t len)
{
    if (len > analyzer->longest_stop) return false;
    for (size_t i = stop_place(text, len); analyzer->stop[i].text; i = (i + 1) % STOP_PLACES)
        if (analyzer->stop[i].len == len && !memcmp(analyzer->stop[i].text, text, len)) return true;
    return false;
}

static void stop_fill(wr_analyzer *analyzer, const char *words)
{
    while (words && *words) {
        size_t len = strcspn(words, " "), i = stop_place(words, len);
        while (analyzer->stop[i].text) i = (i + 1) % STOP_PLACES;
        analyzer->stop[i] = (wr_term){words, len};
        if (len > analyzer->longest_stop) analyzer->longest_stop = len;
        words += len;
        words += *words == ' ';
    }
}

static bool known(const char *name)
{
    for (const char **language = sb_stemmer_list(); *language; language++)
        if (!strcmp(*language, name)) return true;
    return false;
}

static wr_status refuse(const char *name, wr_err *err)
{
    char names[400] = "none";
    size_t n = strlen(names);
    for (const char **language = sb_stemmer_list(); *language; language++) {
        int more = snprintf(names + n, sizeof names - n, ", %s", *language);
        if (more < 0 || (size_t)more >= sizeof names - n) break;
        n += (size_t)more;
    }
    return wr_fail(err, WR_EARG, "analyzer '%s' is not known; expected one of: %s", name, names);
}

wr_status wr_analyzer_open(wr_analyzer **out, const char *name, wr_err *err)
{
    *out = NULL;
    bool none = !strcmp(name, "none");
    if (!none && !known(name)) return refuse(name, err);
    wr_analyzer *analyzer = calloc(1, sizeof *analyzer);
    if (!analyzer) return wr_fail(err, WR_ENOMEM, "analyzer: out of memory");
    analyzer->english = !strcmp(name, "english");
    if (!none) {
        if (!analyzer->english) analyzer->stemmer = sb_stemmer_new(name, NULL);
        if (!analyzer->english && !analyzer->stemmer) {
            free(analyzer);
            return wr_fail(err, WR_ENOMEM, "analyzer '%s': its stemmer cannot be made", name);
        }
        stop_fill(analyzer, wr_stop_words(name));
    }
    *out = analyzer;
    return WR_OK;
}

void wr_analyzer_close(wr_analyzer *analyzer)
{
    if (!analyzer) return;
    sb_stemmer_delete(analyzer->stemmer);
    free(analyzer);
}

/* ---- characters ---- */

/* The lower-case byte of an ASCII letter, digit or underscore; 0 for what separates words. */
static unsigned char ascii_word(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return (unsigned char)(c + ('a' - 'A'));
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') return c;
    return 0;
}

static bool is_mark(utf8proc_category_t category)
{
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

static bool is_word(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return is_mark(category);
    }
}

static void append(struct word *word, const char *bytes, size_t n)
{
    word->chars++;
    if (word->full || word->len + n > sizeof word->text) {
        word->full = true;
        return;
    }
    memcpy(word->text + word->len, bytes, n);
    word->len += n;
}

/* Reads the word that begins at s[0], or nothing; returns the bytes it went over (0 = s[0] begins no word). */
static size_t read_word(const char *s, size_t n, struct word *word)
{
    size_t i = 0;
    word->len = word->chars = 0;
    word->full = word->marks = false;
    while (i < n) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x80) {
            char lower = (char)ascii_word(c);
            if (!lower) break;
            append(word, &lower, 1);
            i++;
            continue;
        }
        size_t len;
        char bytes[4];
        uint32_t cp = wr_utf8_decode(s + i, n - i, &len);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
        if (!is_word(category)) break;
        word->marks = word->marks || is_mark(category);
        append(word, bytes, wr_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)cp), bytes));
        i += len;
    }
    return i;
}

/* "e" and a combining accent become "é", as the stemmers and the other documents spell it. */
static wr_status compose(struct word *word)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)word->text, (utf8proc_ssize_t)word->len, &composed,
                                      UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (n == UTF8PROC_ERROR_NOMEM) return WR_ENOMEM;
    if (n > 0 && (size_t)n <= sizeof word->text) {
        memcpy(word->text, composed, (size_t)n);
        word->len = (size_t)n;
    }
    free(composed);
    return WR_OK;
}

/* ---- terms ---- */

/* The word's term: stop words have length 0. */
static wr_status word_term(wr_analyzer *analyzer, struct word *word, wr_term *term)
{
    *term = (wr_term){word->text, 0};
    if (word->marks && compose(word)) return WR_ENOMEM;
    if (word->chars < MIN_CHARS || is_stop(analyzer, word->text, word->len)) return WR_OK;
    term->len = analyzer->english ? wr_stem_english(word->text, word->len) : word->len;
    if (!analyzer->stemmer) return WR_OK;
    const sb_symbol *stem = sb_stemmer_stem(analyzer->stemmer, (const sb_symbol *)word->text, (int)word->len);
    if (!stem) return WR_ENOMEM;
    int len = sb_stemmer_length(analyzer->stemmer);
    if (len > 0 && len <= WR_MAX_TERM) *term = (wr_term){(const char *)stem, (size_t)len};
    return WR_OK;
}

/* Terms are first written one behind the other, each after a byte that holds its length, and pointed to when their
 * number is known. Room: lower-casing makes two bytes three at worst, and no stemmer adds more than a few. */
wr_status wr_analyzer_terms(wr_analyzer *analyzer, const char *text, size_t n, wr_arena *arena, wr_term **terms,
                            size_t *nterms)
{
    struct word word;
    size_t used = 0, count = 0, room = 2 * n + WR_MAX_TERM;
    *terms = NULL;
    *nterms = 0;
    unsigned char *packed = n <= (SIZE_MAX - WR_MAX_TERM) / 2 ? wr_arena_alloc(arena, room) : NULL;
    if (!packed) return WR_ENOMEM;
    for (size_t i = 0; i < n;) {
        size_t step = read_word(text + i, n - i, &word);
        if (!step) {
            i++; /* a separator; the rest of a longer one separates too */
            continue;
        }
        i += step;
        wr_term term;
        if (word_term(analyzer, &word, &term)) return WR_ENOMEM;
        if (!term.len) continue;
        if (term.len + 1 > room - used) return WR_ENOMEM;
        packed[used++] = (unsigned char)term.len;
        memcpy(packed + used, term.text, term.len);
        used += term.len;
        count++;
    }
    *terms = wr_arena_calloc(arena, count, sizeof **terms);
    if (!*terms) return WR_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        (*terms)[i] = (wr_term){(const char *)packed + 1, *packed};
        packed += 1 + *packed;
    }
    *nterms = count;
    return WR_OK;
}
