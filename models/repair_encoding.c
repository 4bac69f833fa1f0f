/* Mojibake: UTF-8 that was read as a single-byte encoding, undone as ftfy.fix_encoding() undoes it. A text is touched
 * when it looks bad: when it has a sequence of characters that hardly ever stands there otherwise. Then the first
 * encoding in the list that can write it, and in which it is UTF-8 again, was the wrong one. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <string.h>

#include "data/text.h"
#include "data/utf8.h"
#include "models/repair_parts.h"
#include "models/repair_tables.h"

#define CASE(of) "[" of "]"
#define CLEAR LOWER_ACCENTED UPPER_ACCENTED BOX START_PUNCTUATION END_PUNCTUATION CURRENCY NUMERIC LAW
#define ARABIC "[" COMMON CURRENCY BAD NUMERIC START_PUNCTUATION "\\x{178}\\x{160}\\xAE\\xB0\\xB5\\xBB]"
#define TWOFOLD(of, more) "[" of "][" C1 BAD START_PUNCTUATION END_PUNCTUATION CURRENCY more "][" of "]"

static const char bad_pattern[] = CASE(C1) "|" CASE(BAD CLEAR) CASE(BAD) "|[a-zA-Z]" CASE(
    LOWER_COMMON UPPER_COMMON) CASE(BAD) "|" CASE(BAD) CASE(CLEAR) "|" CASE(LOWER_ACCENTED LOWER_COMMON BOX
                                                                                END_PUNCTUATION CURRENCY NUMERIC)
    CASE(UPPER_ACCENTED) "|" CASE(BOX END_PUNCTUATION CURRENCY NUMERIC) CASE(LOWER_ACCENTED) "|" CASE(
        LOWER_ACCENTED BOX END_PUNCTUATION) CASE(CURRENCY) "|\\s" CASE(UPPER_ACCENTED)
        CASE(CURRENCY) "|" CASE(UPPER_ACCENTED BOX) CASE(NUMERIC LAW) "|" CASE(
            LOWER_ACCENTED UPPER_ACCENTED BOX CURRENCY
                END_PUNCTUATION) CASE(START_PUNCTUATION) CASE(NUMERIC) "|" CASE(LOWER_ACCENTED UPPER_ACCENTED
                                                                                    CURRENCY NUMERIC BOX LAW)
            CASE(END_PUNCTUATION) CASE(START_PUNCTUATION) "|" CASE(CURRENCY NUMERIC BOX) CASE(
                START_PUNCTUATION) "|[a-z]" CASE(UPPER_ACCENTED) CASE(START_PUNCTUATION CURRENCY) "|" CASE(BOX)
                CASE(KAOMOJI) "|" CASE(LOWER_ACCENTED UPPER_ACCENTED CURRENCY NUMERIC START_PUNCTUATION END_PUNCTUATION
                                           LAW) CASE(BOX) "|" CASE(BOX)
                    CASE(END_PUNCTUATION) "|" CASE(LOWER_ACCENTED UPPER_ACCENTED) CASE(
                        START_PUNCTUATION
                            END_PUNCTUATION) "\\w"
                                             "|[\\x{152}\\x{153}][^A-Za-z]" /* a ligature oe before something else than
                                                                               a letter */
                                             "|" CASE(
                                                 UPPER_ACCENTED) "\\xB0"
                                                                 "|[\\xC2\\xC3\\xCE\\xD0][\\x{20AC}\\x{153}\\x{160}\\x{"
                                                                 "161}\\xA2\\xA3\\x{178}\\x{17E}"
                                                                 "\\xA0\\xAD\\xAE\\xA9\\xB0\\xB7\\xBB" START_PUNCTUATION
                                                                     END_PUNCTUATION
                                                                 "\\x{2013}\\x{2014}\\xB4]" /* Windows-1252, two
                                                                                               characters */
                                                                 "|\\xD7[\\xB2\\xB3]"
                                                                 "|[\\xD8\\xD9]" ARABIC "[\\xD8\\xD9]" ARABIC
                                                                 "|\\xE0[\\xB2\\xB5\\xB9\\xBC\\xBD\\xBE]" /* alphabets
                                                                                                             of South
                                                                                                             Asia */
                                                                 "|\\x{221A}[\\xB1\\x{2202}\\x{2020}\\x{2260}\\xAE\\x{"
                                                                 "2122}\\xB4\\x{2264}\\x{2265}\\xA5\\xB5\\xF8]|\\x{"
                                                                 "2248}[\\xB0\\xA2]"
                                                                 "|\\x{201A}\\xC4["
                                                                 "\\xEC\\xEE\\xEF\\xF2\\xF4\\xFA\\xF9\\xFB\\x{2020}"
                                                                 "\\xB0\\xA2\\x{3C0}]|\\x{201A}[\\xE2\\xF3]["
                                                                 "\\xE0\\xE4\\xB0\\xEA]" /* MacRoman */
                                                                 "|\\x{432}\\x{402}|" TWOFOLD(
                                                                     "\\x{412}\\x{413}\\x{420}\\x{421}",
                                                                     "\\xB0\\xB5") /* Windows-1251 */
    "|\\x{413}\\x{45E}\\x{412}\\x{402}\\x{412}.[A-Za-z ]"
    "|\\xC3[\\xA0\\xA1]|[a-z]\\s?[\\xC3\\xC2][ ]|^[\\xC3\\xC2][ ]"
    "|[a-z.,?!" END_PUNCTUATION "]\\xC2[ " START_PUNCTUATION END_PUNCTUATION "]"
    "|\\x{3B2}\\x{20AC}[\\x{2122}\\xA0\\x{386}\\xAD\\xAE\\xB0]|" TWOFOLD("\\x{392}\\x{393}\\x{39E}\\x{39F}",
                                                                         "\\xB0") /* 1253 */
    "|\\x{101}\\x{20AC}";                                                         /* 1257 */

static const char within_pattern[] =
    "(?<![" UTF8_CONTINUATION_STRICT "])(?:[" UTF8_FIRST_OF_2 "][" UTF8_CONTINUATION "]|[" UTF8_FIRST_OF_3
    "][" UTF8_CONTINUATION "]{2}|[" UTF8_FIRST_OF_4 "][" UTF8_CONTINUATION "]{3})+";

/* Bytes: a continuing byte A0 that became a space; "a" with grave at a word's end; what a lossy step wrote as ? or 1A.
 */
#define GONE "[\\x80-\\x84\\x86-\\x9f\\xa1-\\xbf]"
#define NEXT "[\\x80-\\xbf]"
static const char altered_pattern[] =
    "[\\xc2\\xc3\\xc5\\xce\\xd0\\xd9][ ]|[\\xe2\\xe3][ ]" GONE "|[\\xe0-\\xe3]" GONE "[ ]"
    "|\\xf0[ ]" NEXT NEXT "|\\xf0" NEXT "[ ]" NEXT "|\\xf0" NEXT NEXT "[ ]";
static const char grave_pattern[] = "\\xc3 (?! |quele|quela|quilo|s )";
#define LOST "[\\x1a?]"
#define SOME "[\\x1a\\x80-\\xbf]"
static const char lossy_pattern[] =
    "[\\xc2-\\xdf]\\x1a|[\\xc2\\xc3][?]"
    "|\\xed[\\xa0-\\xaf]" LOST
    "\\xed[\\xb0-\\xbf][\\x1a?\\x80-\\xbf]|\\xed[\\xa0-\\xaf][\\x1a?\\x80-\\xbf]\\xed[\\xb0-\\xbf]" LOST
    "|[\\xe0-\\xef]" LOST SOME "|[\\xe0-\\xef]" SOME LOST "|[\\xf0-\\xf4]" LOST SOME SOME
    "|[\\xf0-\\xf4]" SOME LOST SOME "|[\\xf0-\\xf4]" SOME SOME LOST "|\\x1a";

typedef enum which { BAD_TEXT, WITHIN, ALTERED, GRAVE, LOSSY, PATTERNS } which;
static pcre2_code *code[PATTERNS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void compile(void)
{
    const char *const pattern[PATTERNS] = {bad_pattern, within_pattern, altered_pattern, grave_pattern, lossy_pattern};
    for (int i = 0; i < PATTERNS; i++) {
        int error;
        PCRE2_SIZE at;
        uint32_t options = i < ALTERED ? PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK : 0;
        code[i] = pcre2_compile((PCRE2_SPTR)pattern[i], PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
        if (code[i]) pcre2_jit_compile(code[i], PCRE2_JIT_COMPLETE); /* where it cannot, it is interpreted */
    }
}

/* The first match in text from byte `from` on; 1 found, 0 none, -1 out of memory. */
static int search(which what, wr_text text, size_t from, size_t *begin, size_t *end)
{
    pthread_once(&once, compile);
    pcre2_match_data *data = code[what] ? pcre2_match_data_create(1, NULL) : NULL;
    if (!data) return -1;
    uint32_t options = what < ALTERED ? PCRE2_NO_UTF_CHECK : 0;
    int found = pcre2_match(code[what], (PCRE2_SPTR)text.bytes, text.n, from, options, data, NULL);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code[what], (PCRE2_SPTR)text.bytes, text.n, from, options | PCRE2_NO_JIT, data, NULL);
    if (found >= 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
        *begin = at[0], *end = at[1];
    }
    pcre2_match_data_free(data);
    return found == PCRE2_ERROR_NOMEMORY ? -1 : found >= 0;
}

/* Whether the text has a character that a bad sequence could be made of. What begins with E3..ED or F0..F4, scripts of
 * East Asia and emoji, is in none, so texts of these are not searched. */
static bool may_be_bad(wr_text text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.bytes[i];
        if ((c >= 0xc2 && c <= 0xe2) || c == 0xee || c == 0xef) return true;
    }
    return false;
}

static wr_status is_bad(wr_text text, bool *bad)
{
    size_t begin, end;
    int found = !may_be_bad(text) ? 0 : search(BAD_TEXT, text, 0, &begin, &end);
    *bad = found > 0;
    return found < 0 ? WR_ENOMEM : WR_OK;
}

uint32_t wr_repair_windows_1252(uint8_t byte)
{
    return byte < 0x80 ? byte : encodings[WINDOWS_1252].high[byte - 0x80];
}

/* ---- one encoding */

static bool byte_of(const struct encoding *e, uint32_t cp, char *byte)
{
    if (cp < 0x80) {
        *byte = (char)cp;
        return cp != 0x1a || !e->sloppy;
    }
    if (cp == 0xfffd && e->sloppy) return *byte = 0x1a, true;
    for (size_t i = 0; i < 128; i++)
        if (e->high[i] == cp) return *byte = (char)(0x80 + i), true;
    return false;
}

static bool encode(const struct encoding *e, wr_text text, char *out, size_t *n)
{
    *n = 0;
    for (size_t at = 0, len; at < text.n; at += len)
        if (!byte_of(e, wr_utf8_decode(text.bytes + at, text.n - at, &len), &out[(*n)++])) return false;
    return true;
}

/* Replaces every match: spaces in it by A0 (with NULL), or all of it. */
static wr_status replace(which what, wr_text *text, const char *with, wr_arena *arena)
{
    size_t begin, end, from = 0, n = 0, size = with ? strlen(with) : 0;
    int found = search(what, *text, 0, &begin, &end);
    if (found <= 0) return found ? WR_ENOMEM : WR_OK;
    char *out = wr_arena_alloc(arena, 3 * text->n + 1); /* the longest: one byte 1A becomes three */
    if (!out) return WR_ENOMEM;
    for (; found > 0; found = search(what, *text, from, &begin, &end)) {
        memcpy(out + n, text->bytes + from, begin - from), n += begin - from;
        if (with) memcpy(out + n, with, size), n += size;
        for (size_t i = begin; !with && i < end; i++) out[n++] = text->bytes[i] == ' ' ? (char)0xa0 : text->bytes[i];
        from = end;
    }
    memcpy(out + n, text->bytes + from, text->n - from);
    *text = (wr_text){out, n + text->n - from};
    return found < 0 ? WR_ENOMEM : WR_OK;
}

/* A pair of surrogates as six bytes (CESU-8); 0 when there is none. */
static uint32_t surrogates(const unsigned char *s, size_t n)
{
    if (n < 6 || s[0] != 0xed || (s[1] & 0xf0) != 0xa0 || (s[2] & 0xc0) != 0x80) return 0;
    if (s[3] != 0xed || (s[4] & 0xf0) != 0xb0 || (s[5] & 0xc0) != 0x80) return 0;
    uint32_t high = (s[1] & 0xfu) << 6 | (s[2] & 0x3fu), low = (s[4] & 0xfu) << 6 | (s[5] & 0x3fu);
    return 0x10000 + (high << 10 | low);
}

/* UTF-8 with Java's and Oracle's variants; false when it is not. */
static bool decode(wr_text bytes, char *out, size_t *n)
{
    *n = 0;
    for (size_t at = 0, len; at < bytes.n; at += len) {
        const unsigned char *s = (const unsigned char *)bytes.bytes + at;
        uint32_t cp = wr_utf8_decode(bytes.bytes + at, bytes.n - at, &len), pair;
        if (cp == 0xfffd && !(len == 3 && s[0] == 0xef && s[1] == 0xbf && s[2] == 0xbd)) {
            if ((pair = surrogates(s, bytes.n - at)))
                cp = pair, len = 6;
            else if (s[0] == 0xc0 && at + 1 < bytes.n && s[1] == 0x80)
                cp = 0, len = 2;
            else
                return false;
        }
        *n += wr_utf8_encode(cp, out + *n);
    }
    return true;
}

/* mended: *text was mojibake of this encoding, and is what it was before now. */
static wr_status undo(size_t which_one, wr_text *text, bool *mended, wr_arena *arena)
{
    const struct encoding *e = &encodings[which_one];
    size_t n, begin, end;
    wr_status st = WR_OK;
    char *bytes = wr_arena_alloc(arena, text->n + 1);
    *mended = false;
    if (!bytes) return WR_ENOMEM;
    if (!encode(e, *text, bytes, &n)) return WR_OK;
    wr_text now = {bytes, n};
    int found = which_one == MACROMAN ? 0 : search(ALTERED, now, 0, &begin, &end);
    if (found < 0) return WR_ENOMEM;
    if (found) st = replace(GRAVE, &now, "\xc3\xa0 ", arena);
    if (!st && found) st = replace(ALTERED, &now, NULL, arena);
    if (!st && e->sloppy) st = replace(LOSSY, &now, "\xef\xbf\xbd", arena);
    char *out = st ? NULL : wr_arena_alloc(arena, 2 * now.n + 4);
    if (!out) return WR_ENOMEM;
    if ((*mended = decode(now, out, &n))) *text = (wr_text){out, n};
    return WR_OK;
}

/* ---- steps */

enum { STEPS = 32, NESTED = 8 }; /* beyond any text's real history; ftfy has no bound */

static wr_status fix(wr_text *text, int depth, wr_arena *arena);

/* Mojibake inside a text that as a whole is none: each stretch that looks like it by itself. */
static wr_status fix_within(wr_text *text, int depth, wr_arena *arena)
{
    size_t begin, end, from = 0, n = 0, cap = text->n;
    int found = search(WITHIN, *text, 0, &begin, &end);
    if (found <= 0) return found ? WR_ENOMEM : WR_OK;
    char *out = wr_arena_alloc(arena, 2 * cap + 64);
    cap = 2 * cap + 64;
    for (; out && found > 0; found = search(WITHIN, *text, from, &begin, &end)) {
        wr_text part = {text->bytes + begin, end - begin};
        bool bad = false;
        wr_status st = part.n < text->n ? is_bad(part, &bad) : WR_OK;
        if (!st && bad && depth < NESTED) st = fix(&part, depth + 1, arena);
        if (st || begin - from + part.n > cap - n) return WR_ENOMEM;
        memcpy(out + n, text->bytes + from, begin - from), n += begin - from;
        memcpy(out + n, part.bytes, part.n), n += part.n;
        from = end;
    }
    if (!out || found < 0 || text->n - from > cap - n) return WR_ENOMEM;
    memcpy(out + n, text->bytes + from, text->n - from);
    *text = (wr_text){out, n + text->n - from};
    return WR_OK;
}

/* C1 controls are the characters that Windows-1252 has there. */
static wr_status fix_controls(wr_text *text, wr_arena *arena)
{
    char *out = wr_arena_alloc(arena, 2 * text->n + 4);
    size_t n = 0;
    if (!out) return WR_ENOMEM;
    for (size_t at = 0, len; at < text->n; at += len) {
        uint32_t cp = wr_utf8_decode(text->bytes + at, text->n - at, &len);
        n += wr_utf8_encode(cp >= 0x80 && cp < 0xa0 ? wr_repair_windows_1252((uint8_t)cp) : cp, out + n);
    }
    *text = (wr_text){out, n};
    return WR_OK;
}

static wr_status step(wr_text *text, int depth, wr_arena *arena)
{
    bool bad, mended = false;
    wr_status st = is_bad(*text, &bad);
    if (st || !bad) return st;
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        st = undo(i, text, &mended, arena);
        if (st || mended) return st;
    }
    wr_text before = *text;
    if ((st = fix_within(text, depth, arena))) return st;
    if (text->n != before.n || memcmp(text->bytes, before.bytes, before.n)) return WR_OK;
    return fix_controls(text, arena);
}

static wr_status fix(wr_text *text, int depth, wr_arena *arena)
{
    for (int i = 0; i < STEPS; i++) {
        wr_text before = *text;
        wr_status st = step(text, depth, arena);
        if (st) return st;
        if (text->n == before.n && (text->bytes == before.bytes || !memcmp(text->bytes, before.bytes, before.n))) break;
    }
    return WR_OK;
}

wr_status wr_repair_encoding(uint32_t **s, size_t *n, wr_arena *arena)
{
    size_t i = 0, size = 0;
    while (i < *n && (*s)[i] < 0x80) i++;
    if (i == *n) return WR_OK;
    char *bytes = wr_arena_alloc(arena, 4 * *n);
    if (!bytes) return WR_ENOMEM;
    for (i = 0; i < *n; i++) size += wr_utf8_encode((*s)[i], bytes + size);
    wr_text text = {bytes, size};
    wr_status st = fix(&text, 0, arena);
    if (st || text.bytes == bytes) return st;
    uint32_t *out = wr_arena_alloc(arena, (text.n + 1) * sizeof *out);
    if (!out) return WR_ENOMEM;
    *n = 0;
    for (size_t at = 0, len; at < text.n; at += len) out[(*n)++] = wr_utf8_decode(text.bytes + at, text.n - at, &len);
    *s = out;
    return WR_OK;
}
