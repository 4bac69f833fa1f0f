#include "models/added.h"

#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "models/unicode.h"

static bool word_before(const char *text, size_t at)
{
    size_t start = at, len;
    do start--;
    while (start && at - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80);
    uint32_t cp = wr_utf8_decode(text + start, at - start, &len);
    return wr_unicode_is_word(start + len == at ? cp : 0xFFFD);
}

static bool word_at(const char *text, size_t n, size_t at)
{
    size_t len;
    return wr_unicode_is_word(wr_utf8_decode(text + at, n - at, &len));
}

/* The first of token[lo..hi), which agree in their first `depth` bytes, that has c or more behind these. */
static uint32_t bound(const wr_added_set *set, uint32_t lo, uint32_t hi, size_t depth, int c)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const wr_added *token = set->token[mid];
        if (token->n == depth || (unsigned char)token->text[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const wr_added *wr_added_at(const wr_added_set *set, const char *text, size_t n, size_t at, bool *stands)
{
    unsigned char first = (unsigned char)text[at];
    uint32_t lo = set->begin[first], hi = set->begin[first + 1];
    const wr_added *longest = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        if (set->token[lo]->n == depth) longest = set->token[lo]; /* the shortest stands first */
        if (at + depth == n) break;
        int c = (unsigned char)text[at + depth];
        lo = bound(set, lo, hi, depth, c);
        hi = bound(set, lo, hi, depth, c + 1);
    }
    if (!longest) return NULL;
    size_t end = at + longest->n;
    *stands = !longest->single_word || ((at == 0 || !word_before(text, at)) && (end == n || !word_at(text, n, end)));
    return longest;
}

static size_t skip_spaces(const char *text, size_t n, size_t at)
{
    for (size_t len; at < n && wr_unicode_is_space(wr_utf8_decode(text + at, n - at, &len)); at += len) continue;
    return at;
}

static size_t skip_spaces_back(const char *text, size_t from, size_t at)
{
    while (at > from) {
        size_t start = at - 1, len;
        while (start > from && at - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80) start--;
        uint32_t cp = wr_utf8_decode(text + start, at - start, &len);
        if (start + len != at || !wr_unicode_is_space(cp)) break;
        at = start;
    }
    return at;
}

size_t wr_added_after(const wr_added *token, const char *text, size_t n, size_t end, size_t done)
{
    return token->rstrip ? skip_spaces(text, n, end > done ? end : done) : end;
}

bool wr_added_next(const wr_added_set *set, const char *text, size_t n, wr_added_walk *walk, wr_added_piece *piece)
{
    size_t i = walk->at, done = walk->done;
    if (walk->over) return false;
    while (i < n) {
        unsigned char first = (unsigned char)text[i];
        bool stands;
        const wr_added *token =
            set->begin[first] < set->begin[first + 1] ? wr_added_at(set, text, n, i, &stands) : NULL;
        size_t end = i + (token ? token->n : 1);
        if (token && stands) {
            size_t start = token->lstrip ? skip_spaces_back(text, done < i ? done : i, i) : i;
            size_t stop = wr_added_after(token, text, n, end, done);
            *piece = (wr_added_piece){done, start > done ? start - done : 0, token, i};
            if (token->lstrip && done >= stop) piece->token = NULL;
            *walk = (wr_added_walk){end, stop, false};
            return true;
        }
        i = end;
    }
    *piece = (wr_added_piece){done, n > done ? n - done : 0, NULL, n};
    walk->over = true;
    return true;
}

/* By bytes, so that a prefix stands before what is longer; equal ones by order. */
static int by_bytes(const void *a, const void *b)
{
    const wr_added *x = *(const wr_added *const *)a, *y = *(const wr_added *const *)b;
    int sign = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    if (sign) return sign;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

wr_status wr_added_collect(wr_added_set *set, const wr_added *added, size_t n, bool normalized)
{
    set->token = malloc((n + 1) * sizeof *set->token);
    if (!set->token) return WR_ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (added[i].normalized == normalized && added[i].n) set->token[set->n++] = &added[i];
    qsort(set->token, set->n, sizeof *set->token, by_bytes);
    size_t kept = 0, at = 0; /* of equal ones only the first is ever found */
    for (size_t i = 0; i < set->n; i++) {
        const wr_added *last = kept ? set->token[kept - 1] : NULL, *this = set->token[i];
        if (!last || last->n != this->n || memcmp(last->text, this->text, this->n)) set->token[kept++] = this;
    }
    set->n = kept;
    for (unsigned b = 0; b < 257; b++) {
        while (at < set->n && (unsigned char)set->token[at]->text[0] < b) at++;
        set->begin[b] = (uint32_t)at;
    }
    return WR_OK;
}

void wr_added_release(wr_added_set *set)
{
    free(set->token);
    *set = (wr_added_set){0};
}
