#include "models/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/unicode.h"

static char *copy_of(wr_text text)
{
    char *copy = malloc(text.n + 1);
    if (!copy) return NULL;
    if (text.n) memcpy(copy, text.bytes, text.n);
    copy[text.n] = 0;
    return copy;
}

wr_status wr_normal_add(wr_normal *normal, wr_normal_kind kind, wr_text from, wr_text to)
{
    wr_normal_step *bigger = realloc(normal->step, (normal->n + 1) * sizeof *bigger);
    if (!bigger) return WR_ENOMEM;
    normal->step = bigger;
    wr_normal_step *step = &bigger[normal->n++];
    *step = (wr_normal_step){kind, copy_of(from), from.n, copy_of(to), to.n};
    return step->from && step->to ? WR_OK : WR_ENOMEM;
}

void wr_normal_release(wr_normal *normal)
{
    for (size_t i = 0; i < normal->n; i++) {
        free(normal->step[i].from);
        free(normal->step[i].to);
    }
    free(normal->step);
    *normal = (wr_normal){0};
}

/* ---- one step's result, growing in the arena */

typedef struct page {
    wr_arena *arena;
    char *bytes;
    size_t *origin; /* NULL: not asked for */
    size_t n, cap;
    bool trace;
} page;

static wr_status reserve(page *p, size_t more)
{
    if (more <= p->cap - p->n) return WR_OK;
    if (more > SIZE_MAX / 4 - p->cap) return WR_ENOMEM;
    size_t cap = 2 * p->cap + more + 64;
    char *bytes = wr_arena_alloc(p->arena, cap);
    size_t *origin = p->trace ? wr_arena_alloc(p->arena, cap * sizeof *origin) : NULL;
    if (!bytes || (p->trace && !origin)) return WR_ENOMEM;
    if (p->n) memcpy(bytes, p->bytes, p->n);
    if (p->n && origin) memcpy(origin, p->origin, p->n * sizeof *origin);
    p->bytes = bytes, p->origin = origin, p->cap = cap;
    return WR_OK;
}

/* Bytes that all came from one place. */
static wr_status put(page *p, const char *s, size_t n, size_t from)
{
    if (reserve(p, n)) return WR_ENOMEM;
    if (n) memcpy(p->bytes + p->n, s, n);
    for (size_t i = 0; p->trace && i < n; i++) p->origin[p->n + i] = from;
    p->n += n;
    return WR_OK;
}

/* Bytes that stay as they were. */
static wr_status keep(page *p, const char *s, size_t n, size_t from)
{
    if (reserve(p, n)) return WR_ENOMEM;
    if (n) memcpy(p->bytes + p->n, s, n);
    for (size_t i = 0; p->trace && i < n; i++)
        p->origin[p->n + i] = ((unsigned char)s[i] & 0xC0) == 0x80 ? p->origin[p->n + i - 1] : from + i;
    p->n += n;
    return WR_OK;
}

/* ---- Replace */

static wr_status replace(const wr_normal_step *step, wr_text text, page *to)
{
    size_t done = 0;
    for (const char *at; done < text.n; done = (size_t)(at - text.bytes) + step->from_n) {
        at = memmem(text.bytes + done, text.n - done, step->from, step->from_n);
        size_t place = at ? (size_t)(at - text.bytes) : text.n;
        if (keep(to, text.bytes + done, place - done, done)) return WR_ENOMEM;
        if (!at) return WR_OK;
        if (put(to, step->to, step->to_n, place)) return WR_ENOMEM;
    }
    return WR_OK;
}

/* ---- NFC (UAX 15): decompose, order the marks, compose */

/* Characters that nothing in front of them joins with, so that composition can begin afresh: what follows them may. */
static bool begins(uint32_t cp)
{
    return cp < 0x300 || (cp >= 0x370 && cp < 0x483) || (cp >= 0x1E00 && cp < 0x20D0) || (cp >= 0x3400 && cp < 0xA66F) ||
           (cp >= 0xAC00 && cp < 0xD7A4);
}

/* Those of them that are themselves already. */
static bool settled(uint32_t cp)
{
    return cp < 0x300 || (cp >= 0x400 && cp < 0x483) || (cp >= 0x2010 && cp < 0x20D0) || (cp >= 0x3400 && cp < 0xA66F) ||
           (cp >= 0xAC00 && cp < 0xD7A4);
}

typedef struct mark {
    uint32_t cp;
    unsigned order;
    size_t at;
} mark;

static int by_order(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Marks that follow each other stand by their class, equal ones as they were. */
static void order_marks(mark *m, size_t n)
{
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; m[i].order && end < n && m[end].order; end++) continue;
        if (end - i > 1) qsort(m + i, end - i, sizeof *m, by_order);
    }
}

/* Starters and marks of one segment, composed in place (UAX 15, D117). Returns how many are left. */
static size_t compose(mark *m, size_t n)
{
    size_t kept = 0, starter = SIZE_MAX;
    unsigned last = 0; /* class of what was kept behind the starter; 0: nothing was */
    for (size_t i = 0; i < n; i++) {
        bool free_way = starter != SIZE_MAX && (starter + 1 == kept || last < m[i].order);
        uint32_t both = free_way ? wr_unicode_compose(m[starter].cp, m[i].cp) : 0;
        if (both) {
            m[starter].cp = both;
            continue;
        }
        if (!m[i].order) starter = kept;
        last = m[i].order;
        m[kept++] = m[i];
    }
    return kept;
}

static wr_status segment(page *to, const char *s, size_t n, size_t from)
{
    size_t count = 0, mark_at = wr_arena_mark(to->arena);
    if (n > SIZE_MAX / 2 / sizeof(mark) / WR_NFD_MAX) return WR_ENOMEM;
    char *out = wr_arena_alloc(to->arena, 4 * WR_NFD_MAX * n); /* a character takes a byte at least, four at most */
    mark *m = wr_arena_alloc(to->arena, WR_NFD_MAX * n * sizeof *m);
    if (!m || !out) return WR_ENOMEM;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t part[WR_NFD_MAX];
        size_t parts = wr_unicode_nfd(wr_utf8_decode(s + i, n - i, &len), part);
        for (size_t j = 0; j < parts; j++, count++) m[count] = (mark){part[j], wr_unicode_order(part[j]), count};
    }
    order_marks(m, count);
    count = compose(m, count);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += wr_utf8_encode(m[i].cp, out + bytes);
    if (bytes <= to->cap - to->n) {
        put(to, out, bytes, from);
        wr_arena_rollback(to->arena, mark_at);
        return WR_OK;
    }
    return put(to, out, bytes, from);
}

/* Characters that stay as they are from i on; *i is left at the first that may change, or at the end. */
static void pass_settled(wr_text text, size_t *i)
{
    size_t last = *i; /* the beginning of the character before: it may change by what follows */
    for (size_t at = *i, len; at < text.n; at += len) {
        unsigned char c = (unsigned char)text.bytes[at];
        len = 1;
        uint32_t cp = c < 0x80 ? c : wr_utf8_decode(text.bytes + at, text.n - at, &len);
        if (!settled(cp)) {
            *i = begins(cp) ? at : last;
            return;
        }
        last = at;
    }
    *i = text.n;
}

static wr_status nfc(wr_text text, page *to)
{
    for (size_t i = 0; i < text.n;) {
        size_t start = i, end;
        pass_settled(text, &i);
        if (keep(to, text.bytes + start, i - start, start)) return WR_ENOMEM;
        if (i == text.n) break;
        size_t len;
        wr_utf8_decode(text.bytes + i, text.n - i, &len);
        for (end = i + len; end < text.n; end += len)
            if (begins(wr_utf8_decode(text.bytes + end, text.n - end, &len))) break;
        if (segment(to, text.bytes + i, end - i, i)) return WR_ENOMEM;
        i = end;
    }
    return WR_OK;
}

/* ---- all steps */

static bool nothing_to_do(const wr_normal_step *step, wr_text text)
{
    size_t i = 0;
    if (!text.n) return true;
    switch (step->kind) {
    case WR_NORMAL_REPLACE:
        return !memmem(text.bytes, text.n, step->from, step->from_n);
    case WR_NORMAL_NFC:
        pass_settled(text, &i);
        return i == text.n;
    default:
        return !step->to_n;
    }
}

static wr_status run(const wr_normal_step *step, wr_text text, page *to)
{
    if (reserve(to, text.n + step->to_n)) return WR_ENOMEM;
    if (step->kind == WR_NORMAL_REPLACE) return replace(step, text, to);
    if (step->kind == WR_NORMAL_NFC) return nfc(text, to);
    return put(to, step->to, step->to_n, 0) || keep(to, text.bytes, text.n, 0) ? WR_ENOMEM : WR_OK;
}

wr_status wr_normalize(const wr_normal *normal, wr_text text, wr_arena *arena, wr_text *out, size_t **origin)
{
    size_t *before = NULL;
    for (size_t i = 0; i < normal->n; i++) {
        page to = {.arena = arena, .trace = origin != NULL};
        if (nothing_to_do(&normal->step[i], text)) continue;
        wr_status st = run(&normal->step[i], text, &to);
        if (st) return st;
        for (size_t j = 0; before && j < to.n; j++) to.origin[j] = before[to.origin[j]];
        before = to.origin;
        text = (wr_text){to.bytes, to.n};
    }
    *out = text;
    if (origin) *origin = before;
    return WR_OK;
}
