#include "models/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A match of these families takes tens of steps for a word; what needs more than this many is not meant to end. */
#define MAX_STEPS 1000000u

/* The longest pattern in use has 400 bytes. */
#define MAX_SOURCE 4096

struct wr_pattern {
    pcre2_code *code;
    pcre2_match_context *context;
    char *source;
};

/* ---- classes of Oniguruma 6.9.10, Unicode 16; what is behind the property is what Unicode 14 lacks */

#define WHITE "\\p{Z}\\t-\\r\\x{85}"
#define LU "\\x{1C89}\\x{A7CB}-\\x{A7CC}\\x{A7DA}\\x{A7DC}\\x{10D50}-\\x{10D65}"
#define LL "\\x{1C8A}\\x{A7CD}\\x{A7DB}\\x{10D70}-\\x{10D85}\\x{1DF25}-\\x{1DF2A}"
#define LM "\\x{10D4E}\\x{10D6F}\\x{16D40}-\\x{16D42}\\x{16D6B}-\\x{16D6C}\\x{1E030}-\\x{1E06D}\\x{1E4EB}"
#define LO                                                                                                             \
    "\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D4D}\\x{10D4F}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}"                    \
    "\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}"                      \
    "\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}"          \
    "\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D43}-\\x{16D6A}\\x{18CFF}\\x{1B132}\\x{1B155}"                     \
    "\\x{1E4D0}-\\x{1E4EA}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define ND                                                                                                             \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}"         \
    "\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"

static const struct property {
    const char *name, *more;
} properties[] = {
    {"L", LU LL LM LO},
    {"N", ND "\\x{1D2C0}-\\x{1D2D3}"},
    {"M", "\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}\\x{113B8}-\\x{113C0}\\x{113C2}"
          "\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}\\x{113D2}\\x{113E1}-\\x{113E2}\\x{11F00}-\\x{11F01}"
          "\\x{11F03}\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}"
          "\\x{1611E}-\\x{1612F}\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}-\\x{1E5EF}"},
    {"P", "\\x{1B4E}-\\x{1B4F}\\x{1B7F}\\x{10D6E}\\x{113D4}-\\x{113D5}\\x{113D7}-\\x{113D8}\\x{11B00}-\\x{11B09}"
          "\\x{11BE1}\\x{11F43}-\\x{11F4F}\\x{16D6D}-\\x{16D6F}\\x{1E5FF}"},
    {"S", "\\x{2427}-\\x{2429}\\x{2FFC}-\\x{2FFF}\\x{31E4}-\\x{31E5}\\x{31EF}\\x{10D8E}-\\x{10D8F}\\x{1CC00}-\\x{1CCEF}"
          "\\x{1CD00}-\\x{1CEB3}\\x{1F6DC}\\x{1F774}-\\x{1F776}\\x{1F77B}-\\x{1F77F}\\x{1F7D9}\\x{1F8B2}-\\x{1F8BB}"
          "\\x{1F8C0}-\\x{1F8C1}\\x{1FA75}-\\x{1FA77}\\x{1FA87}-\\x{1FA89}\\x{1FA8F}\\x{1FAAD}-\\x{1FAAF}"
          "\\x{1FABB}-\\x{1FABF}\\x{1FAC6}\\x{1FACE}-\\x{1FACF}\\x{1FADA}-\\x{1FADC}\\x{1FADF}\\x{1FAE8}-\\x{1FAE9}"
          "\\x{1FAF7}-\\x{1FAF8}\\x{1FBCB}-\\x{1FBEF}"},
    {"Lu", LU},
    {"Ll", LL},
    {"Lt", ""},
    {"Lm", LM},
    {"Lo", LO},
    {"Nd", ND},
};

/* ---- reading and writing */

typedef struct reader {
    const char *at, *end;
    char *out; /* NULL once memory ran out */
    size_t n, cap;
    unsigned depth;
    unsigned plain; /* depth of the (?i: we are inside of, 0: none */
    wr_err *err;
} reader;

static void write_bytes(reader *r, const char *s, size_t n)
{
    if (r->out && n > r->cap - r->n) {
        size_t cap = 2 * r->cap + n;
        char *bigger = realloc(r->out, cap);
        if (!bigger) free(r->out);
        r->out = bigger;
        r->cap = cap;
    }
    if (!r->out) return;
    memcpy(r->out + r->n, s, n);
    r->n += n;
}

static void write_text(reader *r, const char *s)
{
    write_bytes(r, s, strlen(s));
}

static bool next_is(const reader *r, char c)
{
    return r->at < r->end && *r->at == c;
}

static wr_status refuse(const reader *r, const char *from, const char *what)
{
    int n = (int)(r->end - from < 12 ? r->end - from : 12);
    return wr_fail(r->err, WR_EUNSUPPORTED, "%s at \"%.*s\"", what, n, from);
}

/* {L} behind \p. */
static const struct property *property_at(reader *r)
{
    const char *close = next_is(r, '{') ? memchr(r->at, '}', (size_t)(r->end - r->at)) : NULL;
    for (size_t i = 0; close && i < sizeof properties / sizeof *properties; i++) {
        size_t n = (size_t)(close - r->at) - 1;
        if (strlen(properties[i].name) != n || memcmp(properties[i].name, r->at + 1, n)) continue;
        r->at = close + 1;
        return &properties[i];
    }
    return NULL;
}

/* A set of characters, inside of [] or alone. */
static wr_status write_set(reader *r, const char *from, const char *name, const char *more, bool negated, bool inside)
{
    if (inside && negated) return refuse(r, from, "a negated set inside of []");
    if (r->plain) return refuse(r, from, "a set where case does not count");
    if (!inside) write_text(r, negated ? "[^" : "[");
    if (name) write_text(r, "\\p{"), write_text(r, name), write_text(r, "}");
    write_text(r, more);
    if (!inside) write_text(r, "]");
    return WR_OK;
}

/* What a backslash begins. */
static wr_status read_escape(reader *r, bool inside)
{
    const char *from = r->at++;
    if (r->at == r->end) return wr_fail(r->err, WR_EFORMAT, "the pattern ends with a backslash");
    char c = *r->at++;
    if (c == 's' || c == 'S') return write_set(r, from, NULL, WHITE, c == 'S', inside);
    if (c == 'd' || c == 'D') return write_set(r, from, "Nd", ND, c == 'D', inside);
    if (c == 'p' || c == 'P') {
        const struct property *p = property_at(r);
        return p ? write_set(r, from, p->name, p->more, c == 'P', inside) : refuse(r, from, "an unknown property");
    }
    bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
    if (letter && !strchr("rnt", c)) return refuse(r, from, "an unknown escape");
    write_bytes(r, from, 2);
    return WR_OK;
}

static wr_status read_class(reader *r)
{
    const char *from = r->at++;
    wr_status st = WR_OK;
    if (r->plain) return refuse(r, from, "a set where case does not count");
    write_text(r, "[");
    if (next_is(r, '^')) write_text(r, "^"), r->at++;
    if (next_is(r, ']')) return refuse(r, from, "a class that begins with ]");
    while (!st && r->at < r->end && *r->at != ']') {
        if (*r->at == '[') return refuse(r, r->at, "a class inside of a class");
        if (r->end - r->at > 1 && r->at[0] == '&' && r->at[1] == '&') return refuse(r, r->at, "an intersection");
        if (*r->at == '\\')
            st = read_escape(r, true);
        else
            write_bytes(r, r->at++, 1);
    }
    if (st) return st;
    if (!next_is(r, ']')) return wr_fail(r->err, WR_EFORMAT, "a class without an end");
    write_bytes(r, r->at++, 1);
    return WR_OK;
}

static wr_status read_group(reader *r)
{
    static const char *const known[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:"};
    size_t left = (size_t)(r->end - r->at), n = 1;
    r->depth++;
    if (left > 1 && r->at[1] == '?') {
        for (size_t i = 0; n == 1 && i < sizeof known / sizeof *known; i++)
            if (strlen(known[i]) <= left && !memcmp(known[i], r->at, strlen(known[i]))) n = strlen(known[i]);
        if (n == 1) return refuse(r, r->at, "an unknown group");
        if (r->at[2] == 'i' && !r->plain) r->plain = r->depth;
    } else if (left > 1 && r->at[1] == '*') {
        return refuse(r, r->at, "an unknown group");
    }
    write_bytes(r, r->at, n);
    r->at += n;
    return WR_OK;
}

static wr_status read_close(reader *r)
{
    if (!r->depth) return wr_fail(r->err, WR_EFORMAT, "a ) without (");
    if (r->plain == r->depth) r->plain = 0;
    r->depth--;
    write_bytes(r, r->at++, 1);
    return WR_OK;
}

/* "*", "+", "?" with "?" or "+" behind, or {n}, {n,}, {n,m} alone: "{2}+" repeats a repetition in one library only. */
static wr_status read_quantifier(reader *r)
{
    const char *from = r->at++;
    if (*from == '{') {
        const char *digits = r->at;
        while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
        bool known = r->at > digits;
        if (next_is(r, ',')) r->at++;
        while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
        if (!known || !next_is(r, '}')) return refuse(r, from, "an unknown repetition");
        r->at++;
    } else if (next_is(r, '?') || next_is(r, '+')) {
        r->at++;
    }
    if (r->at < r->end && strchr("*+?{", *r->at)) return refuse(r, from, "a repeated repetition");
    write_bytes(r, from, (size_t)(r->at - from));
    return WR_OK;
}

static wr_status read_pattern(reader *r)
{
    wr_status st = WR_OK;
    while (!st && r->at < r->end) {
        switch (*r->at) {
        case '\\':
            st = read_escape(r, false);
            break;
        case '[':
            st = read_class(r);
            break;
        case '(':
            st = read_group(r);
            break;
        case ')':
            st = read_close(r);
            break;
        case '*':
        case '+':
        case '?':
        case '{':
            st = read_quantifier(r);
            break;
        case '^':
        case '$':
            return refuse(r, r->at, "an anchor");
        default:
            write_bytes(r, r->at++, 1);
        }
    }
    if (!st && r->depth) st = wr_fail(r->err, WR_EFORMAT, "a ( without )");
    return st;
}

/* ---- PCRE2 */

static wr_status build(wr_pattern *p, const char *text, size_t n, wr_err *err)
{
    int code;
    uint32_t empty = 0;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    p->context = pcre2_match_context_create(NULL);
    if (!context || !p->context) {
        pcre2_compile_context_free(context);
        return wr_fail(err, WR_ENOMEM, "out of memory");
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(p->context, MAX_STEPS);
    p->code = pcre2_compile((PCRE2_SPTR)text, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        char message[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        return wr_fail(err, WR_EFORMAT, "%s", message);
    }
    pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) return wr_fail(err, WR_EUNSUPPORTED, "it may match nothing");
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    return WR_OK;
}

static wr_status compile(wr_pattern **out, wr_text source, wr_err *err)
{
    reader r = {.at = source.bytes, .end = source.bytes + source.n, .cap = 256, .err = err};
    wr_pattern *p = calloc(1, sizeof *p);
    r.out = malloc(r.cap);
    wr_status st = WR_ENOMEM;
    if (p && r.out) p->source = strndup(source.bytes, source.n);
    if (p && p->source) st = read_pattern(&r);
    if (!st && !r.out) st = WR_ENOMEM;
    if (st == WR_ENOMEM) wr_fail(err, st, "out of memory");
    if (!st) st = build(p, r.out, r.n, err);
    free(r.out);
    if (st) {
        wr_pattern_free(p);
        return st;
    }
    *out = p;
    return WR_OK;
}

wr_status wr_pattern_compile(wr_pattern **out, wr_text source, wr_err *err)
{
    *out = NULL;
    if (!source.n) return wr_fail(err, WR_EUNSUPPORTED, "an empty pattern");
    if (source.n > MAX_SOURCE || memchr(source.bytes, 0, source.n))
        return wr_fail(err, WR_EUNSUPPORTED, "a pattern of more than %d bytes or with NUL", MAX_SOURCE);
    return compile(out, source, err);
}

wr_status wr_pattern_literal(wr_pattern **out, wr_text string, wr_err *err)
{
    char escaped[2 * MAX_SOURCE];
    size_t n = 0;
    *out = NULL;
    if (!string.n || string.n > MAX_SOURCE || memchr(string.bytes, 0, string.n))
        return wr_fail(err, WR_EUNSUPPORTED, "a string of no or more than %d bytes, or with NUL", MAX_SOURCE);
    for (size_t i = 0; i < string.n; i++) {
        unsigned char c = (unsigned char)string.bytes[i];
        bool punct = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
        if (punct) escaped[n++] = '\\';
        escaped[n++] = (char)c;
    }
    return compile(out, (wr_text){escaped, n}, err);
}

void wr_pattern_free(wr_pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->context);
    free(p->source);
    free(p);
}

const char *wr_pattern_source(const wr_pattern *p)
{
    return p->source;
}

static void *take(PCRE2_SIZE size, void *arena)
{
    return wr_arena_alloc(arena, size);
}

static void leave(void *block, void *arena)
{
    (void)block, (void)arena; /* the arena is rolled back as a whole */
}

void *wr_pattern_memory(wr_arena *arena)
{
    pcre2_general_context *general = pcre2_general_context_create(take, leave, arena);
    return general ? pcre2_match_data_create(1, general) : NULL;
}

wr_status wr_pattern_find(const wr_pattern *p, void *memory, wr_text text, size_t from, size_t *start, size_t *end)
{
    PCRE2_SPTR s = (PCRE2_SPTR)text.bytes;
    int rc = pcre2_match(p->code, s, text.n, from, PCRE2_NO_UTF_CHECK, memory, p->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(p->code, s, text.n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, memory, p->context);
    if (rc == PCRE2_ERROR_NOMATCH) return WR_STOPPED;
    if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT) return WR_ENOMEM;
    if (rc < 0) return WR_EUNSUPPORTED;
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(memory);
    *start = place[0], *end = place[1];
    return *start < *end ? WR_OK : WR_EUNSUPPORTED;
}
