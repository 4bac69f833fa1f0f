#include "indexer/vectors.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels.h"

static const char magic[8] = "WRVECTOR";
#define VERSION 1
#define METRIC_INNER_PRODUCT 0

struct header {
    uint32_t dim, metric;
    uint64_t count;
    unsigned char zero[16];
};
_Static_assert(sizeof(struct header) == 32, "row 0 stands at byte 64 of the file");

/* ---- writing ---- */

struct wr_vectors_writer {
    wr_file *file;
    char *path;
    size_t dim;
    uint64_t count;
};

static void writer_free(wr_vectors_writer *w)
{
    free(w->path);
    free(w);
}

wr_status wr_vectors_writer_open(wr_vectors_writer **writer, const char *path, size_t dim, wr_err *err)
{
    *writer = NULL;
    if (dim < 1 || dim > WR_MAX_DIM)
        return wr_fail(err, WR_EARG, "%s: vectors of %zu components, expected 1 to %d", path, dim, WR_MAX_DIM);
    wr_vectors_writer *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    w->dim = dim;
    wr_status st = wr_file_create(&w->file, path, magic, VERSION, err);
    if (st) {
        writer_free(w);
        return st;
    }
    wr_file_write(w->file, &(struct header){0}, sizeof(struct header));
    *writer = w;
    return WR_OK;
}

/* A row's number, or n when all are finite. */
static size_t first_not_finite(const float *row, size_t n, size_t dim)
{
    for (size_t i = 0; i < n * dim; i++)
        if (!isfinite(row[i])) return i / dim;
    return n;
}

wr_status wr_vectors_writer_add(wr_vectors_writer *w, const float *rows, size_t n, wr_err *err)
{
    size_t bad = first_not_finite(rows, n, w->dim);
    if (bad < n)
        return wr_fail(err, WR_EFORMAT, "%s: the vector of passage %" PRIu64 " is not finite", w->path, w->count + bad);
    if (n > UINT32_MAX - w->count) return wr_fail(err, WR_EFULL, "%s: more than %u vectors", w->path, UINT32_MAX);
    w->count += n;
    wr_file_write(w->file, rows, n * w->dim * sizeof *rows); /* a failure is told by the commit */
    return WR_OK;
}

wr_status wr_vectors_writer_commit(wr_vectors_writer *w, wr_err *err)
{
    struct header h = {.dim = (uint32_t)w->dim, .metric = METRIC_INNER_PRODUCT, .count = w->count};
    wr_file_rewrite(w->file, 0, &h, sizeof h);
    wr_status st = wr_file_commit(w->file, err);
    writer_free(w);
    return st;
}

void wr_vectors_writer_abort(wr_vectors_writer *w)
{
    if (!w) return;
    wr_file_abort(w->file);
    writer_free(w);
}

/* ---- reading ---- */

static wr_status check(const struct header *h, size_t payload, const char *path, wr_err *err)
{
    if (h->dim < 1 || h->dim > WR_MAX_DIM)
        return wr_fail(err, WR_EFORMAT, "%s: vectors of %" PRIu32 " components, expected 1 to %d", path, h->dim,
                       WR_MAX_DIM);
    if (h->metric != METRIC_INNER_PRODUCT)
        return wr_fail(err, WR_EFORMAT, "%s: metric %" PRIu32 ", expected 0 (inner product)", path, h->metric);
    uint64_t row = h->dim * sizeof(float), room = payload - sizeof *h;
    if (h->count > UINT32_MAX || room / row != h->count || room % row)
        return wr_fail(err, WR_EFORMAT,
                       "%s: %" PRIu64 " vectors of %" PRIu32 " components do not fill %" PRIu64 " bytes", path,
                       h->count, h->dim, room);
    return WR_OK;
}

wr_status wr_vectors_open(wr_vectors *v, const char *path, wr_err *err)
{
    const unsigned char *payload;
    size_t size;
    struct header h;
    *v = (wr_vectors){0};
    wr_status st = wr_map_open_checked(&v->map, path, magic, VERSION, &payload, &size, err);
    if (st) return st;
    if (size < sizeof h) {
        wr_vectors_close(v);
        return wr_fail(err, WR_EFORMAT, "%s: %zu bytes of payload, expected at least %zu", path, size, sizeof h);
    }
    memcpy(&h, payload, sizeof h);
    if ((st = check(&h, size, path, err))) {
        wr_vectors_close(v);
        return st;
    }
    v->row = (const float *)(const void *)(payload + sizeof h);
    v->dim = h.dim;
    v->count = h.count;
    return WR_OK;
}

void wr_vectors_close(wr_vectors *v)
{
    wr_map_close(&v->map);
    *v = (wr_vectors){0};
}

wr_status wr_vectors_verify(const wr_vectors *v, const char *path, wr_err *err)
{
    size_t bad = first_not_finite(v->row, v->count, v->dim);
    if (bad == v->count) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: the vector of passage %zu is not finite", path, bad);
}

/* ---- the scan ---- */

/* Rows scored at a time: their scores stay in the first-level cache, and at 384 components a block is 0.4 MB, some
 * 30 microseconds of work between two looks at the clock. */
#define BLOCK_ROWS 256

/* A lane is a range of rows with a heap of its own; fewer rows than this are not worth a second thread (waking one
 * costs about as much as scanning them). */
#define LANE_ROWS 2048

/* More lanes than threads, so that a thread that was held up does not hold up the answer. */
#define LANES_PER_THREAD 4

typedef struct lane {
    wr_topk top;
    uint64_t seen;
    bool partial;
} lane;

typedef struct scan {
    const wr_vectors *vectors;
    const float *query;
    const uint32_t *exclude;
    size_t nexclude;
    const wr_budget *budget;
    lane *lanes;
    size_t nlanes;
} scan;

/* First of exclude[0..n) that is >= docid. */
static size_t lower_bound(const uint32_t *exclude, size_t n, uint64_t docid)
{
    size_t lo = 0;
    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;
        if (exclude[mid] < docid)
            lo = mid + 1;
        else
            n = mid;
    }
    return lo;
}

static void scan_block(const scan *s, lane *l, uint64_t from, size_t rows, size_t *excluded)
{
    const wr_vectors *v = s->vectors;
    float score[BLOCK_ROWS];
    wr_kernels_get()->dots_f32(v->row + from * v->dim, rows, v->dim, s->query, score);
    float threshold = wr_topk_threshold(&l->top);
    for (size_t i = 0; i < rows; i++) {
        uint32_t docid = (uint32_t)(from + i);
        while (*excluded < s->nexclude && s->exclude[*excluded] < docid) ++*excluded;
        if (*excluded < s->nexclude && s->exclude[*excluded] == docid) continue;
        l->seen++;
        /* Not above the threshold: a NaN, or a tie, which a later docid loses. */
        if (!(score[i] > threshold) || isinf(score[i])) continue;
        wr_topk_push(&l->top, docid, score[i]);
        threshold = wr_topk_threshold(&l->top);
    }
}

static void scan_lane(void *arg, size_t number)
{
    const scan *s = arg;
    lane *l = &s->lanes[number];
    uint64_t from = s->vectors->count * number / s->nlanes, to = s->vectors->count * (number + 1) / s->nlanes;
    size_t excluded = lower_bound(s->exclude, s->nexclude, from);
    for (; from < to; from += BLOCK_ROWS) {
        if (wr_budget_spent(s->budget)) {
            l->partial = true;
            return;
        }
        scan_block(s, l, from, to - from < BLOCK_ROWS ? (size_t)(to - from) : BLOCK_ROWS, &excluded);
    }
}

static wr_status topk_alloc(wr_topk *top, size_t k, wr_arena *arena)
{
    uint32_t *docid = wr_arena_alloc(arena, k * sizeof *docid);
    float *score = wr_arena_alloc(arena, k * sizeof *score);
    if (!docid || !score) return WR_ENOMEM;
    wr_topk_init(top, k, docid, score);
    return WR_OK;
}

static void take(wr_hits *hits, wr_topk *top)
{
    *hits = (wr_hits){.docid = top->docid, .score = top->score, .n = wr_topk_sort(top)};
}

wr_status wr_vectors_scan(const wr_vectors *v, const float *query, size_t k, const uint32_t *exclude, size_t nexclude,
                          const wr_budget *budget, wr_pool *pool, wr_arena *arena, wr_hits *hits)
{
    *hits = (wr_hits){0};
    if (k > v->count) k = (size_t)v->count;
    if (k == 0) return WR_OK;
    size_t nlanes = wr_pool_threads(pool) < 2 ? 1 : wr_pool_threads(pool) * LANES_PER_THREAD;
    if (nlanes > v->count / LANE_ROWS) nlanes = v->count / LANE_ROWS ? (size_t)(v->count / LANE_ROWS) : 1;
    scan s = {v, query, exclude, nexclude, budget, NULL, nlanes};
    wr_topk all;
    if (topk_alloc(&all, k, arena) || !(s.lanes = wr_arena_calloc(arena, nlanes, sizeof *s.lanes))) return WR_ENOMEM;
    for (size_t i = 0; i < nlanes; i++)
        if (topk_alloc(&s.lanes[i].top, k, arena)) return WR_ENOMEM;
    wr_pool_for(pool, nlanes, scan_lane, &s);
    uint64_t seen = 0;
    bool partial = false;
    for (size_t i = 0; i < nlanes; i++) {
        const wr_topk *top = &s.lanes[i].top;
        for (size_t j = 0; j < top->n; j++) wr_topk_push(&all, top->docid[j], top->score[j]);
        seen += s.lanes[i].seen;
        partial |= s.lanes[i].partial;
    }
    take(hits, &all);
    hits->seen = seen;
    hits->partial = partial;
    return WR_OK;
}

wr_status wr_vectors_rescore(const wr_vectors *v, const float *query, const uint32_t *docid, size_t n, size_t k,
                             wr_arena *arena, wr_hits *hits)
{
    wr_topk top;
    *hits = (wr_hits){0};
    if (k > n) k = n;
    if (k == 0) return WR_OK;
    if (topk_alloc(&top, k, arena)) return WR_ENOMEM;
    const wr_kernels *kernels = wr_kernels_get();
    for (size_t i = 0; i < n; i++) {
        float score = kernels->dot_f32(v->row + (size_t)docid[i] * v->dim, query, v->dim);
        if (isfinite(score)) wr_topk_push(&top, docid[i], score);
    }
    take(hits, &top);
    hits->seen = n;
    return WR_OK;
}
