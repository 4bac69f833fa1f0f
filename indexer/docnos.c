#include "indexer/docnos.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/corpus.h"
#include "data/hash.h"

/* Text of one run at most: docnos of 64 bytes fill it together with WR_DOCNOS_PER_RUN, longer ones earlier. */
#define TEXT_MAX ((size_t)64 << 20)

/* Runs at most: every run is an open file while merging, and 1,024 is the usual limit of a process. */
#define RUNS_MAX 900

typedef struct entry {
    uint32_t offset; /* into text */
    uint32_t docid;
    uint32_t len;
} entry;

/* Where the merge reads from: a run file, or what is in memory still (file == NULL). */
typedef struct source {
    FILE *file;
    const char *docno; /* the head: text, or buf */
    size_t len;
    uint32_t docid;
    char buf[WR_MAX_DOCNO];
} source;

struct wr_docnos {
    char *path;
    size_t per_run;
    char *text;
    size_t ntext, captext;
    entry *entries;
    size_t n, cap;
    uint32_t *table; /* [2 * cap] open addressing over entries: index + 1, 0 = free */
    FILE *runs[RUNS_MAX];
    size_t nruns;
    /* merging */
    source *sources; /* [nruns + 1] */
    source **heap;   /* smallest docno on top */
    size_t nheap, next_entry;
    bool merging;
    char last[WR_MAX_DOCNO];
    size_t last_len;
    uint32_t last_docid;
};

wr_status wr_docnos_open(wr_docnos **names, const char *path, size_t per_run, wr_err *err)
{
    *names = NULL;
    wr_docnos *d = calloc(1, sizeof *d);
    if (d) d->path = malloc(strlen(path) + sizeof ".run");
    if (!d || !d->path) {
        free(d);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    strcat(strcpy(d->path, path), ".run");
    d->per_run = per_run ? per_run : WR_DOCNOS_PER_RUN;
    *names = d;
    return WR_OK;
}

void wr_docnos_close(wr_docnos *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->nruns; i++)
        if (d->runs[i]) fclose(d->runs[i]);
    free(d->path);
    free(d->text);
    free(d->entries);
    free(d->table);
    free(d->sources);
    free(d->heap);
    free(d);
}

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : (na > nb) - (na < nb);
}

static int compare_entries(const void *x, const void *y, void *text)
{
    const entry *a = x, *b = y;
    return compare_bytes((char *)text + a->offset, a->len, (char *)text + b->offset, b->len);
}

static wr_status repeated(wr_err *err, const char *docno, size_t len, uint32_t a, uint32_t b)
{
    return wr_fail(err, WR_EFORMAT, "document %.*s appears twice: as number %u and number %u of the corpus", (int)len,
                   docno, (a < b ? a : b) + 1, (a < b ? b : a) + 1);
}

/* The place of docno in the table: its entry's, or the free one where it belongs. */
static uint32_t *slot_of(const wr_docnos *d, const char *docno, size_t len)
{
    size_t mask = 2 * d->cap - 1;
    for (size_t i = wr_checksum(docno, len) & mask;; i = (i + 1) & mask) {
        const entry *e = d->table[i] ? &d->entries[d->table[i] - 1] : NULL;
        if (!e || (e->len == len && !memcmp(d->text + e->offset, docno, len))) return &d->table[i];
    }
}

static wr_status grow(wr_docnos *d, size_t len)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 1024; /* a power of two, as the table needs it */
        entry *entries = realloc(d->entries, cap * sizeof *entries);
        if (!entries) return WR_ENOMEM;
        d->entries = entries;
        uint32_t *table = calloc(2 * cap, sizeof *table);
        if (!table) return WR_ENOMEM;
        free(d->table);
        d->table = table;
        d->cap = cap;
        for (size_t i = 0; i < d->n; i++)
            *slot_of(d, d->text + d->entries[i].offset, d->entries[i].len) = (uint32_t)i + 1;
    }
    if (d->captext - d->ntext < len) {
        size_t cap = d->captext ? 2 * d->captext : (size_t)64 << 10; /* holds at least one docno more each time */
        char *text = realloc(d->text, cap);
        if (!text) return WR_ENOMEM;
        d->text = text;
        d->captext = cap;
    }
    return WR_OK;
}

static void sort_run(wr_docnos *d)
{
    if (d->n) qsort_r(d->entries, d->n, sizeof *d->entries, compare_entries, d->text);
}

static FILE *run_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return NULL;
    unlink(path);
    FILE *file = fdopen(fd, "w+");
    if (!file) close(fd);
    return file;
}

/* Run file: u32 docid, u32 length, text, again and again. It never leaves this process. */
static wr_status write_run(wr_docnos *d, wr_err *err)
{
    if (d->nruns == RUNS_MAX) return wr_fail(err, WR_EFULL, "%s: more than %d runs of docnos", d->path, RUNS_MAX);
    FILE *file = run_create(d->path);
    if (!file) return wr_fail(err, WR_EIO, "%s: %s", d->path, strerror(errno));
    d->runs[d->nruns++] = file;
    sort_run(d);
    bool ok = true;
    for (size_t i = 0; i < d->n && ok; i++) {
        const entry *e = &d->entries[i];
        uint32_t head[2] = {e->docid, e->len};
        ok = fwrite(head, sizeof head, 1, file) == 1 && fwrite(d->text + e->offset, e->len, 1, file) == 1;
    }
    if (!ok || fflush(file)) return wr_fail(err, WR_EIO, "%s: %s", d->path, strerror(errno));
    memset(d->table, 0, 2 * d->cap * sizeof *d->table);
    d->n = d->ntext = 0;
    return WR_OK;
}

wr_status wr_docnos_add(wr_docnos *d, const char *docno, size_t len, uint32_t docid, wr_err *err)
{
    if (len < 1 || len > WR_MAX_DOCNO)
        return wr_fail(err, WR_EFORMAT, "document number %u: its id has %zu bytes, expected 1 to %d", docid + 1, len,
                       WR_MAX_DOCNO);
    if (d->n >= d->per_run || d->ntext + len > TEXT_MAX) {
        wr_status st = write_run(d, err);
        if (st) return st;
    }
    if (grow(d, len)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    uint32_t *slot = slot_of(d, docno, len);
    if (*slot) return repeated(err, docno, len, d->entries[*slot - 1].docid, docid);
    memcpy(d->text + d->ntext, docno, len);
    d->entries[d->n] = (entry){.offset = (uint32_t)d->ntext, .docid = docid, .len = (uint32_t)len};
    d->ntext += len;
    *slot = (uint32_t)++d->n;
    return WR_OK;
}

/* Moves s to its next pair; false at its end. */
static wr_status advance(wr_docnos *d, source *s, bool *more, wr_err *err)
{
    *more = false;
    if (!s->file) {
        if (d->next_entry == d->n) return WR_OK;
        const entry *e = &d->entries[d->next_entry++];
        s->docno = d->text + e->offset;
        s->len = e->len;
        s->docid = e->docid;
        *more = true;
        return WR_OK;
    }
    uint32_t head[2];
    if (fread(head, sizeof head, 1, s->file) != 1) {
        if (feof(s->file)) return WR_OK;
        return wr_fail(err, WR_EIO, "%s: %s", d->path, strerror(errno));
    }
    if (head[1] > sizeof s->buf || fread(s->buf, head[1], 1, s->file) != 1)
        return wr_fail(err, WR_EIO, "%s: a run file is damaged", d->path);
    s->docid = head[0];
    s->len = head[1];
    *more = true;
    return WR_OK;
}

static bool before(const source *a, const source *b)
{
    int c = compare_bytes(a->docno, a->len, b->docno, b->len);
    return c < 0 || (c == 0 && a->docid < b->docid);
}

static void sift_down(wr_docnos *d, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < d->nheap; i = child) {
        if (child + 1 < d->nheap && before(d->heap[child + 1], d->heap[child])) child++;
        if (!before(d->heap[child], d->heap[i])) return;
        source *s = d->heap[i];
        d->heap[i] = d->heap[child];
        d->heap[child] = s;
    }
}

static wr_status merge_begin(wr_docnos *d, wr_err *err)
{
    d->merging = true;
    sort_run(d);
    d->sources = calloc(d->nruns + 1, sizeof *d->sources);
    d->heap = calloc(d->nruns + 1, sizeof *d->heap);
    if (!d->sources || !d->heap) return wr_fail(err, WR_ENOMEM, "%s: out of memory", d->path);
    for (size_t i = 0; i <= d->nruns; i++) {
        source *s = &d->sources[i];
        s->file = i < d->nruns ? d->runs[i] : NULL;
        s->docno = s->buf;
        if (s->file) rewind(s->file);
        bool more;
        wr_status st = advance(d, s, &more, err);
        if (st) return st;
        if (more) d->heap[d->nheap++] = s;
    }
    for (size_t i = d->nheap / 2; i-- > 0;) sift_down(d, i);
    return WR_OK;
}

wr_status wr_docnos_next(wr_docnos *d, const char **docno, size_t *len, uint32_t *docid, wr_err *err)
{
    *docno = NULL;
    wr_status st = d->merging ? WR_OK : merge_begin(d, err);
    if (st || d->nheap == 0) return st;
    source *top = d->heap[0];
    if (!compare_bytes(top->docno, top->len, d->last, d->last_len))
        return repeated(err, top->docno, top->len, d->last_docid, top->docid);
    memcpy(d->last, top->docno, top->len);
    *len = d->last_len = top->len;
    *docid = d->last_docid = top->docid;
    bool more;
    if ((st = advance(d, top, &more, err))) return st;
    if (!more) d->heap[0] = d->heap[--d->nheap];
    sift_down(d, 0);
    *docno = d->last;
    return WR_OK;
}
