#include "indexer/sparse_runs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t wr_sparse_varint(uint64_t x, unsigned char out[10])
{
    size_t n = 0;
    while (x >= 0x80) {
        out[n++] = (unsigned char)(x | 0x80);
        x >>= 7;
    }
    out[n++] = (unsigned char)x;
    return n;
}

size_t wr_sparse_posting(uint64_t delta, uint32_t tf, unsigned char out[20])
{
    if (tf == 1) return wr_sparse_varint(delta << 1 | 1, out);
    size_t n = wr_sparse_varint(delta << 1, out);
    return n + wr_sparse_varint(tf, out + n);
}

wr_status wr_sparse_tmp_open(FILE **file, const char *dir, wr_err *err)
{
    char path[4096];
    *file = NULL;
    if (snprintf(path, sizeof path, "%s/run-XXXXXX", dir) >= (int)sizeof path)
        return wr_fail(err, WR_EARG, "%s: the path of the temporary folder is too long", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return wr_fail(err, WR_EIO, "%s: a temporary file cannot be made: %s", dir, strerror(errno));
    unlink(path);
    *file = fdopen(fd, "w+b");
    if (!*file) {
        close(fd);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", dir);
    }
    return WR_OK;
}

/* ---- one run being read ---- */

struct reader {
    FILE *file;
    unsigned char *buffer; /* [RUN_BUFFER] */
    size_t at, n;
    bool failed; /* sticky: a run that ends early or makes no sense */
    unsigned char name[WR_MAX_TERM_BYTES];
    size_t name_len; /* 0 at the end of the run */
    uint64_t df;
};

static int next_byte(struct reader *run)
{
    if (run->at == run->n) {
        run->n = fread(run->buffer, 1, RUN_BUFFER, run->file);
        run->at = 0;
        if (run->n == 0) return EOF;
    }
    return run->buffer[run->at++];
}

static uint64_t next_varint(struct reader *run)
{
    uint64_t x = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        int c = next_byte(run);
        if (c == EOF) break;
        x |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) return x;
    }
    run->failed = true;
    return 0;
}

static void next_term(struct reader *run)
{
    int c = next_byte(run);
    run->name_len = 0;
    if (c == EOF) {
        run->failed = run->failed || ferror(run->file);
        return;
    }
    run->at--;
    uint64_t len = next_varint(run);
    if (run->failed || len == 0 || len > WR_MAX_TERM_BYTES) {
        run->failed = true;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        c = next_byte(run);
        if (c == EOF) run->failed = true;
        run->name[i] = (unsigned char)c;
    }
    run->df = next_varint(run);
    if (!run->failed) run->name_len = (size_t)len;
}

/* ---- many runs: a heap of those that have terms left, the least (term, place) on top ---- */

struct merge {
    struct reader *run; /* [n] */
    size_t heap[MAX_FANIN], nheap;
};

static int compare_names(const struct reader *a, const struct reader *b)
{
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, n);
    return order ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static bool before(const struct merge *merge, size_t a, size_t b)
{
    int order = compare_names(&merge->run[a], &merge->run[b]);
    return order ? order < 0 : a < b;
}

static void heap_push(struct merge *merge, size_t run)
{
    size_t i = merge->nheap++;
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!before(merge, run, merge->heap[parent])) break;
        merge->heap[i] = merge->heap[parent];
    }
    merge->heap[i] = run;
}

static size_t heap_pop(struct merge *merge)
{
    size_t top = merge->heap[0], run = merge->heap[--merge->nheap], i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= merge->nheap) break;
        if (child + 1 < merge->nheap && before(merge, merge->heap[child + 1], merge->heap[child])) child++;
        if (!before(merge, merge->heap[child], run)) break;
        merge->heap[i] = merge->heap[child];
        i = child;
    }
    merge->heap[i] = run;
    return top;
}

static wr_status copy_postings(struct reader *run, const wr_sparse_sink *sink, wr_err *err)
{
    uint64_t docid = 0;
    for (uint64_t i = 0; i < run->df; i++) {
        uint64_t x = next_varint(run), tf = x & 1 ? 1 : next_varint(run);
        docid += x >> 1;
        if (run->failed || docid > UINT32_MAX || tf > UINT32_MAX)
            return wr_fail(err, WR_EIO, "a temporary file of the index reads back damaged");
        wr_status st = sink->posting(sink->arg, (uint32_t)docid, (uint32_t)tf, err);
        if (st) return st;
    }
    return WR_OK;
}

/* The least term of all runs goes to the sink; the runs that had it move on. */
static wr_status merge_term(struct merge *merge, const wr_sparse_sink *sink, wr_err *err)
{
    size_t same[MAX_FANIN], n = 0;
    uint64_t df = 0;
    do {
        same[n] = heap_pop(merge);
        df += merge->run[same[n++]].df;
    } while (merge->nheap > 0 && !compare_names(&merge->run[merge->heap[0]], &merge->run[same[0]]));
    const struct reader *first = &merge->run[same[0]];
    wr_status st = sink->term(sink->arg, first->name, first->name_len, df, err);
    for (size_t i = 0; !st && i < n; i++) st = copy_postings(&merge->run[same[i]], sink, err);
    for (size_t i = 0; !st && i < n; i++) {
        struct reader *run = &merge->run[same[i]];
        next_term(run);
        if (run->failed) st = wr_fail(err, WR_EIO, "a temporary file of the index reads back damaged");
        if (run->name_len > 0) heap_push(merge, same[i]);
    }
    return st;
}

static wr_status merge_start(struct merge *merge, FILE *const *file, size_t n, wr_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct reader *run = &merge->run[i];
        run->file = file[i];
        run->buffer = malloc(RUN_BUFFER);
        if (!run->buffer) return wr_fail(err, WR_ENOMEM, "merging postings: out of memory");
        if (fflush(run->file) || fseeko(run->file, 0, SEEK_SET))
            return wr_fail(err, WR_EIO, "a temporary file of the index: %s", strerror(errno));
        next_term(run);
        if (run->failed) return wr_fail(err, WR_EIO, "a temporary file of the index reads back damaged");
        if (run->name_len > 0) heap_push(merge, i);
    }
    return WR_OK;
}

wr_status wr_sparse_merge(FILE *const *file, size_t n, const wr_sparse_sink *sink, wr_err *err)
{
    struct merge merge = {.run = calloc(n ? n : 1, sizeof *merge.run)};
    if (!merge.run) return wr_fail(err, WR_ENOMEM, "merging postings: out of memory");
    wr_status st = merge_start(&merge, file, n, err);
    while (!st && merge.nheap > 0) st = merge_term(&merge, sink, err);
    for (size_t i = 0; i < n; i++) free(merge.run[i].buffer);
    free(merge.run);
    return st;
}

/* ---- a run as a sink ---- */

struct run_sink {
    FILE *file;
    uint32_t last;
};

static wr_status put(FILE *file, const void *bytes, size_t n, wr_err *err)
{
    if (fwrite(bytes, 1, n, file) == n) return WR_OK;
    return wr_fail(err, WR_EIO, "a temporary file of the index cannot be written: %s", strerror(errno));
}

static wr_status run_term(void *arg, const unsigned char *name, size_t len, uint64_t df, wr_err *err)
{
    struct run_sink *sink = arg;
    unsigned char bytes[10];
    wr_status st;
    sink->last = 0;
    if ((st = put(sink->file, bytes, wr_sparse_varint(len, bytes), err))) return st;
    if ((st = put(sink->file, name, len, err))) return st;
    return put(sink->file, bytes, wr_sparse_varint(df, bytes), err);
}

static wr_status run_posting(void *arg, uint32_t docid, uint32_t tf, wr_err *err)
{
    struct run_sink *sink = arg;
    unsigned char bytes[20];
    size_t n = wr_sparse_posting(docid - sink->last, tf, bytes);
    sink->last = docid;
    return put(sink->file, bytes, n, err);
}

wr_status wr_sparse_merge_run(FILE *const *run, size_t n, const char *dir, FILE **merged, wr_err *err)
{
    struct run_sink to = {0};
    wr_status st = wr_sparse_tmp_open(merged, dir, err);
    if (st) return st;
    to.file = *merged;
    st = wr_sparse_merge(run, n, &(wr_sparse_sink){&to, run_term, run_posting}, err);
    if (st) {
        fclose(*merged);
        *merged = NULL;
    }
    return st;
}
