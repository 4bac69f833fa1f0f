#include "ranker/listwise.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- windows and permutations */

size_t wr_windows(size_t n, size_t start, size_t window, size_t stride, wr_window *out, size_t cap)
{
    assert(window && stride && stride <= window);
    size_t count = 0;
    for (size_t end = n; end > start; end -= stride) {
        wr_window now = {end - start > window ? end - window : start, end};
        if (count < cap) out[count] = now;
        count++;
        if (now.start == start) break;
    }
    return count;
}

static bool ranked(float logit)
{
    return !isnan(logit) && logit > -INFINITY;
}

/* Insertion sort: 26 elements at most, and stable. */
void wr_listwise_order(const float *logit, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at && ranked(logit[i]); at--) {
            float before = logit[order[at - 1]];
            if (ranked(before) && before >= logit[i]) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

void wr_listwise_parse(wr_text reply, size_t n, size_t *order)
{
    bool named[WR_WINDOW_MAX] = {false};
    size_t count = 0;
    assert(n <= WR_WINDOW_MAX);
    for (size_t i = 0; i < reply.n; i++) {
        size_t letter = (size_t)(unsigned char)reply.bytes[i] - 'A';
        if (letter >= n || named[letter]) continue;
        named[letter] = true;
        order[count++] = letter;
    }
    for (size_t i = 0; i < n; i++)
        if (!named[i]) order[count++] = i;
}

void wr_listwise_apply(const size_t *order, size_t n, uint32_t *item)
{
    uint32_t before[WR_WINDOW_MAX];
    assert(n <= WR_WINDOW_MAX);
    if (!n) return;
    memcpy(before, item, n * sizeof *before);
    for (size_t i = 0; i < n; i++) item[i] = before[order[i]];
}

/* ---- letters */

void wr_letters_read(const wr_letters *letters, const float *out, size_t n, float *logit)
{
    assert(n <= letters->n);
    for (size_t i = 0; i < n; i++) {
        logit[i] = -INFINITY;
        for (size_t j = letters->first[i]; j < letters->first[i + 1]; j++)
            if (out[j] > logit[i]) logit[i] = out[j];
    }
}

enum { TOP = 30 };

void wr_letters_read_top30(const wr_letters *letters, const float *all, size_t vocab, size_t n, float *logit)
{
    size_t top[TOP], count = 0;
    assert(n <= letters->n);
    for (size_t id = 0; id < vocab; id++) {
        if (isnan(all[id]) || (count == TOP && all[id] <= all[top[TOP - 1]])) continue;
        size_t at = count < TOP ? count++ : TOP - 1;
        for (; at && all[top[at - 1]] < all[id]; at--) top[at] = top[at - 1];
        top[at] = id;
    }
    for (size_t i = 0; i < n; i++) {
        logit[i] = -INFINITY;
        for (size_t j = letters->first[i]; j < letters->first[i + 1]; j++)
            for (size_t t = 0; t < count; t++)
                if (top[t] == letters->row[j] && all[top[t]] > logit[i]) logit[i] = all[top[t]];
    }
}
