/* After the algorithm's description at snowballstem.org: R1 is what follows the first non-vowel after a vowel, R2 the
 * same within R1; each step acts on the longest of its suffixes that the word ends in, or not at all. */
#include "indexer/stem_english.h"

#include <stdbool.h>
#include <string.h>

/* A word being stemmed. A "y" that acts as a consonant is written "Y" meanwhile. */
struct word {
    char *s;
    size_t n;
    size_t r1, r2;
};

/* A suffix and what it becomes. Lengths are worked out by the compiler: strlen() took a fifth of the time of indexing.
 */
struct rule {
    char suffix[8], to[8];
    unsigned char n, to_n;
};
#define RULE(suffix, to)                                                                                               \
    {                                                                                                                  \
        suffix, to, sizeof suffix - 1, sizeof to - 1                                                                   \
    }
#define END_OF_RULES                                                                                                   \
    {                                                                                                                  \
        "", "", 0, 0                                                                                                   \
    }

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

/* Start of the character that ends before `end`, which is > 0. */
static size_t back(const struct word *w, size_t end)
{
    do end--;
    while (end > 0 && (w->s[end] & 0xc0) == 0x80);
    return end;
}

static size_t forward(const struct word *w, size_t at)
{
    do at++;
    while (at < w->n && (w->s[at] & 0xc0) == 0x80);
    return at;
}

static inline bool ends_n(const struct word *w, const char *suffix, size_t n, size_t *at)
{
    if (n > w->n || w->s[w->n - 1] != suffix[n - 1] || memcmp(w->s + w->n - n, suffix, n) != 0) return false;
    *at = w->n - n;
    return true;
}
#define ends(w, suffix, at) ends_n(w, suffix, sizeof suffix - 1, at)

/* What stands from `at` on becomes to[0..n), which is not longer than what it replaces but for one letter put back. */
static void put(struct word *w, size_t at, const char *to, size_t n)
{
    memcpy(w->s + at, to, n);
    w->n = at + n;
}

static bool has_vowel(const struct word *w, size_t end)
{
    for (size_t i = 0; i < end; i++)
        if (is_vowel(w->s[i])) return true;
    return false;
}

/* Whether word[0..end) ends in a short syllable: non-vowel, vowel, non-vowel other than w, x, Y; or vowel, non-vowel
 * being the whole; or "past". */
static bool short_syllable(const struct word *w, size_t end)
{
    if (end == 0) return false;
    if (end >= 4 && !memcmp(w->s + end - 4, "past", 4)) return true;
    size_t last = back(w, end);
    char c = w->s[last];
    if (is_vowel(c) || last == 0 || !is_vowel(w->s[last - 1])) return false;
    if (last == 1) return true;
    return !is_vowel(w->s[last - 2]) && c != 'w' && c != 'x' && c != 'Y';
}

/* The first rule whose suffix the word has; rules stand longest first among those that can match together. */
static const struct rule *longest(const struct word *w, const struct rule *rule, size_t *at)
{
    char last = w->s[w->n - 1];
    for (; rule->n; rule++)
        if (rule->suffix[rule->n - 1] == last && ends_n(w, rule->suffix, rule->n, at)) return rule;
    return NULL;
}

/* ---- before the steps ---- */

static bool special(struct word *w)
{
    static const struct rule rules[] = {RULE("skis", "ski"),      RULE("skies", "sky"),    RULE("dying", "die"),
                                        RULE("lying", "lie"),     RULE("tying", "tie"),    RULE("idly", "idl"),
                                        RULE("gently", "gentl"),  RULE("ugly", "ugli"),    RULE("early", "earli"),
                                        RULE("only", "onli"),     RULE("singly", "singl"), RULE("sky", "sky"),
                                        RULE("news", "news"),     RULE("howe", "howe"),    RULE("atlas", "atlas"),
                                        RULE("cosmos", "cosmos"), RULE("bias", "bias"),    RULE("andes", "andes")};
    if (w->n < 3 || w->n > 6) return false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (w->n != rules[i].n || memcmp(w->s, rules[i].suffix, w->n) != 0) continue;
        put(w, 0, rules[i].to, rules[i].to_n);
        return true;
    }
    return false;
}

static bool mark_y(struct word *w)
{
    bool found = false;
    for (size_t i = 0; i < w->n; i++) {
        if (w->s[i] != 'y' || (i > 0 && !is_vowel(w->s[i - 1]))) continue;
        w->s[i] = 'Y';
        found = true;
    }
    return found;
}

/* Behind the first non-vowel that follows a vowel at or after `at`. */
static size_t region(const struct word *w, size_t at)
{
    while (at < w->n && !is_vowel(w->s[at])) at++;
    while (at < w->n && is_vowel(w->s[at])) at++;
    return at < w->n ? forward(w, at) : w->n;
}

static void mark_regions(struct word *w)
{
    static const struct rule prefix[] = {RULE("gener", ""), RULE("commun", ""),  RULE("arsen", ""),
                                         RULE("past", ""),  RULE("univers", ""), RULE("later", ""),
                                         RULE("emerg", ""), RULE("organ", ""),   RULE("inter", "")};
    w->r1 = 0;
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        if (w->s[0] == prefix[i].suffix[0] && prefix[i].n <= w->n && !memcmp(w->s, prefix[i].suffix, prefix[i].n))
            w->r1 = prefix[i].n;
    if (!w->r1) w->r1 = region(w, 0);
    w->r2 = region(w, w->r1);
}

/* ---- the steps ---- */

static void step_1a(struct word *w)
{
    size_t at;
    if (ends(w, "sses", &at)) {
        w->n = at + 2;
    } else if (ends(w, "ied", &at) || ends(w, "ies", &at)) {
        w->n = at + (at > 0 && back(w, at) > 0 ? 1 : 2);
    } else if (!ends(w, "us", &at) && !ends(w, "ss", &at) && ends(w, "s", &at)) {
        if (at > 0 && has_vowel(w, back(w, at))) w->n = at;
    }
}

static bool special_after_1a(const struct word *w)
{
    static const struct rule words[] = {RULE("inning", ""),  RULE("outing", ""),  RULE("canning", ""),
                                        RULE("herring", ""), RULE("earring", ""), RULE("evening", ""),
                                        RULE("proceed", ""), RULE("exceed", ""),  RULE("succeed", "")};
    if (w->n < 6 || w->n > 7) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (w->n == words[i].n && memcmp(w->s, words[i].suffix, w->n) == 0) return true;
    return false;
}

static bool double_consonant(const struct word *w)
{
    if (w->n < 2 || w->s[w->n - 1] != w->s[w->n - 2]) return false;
    return memchr("bdfgmnprt", w->s[w->n - 1], 9) != NULL;
}

static void step_1b(struct word *w)
{
    static const struct rule rules[] = {RULE("eedly", "ee"), RULE("ingly", ""), RULE("edly", ""), RULE("eed", "ee"),
                                        RULE("ing", ""),     RULE("ed", ""),    END_OF_RULES};
    size_t at, at2;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule) return;
    if (rule->to_n) {
        if (at >= w->r1) w->n = at + 2;
        return;
    }
    if (!has_vowel(w, at)) return;
    if (at > 1 && w->s[at - 1] == 'y' && back(w, at - 1) == 0 && !strcmp(rule->suffix, "ing")) {
        put(w, at - 1, "ie", 2); /* "vying" as "vie" */
        return;
    }
    w->n = at;
    if (ends(w, "at", &at2) || ends(w, "bl", &at2) || ends(w, "iz", &at2)) {
        put(w, w->n, "e", 1);
    } else if (double_consonant(w)) {
        if (w->n > 3 || !memchr("aeo", w->s[0], 3)) w->n--;
    } else if (w->n == w->r1 && short_syllable(w, w->n)) {
        put(w, w->n, "e", 1);
    }
}

static void step_1c(struct word *w)
{
    size_t last = w->n - 1;
    if (w->n < 2 || (w->s[last] != 'y' && w->s[last] != 'Y')) return;
    size_t before = back(w, last);
    if (before > 0 && !is_vowel(w->s[before])) w->s[last] = 'i';
}

static void step_2(struct word *w)
{
    static const struct rule rules[] = {RULE("ational", "ate"), RULE("fulness", "ful"),
                                        RULE("iveness", "ive"), RULE("ization", "ize"),
                                        RULE("ousness", "ous"), RULE("biliti", "ble"),
                                        RULE("lessli", "less"), RULE("tional", "tion"),
                                        RULE("alism", "al"),    RULE("aliti", "al"),
                                        RULE("ation", "ate"),   RULE("entli", "ent"),
                                        RULE("fulli", "ful"),   RULE("iviti", "ive"),
                                        RULE("ousli", "ous"),   RULE("ogist", "og"),
                                        RULE("abli", "able"),   RULE("alli", "al"),
                                        RULE("anci", "ance"),   RULE("ator", "ate"),
                                        RULE("enci", "ence"),   RULE("izer", "ize"),
                                        RULE("bli", "ble"),     RULE("ogi", "og"),
                                        RULE("li", ""),         END_OF_RULES};
    size_t at;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule || at < w->r1) return;
    if (!strcmp(rule->suffix, "ogi") && (at == 0 || w->s[at - 1] != 'l')) return;
    if (!strcmp(rule->suffix, "li") && (at == 0 || !memchr("cdeghkmnrt", w->s[at - 1], 10))) return;
    put(w, at, rule->to, rule->to_n);
}

static void step_3(struct word *w)
{
    static const struct rule rules[] = {
        RULE("ational", "ate"), RULE("tional", "tion"), RULE("alize", "al"), RULE("ative", ""), RULE("icate", "ic"),
        RULE("iciti", "ic"),    RULE("ical", "ic"),     RULE("ness", ""),    RULE("ful", ""),   END_OF_RULES};
    size_t at;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule || at < w->r1 || (!strcmp(rule->suffix, "ative") && at < w->r2)) return;
    put(w, at, rule->to, rule->to_n);
}

static void step_4(struct word *w)
{
    static const struct rule rules[] = {RULE("ement", ""), RULE("able", ""), RULE("ance", ""), RULE("ence", ""),
                                        RULE("ible", ""),  RULE("ment", ""), RULE("ant", ""),  RULE("ate", ""),
                                        RULE("ent", ""),   RULE("ion", ""),  RULE("ism", ""),  RULE("iti", ""),
                                        RULE("ive", ""),   RULE("ize", ""),  RULE("ous", ""),  RULE("al", ""),
                                        RULE("er", ""),    RULE("ic", ""),   END_OF_RULES};
    size_t at;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule || at < w->r2) return;
    if (!strcmp(rule->suffix, "ion") && (at == 0 || (w->s[at - 1] != 's' && w->s[at - 1] != 't'))) return;
    w->n = at;
}

static void step_5(struct word *w)
{
    size_t at = w->n - 1;
    if (w->s[at] == 'e') {
        if (at >= w->r2 || (at >= w->r1 && !short_syllable(w, at))) w->n = at;
    } else if (w->s[at] == 'l') {
        if (at >= w->r2 && at > 0 && w->s[at - 1] == 'l') w->n = at;
    }
}

size_t wr_stem_english(char *word, size_t len)
{
    struct word w = {.s = word, .n = len};
    if (special(&w)) return w.n;
    size_t third = 0;
    for (int i = 0; i < 2 && third < len; i++) third = forward(&w, third);
    if (third >= len) return len;
    bool y = mark_y(&w);
    mark_regions(&w);
    step_1a(&w);
    if (!special_after_1a(&w)) {
        step_1b(&w);
        step_1c(&w);
        step_2(&w);
        step_3(&w);
        step_4(&w);
        step_5(&w);
    }
    for (size_t i = 0; y && i < w.n; i++)
        if (word[i] == 'Y') word[i] = 'y';
    return w.n;
}
