#include "data/sgml.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "data/utf8.h"

void wr_sgml_start(wr_sgml *walk, const char *s, size_t n)
{
    *walk = (wr_sgml){.s = s, .n = n};
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == ':' || c == '.';
}

/* Bytes from the '<' at s to behind its '>', 0 when it is no tag. */
static size_t tag_bytes(const char *s, size_t n)
{
    if (n < 3 || !(is_letter(s[1]) || s[1] == '/' || s[1] == '!' || s[1] == '?')) return 0;
    for (size_t i = 1; i < n && s[i] != '<'; i++)
        if (s[i] == '>') return i + 1;
    return 0;
}

/* Bytes of the comment at s, 0 when there is none. */
static size_t comment_bytes(wr_sgml *walk)
{
    const char *s = walk->s + walk->at;
    size_t n = walk->n - walk->at;
    if (n < 7 || memcmp(s, "<!--", 4) != 0 || walk->no_comment_end) return 0;
    const char *end = memmem(s + 4, n - 4, "-->", 3);
    if (!end) walk->no_comment_end = true;
    return end ? (size_t)(end + 3 - s) : 0;
}

static wr_sgml_kind name_tag(wr_sgml *walk, size_t bytes)
{
    const char *s = walk->s + walk->at;
    bool closing = s[1] == '/';
    walk->span = s + (closing ? 2 : 1);
    walk->span_n = 0;
    while (is_name(walk->span[walk->span_n])) walk->span_n++; /* '>' ends it at the latest */
    walk->at += bytes;
    return closing ? WR_SGML_CLOSE : WR_SGML_OPEN;
}

wr_sgml_kind wr_sgml_next(wr_sgml *walk)
{
    while (walk->at < walk->n) {
        size_t begin = walk->at, skip = 0, tag = 0;
        while (walk->at < walk->n) {
            if (walk->s[walk->at] == '<' &&
                ((skip = comment_bytes(walk)) > 0 || (tag = tag_bytes(walk->s + walk->at, walk->n - walk->at)) > 0))
                break;
            walk->at++;
        }
        if (walk->at > begin) {
            walk->span = walk->s + begin;
            walk->span_n = walk->at - begin;
            return WR_SGML_TEXT;
        }
        if (skip == 0 && walk->s[walk->at + 1] != '!' && walk->s[walk->at + 1] != '?') return name_tag(walk, tag);
        walk->at += skip ? skip : tag;
    }
    return WR_SGML_END;
}

bool wr_sgml_is(const wr_sgml *walk, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, " ");
        if (n == walk->span_n && strncasecmp(names, walk->span, n) == 0) return true;
        names += n + (names[n] == ' ');
    }
    return false;
}

/* Latin-1's upper half in order of code points, from U+00A0. */
static const char latin1[] =
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute "
    "micro "
    "para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil "
    "Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave "
    "Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml "
    "igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute "
    "thorn yuml";

/* The rest: XML's five, typography, and what TREC's disks use (blank, hyph, mu, ...). */
static const struct {
    const char *name;
    uint32_t cp;
} others[] = {
    {"amp", '&'},       {"lt", '<'},        {"gt", '>'},       {"quot", '"'},      {"apos", '\''},    {"blank", ' '},
    {"hyph", '-'},      {"ensp", ' '},      {"emsp", ' '},     {"thinsp", ' '},    {"lsqb", '['},     {"rsqb", ']'},
    {"lpar", '('},      {"rpar", ')'},      {"percnt", '%'},   {"dollar", '$'},    {"num", '#'},      {"ast", '*'},
    {"plus", '+'},      {"equals", '='},    {"commat", '@'},   {"verbar", '|'},    {"ndash", 0x2013}, {"mdash", 0x2014},
    {"lsquo", 0x2018},  {"rsquo", 0x2019},  {"sbquo", 0x201a}, {"ldquo", 0x201c},  {"rdquo", 0x201d}, {"bdquo", 0x201e},
    {"dagger", 0x2020}, {"Dagger", 0x2021}, {"bull", 0x2022},  {"hellip", 0x2026}, {"prime", 0x2032}, {"euro", 0x20ac},
    {"trade", 0x2122},  {"rarr", 0x2192},   {"larr", 0x2190},  {"minus", 0x2212},  {"le", 0x2264},    {"ge", 0x2265},
    {"ne", 0x2260},     {"inodot", 0x131},  {"OElig", 0x152},  {"oelig", 0x153},   {"Scaron", 0x160}, {"scaron", 0x161},
    {"alpha", 0x3b1},   {"beta", 0x3b2},    {"gamma", 0x3b3},  {"delta", 0x3b4},   {"mu", 0x3bc},     {"sigma", 0x3c3},
    {"omega", 0x3c9},
};

static uint32_t named(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strlen(others[i].name) == n && memcmp(others[i].name, name, n) == 0) return others[i].cp;
    uint32_t cp = 0xa0;
    for (const char *p = latin1; *p; cp++) {
        size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, name, n) == 0) return cp;
        p += len + (p[len] == ' ');
    }
    return 0;
}

static uint32_t numbered(const char *digits, size_t n)
{
    uint32_t base = n && (digits[0] == 'x' || digits[0] == 'X') ? 16 : 10, cp = 0;
    size_t i = base == 16;
    if (i == n) return 0;
    for (; i < n; i++) {
        char c = (char)(digits[i] | 0x20);
        uint32_t d = digits[i] >= '0' && digits[i] <= '9' ? (uint32_t)(digits[i] - '0')
                     : base == 16 && c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                                                          : 99;
        if (d == 99) return 0;
        cp = cp > 0x10ffff ? cp : cp * base + d;
    }
    return cp == 0 || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff) ? 0xfffd : cp;
}

/* The code point of the entity at s, which starts with '&', and its bytes; 0 when it is none we know. The ';' may be
 * missing before anything that cannot continue the name. */
static uint32_t entity(const char *s, size_t n, size_t *bytes)
{
    enum { LONGEST = 10 };
    size_t i = 1;
    bool number = n > 1 && s[1] == '#';
    if (number) i++;
    size_t begin = i;
    while (i < n && i < begin + LONGEST && (is_letter(s[i]) || (s[i] >= '0' && s[i] <= '9'))) i++;
    if (i == begin || i >= n || s[i] != ';') return 0;
    *bytes = i + 1;
    return number ? numbered(s + begin, i - begin) : named(s + begin, i - begin);
}

static wr_status add_space(wr_bytes *out)
{
    return out->n == 0 || out->at[out->n - 1] == ' ' ? WR_OK : wr_bytes_add_char(out, ' ');
}

wr_status wr_sgml_add_text(wr_bytes *out, const char *s, size_t n)
{
    wr_status st = WR_OK;
    for (size_t i = 0, bytes = 1; !st && i < n; i += bytes) {
        unsigned char c = (unsigned char)s[i];
        uint32_t cp = c == '&' ? entity(s + i, n - i, &bytes) : 0;
        if (!cp) {
            bytes = 1;
            cp = c;
        }
        if (cp <= ' ' || cp == 0x7f || cp == 0xa0)
            st = add_space(out);
        else if (bytes > 1)
            st = wr_bytes_add_code(out, cp);
        else {
            while (i + bytes < n && (unsigned char)s[i + bytes] > ' ' && s[i + bytes] != '&' && s[i + bytes] != 0x7f)
                bytes++;
            st = wr_bytes_add(out, s + i, bytes);
        }
    }
    return st;
}

void wr_sgml_trim(wr_bytes *out)
{
    if (out->n && out->at[out->n - 1] == ' ') out->at[--out->n] = 0;
}
