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

struct rule {
    const char *suffix, *to; /* to NULL: left as it is */
};

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

static bool ends(const struct word *w, const char *suffix, size_t *at)
{
    size_t n = strlen(suffix);
    if (n > w->n || w->s[w->n - 1] != suffix[n - 1] || memcmp(w->s + w->n - n, suffix, n) != 0) return false;
    *at = w->n - n;
    return true;
}

static bool is(const struct word *w, const char *text)
{
    return strlen(text) == w->n && memcmp(w->s, text, w->n) == 0;
}

/* What stands from `at` on becomes `to`, which is not longer than what it replaces but for one letter put back. */
static void put(struct word *w, size_t at, const char *to)
{
    size_t n = strlen(to);
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
    for (; rule->suffix; rule++)
        if (ends(w, rule->suffix, at)) return rule;
    return NULL;
}

/* ---- before the steps ---- */

static bool special(struct word *w)
{
    static const struct rule rules[] = {
        {"skis", "ski"},      {"skies", "sky"},    {"dying", "die"},  {"lying", "lie"},   {"tying", "tie"},
        {"idly", "idl"},      {"gently", "gentl"}, {"ugly", "ugli"},  {"early", "earli"}, {"only", "onli"},
        {"singly", "singl"},  {"sky", "sky"},      {"news", "news"},  {"howe", "howe"},   {"atlas", "atlas"},
        {"cosmos", "cosmos"}, {"bias", "bias"},    {"andes", "andes"}};
    if (w->n < 3 || w->n > 6) return false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!is(w, rules[i].suffix)) continue;
        put(w, 0, rules[i].to);
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
    static const char *const prefix[] = {"gener", "commun", "arsen", "past", "univers",
                                         "later", "emerg",  "organ", "inter"};
    w->r1 = 0;
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix && !w->r1; i++) {
        size_t n = strlen(prefix[i]);
        if (n <= w->n && !memcmp(w->s, prefix[i], n)) w->r1 = n;
    }
    if (!w->r1) w->r1 = region(w, 0);
    w->r2 = region(w, w->r1);
}

/* ---- the steps ---- */

static void step_1a(struct word *w)
{
    size_t at;
    if (ends(w, "sses", &at)) {
        put(w, at, "ss");
    } else if (ends(w, "ied", &at) || ends(w, "ies", &at)) {
        put(w, at, at > 0 && back(w, at) > 0 ? "i" : "ie");
    } else if (!ends(w, "us", &at) && !ends(w, "ss", &at) && ends(w, "s", &at)) {
        if (at > 0 && has_vowel(w, back(w, at))) w->n = at;
    }
}

static bool special_after_1a(const struct word *w)
{
    static const char *const words[] = {"inning",  "outing",  "canning", "herring", "earring",
                                        "evening", "proceed", "exceed",  "succeed"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(w, words[i])) return true;
    return false;
}

static bool double_consonant(const struct word *w)
{
    if (w->n < 2 || w->s[w->n - 1] != w->s[w->n - 2]) return false;
    return memchr("bdfgmnprt", w->s[w->n - 1], 9) != NULL;
}

static void step_1b(struct word *w)
{
    static const struct rule rules[] = {{"eedly", "ee"}, {"ingly", ""}, {"edly", ""}, {"eed", "ee"},
                                        {"ing", ""},     {"ed", ""},    {NULL, NULL}};
    size_t at, at2;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule) return;
    if (rule->to[0]) {
        if (at >= w->r1) put(w, at, "ee");
        return;
    }
    if (!has_vowel(w, at)) return;
    if (at > 1 && w->s[at - 1] == 'y' && back(w, at - 1) == 0 && !strcmp(rule->suffix, "ing")) {
        put(w, at - 1, "ie"); /* "vying" as "vie" */
        return;
    }
    w->n = at;
    if (ends(w, "at", &at2) || ends(w, "bl", &at2) || ends(w, "iz", &at2)) {
        put(w, w->n, "e");
    } else if (double_consonant(w)) {
        if (w->n > 3 || !memchr("aeo", w->s[0], 3)) w->n--;
    } else if (w->n == w->r1 && short_syllable(w, w->n)) {
        put(w, w->n, "e");
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
    static const struct rule rules[] = {{"ational", "ate"}, {"fulness", "ful"}, {"iveness", "ive"}, {"ization", "ize"},
                                        {"ousness", "ous"}, {"biliti", "ble"},  {"lessli", "less"}, {"tional", "tion"},
                                        {"alism", "al"},    {"aliti", "al"},    {"ation", "ate"},   {"entli", "ent"},
                                        {"fulli", "ful"},   {"iviti", "ive"},   {"ousli", "ous"},   {"ogist", "og"},
                                        {"abli", "able"},   {"alli", "al"},     {"anci", "ance"},   {"ator", "ate"},
                                        {"enci", "ence"},   {"izer", "ize"},    {"bli", "ble"},     {"ogi", "og"},
                                        {"li", ""},         {NULL, NULL}};
    size_t at;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule || at < w->r1) return;
    if (!strcmp(rule->suffix, "ogi") && (at == 0 || w->s[at - 1] != 'l')) return;
    if (!strcmp(rule->suffix, "li") && (at == 0 || !memchr("cdeghkmnrt", w->s[at - 1], 10))) return;
    put(w, at, rule->to);
}

static void step_3(struct word *w)
{
    static const struct rule rules[] = {{"ational", "ate"}, {"tional", "tion"}, {"alize", "al"}, {"ative", ""},
                                        {"icate", "ic"},    {"iciti", "ic"},    {"ical", "ic"},  {"ness", ""},
                                        {"ful", ""},        {NULL, NULL}};
    size_t at;
    const struct rule *rule = longest(w, rules, &at);
    if (!rule || at < w->r1 || (!strcmp(rule->suffix, "ative") && at < w->r2)) return;
    put(w, at, rule->to);
}

static void step_4(struct word *w)
{
    static const struct rule rules[] = {{"ement", ""}, {"able", ""}, {"ance", ""}, {"ence", ""}, {"ible", ""},
                                        {"ment", ""},  {"ant", ""},  {"ate", ""},  {"ent", ""},  {"ion", ""},
                                        {"ism", ""},   {"iti", ""},  {"ive", ""},  {"ize", ""},  {"ous", ""},
                                        {"al", ""},    {"er", ""},   {"ic", ""},   {NULL, NULL}};
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
