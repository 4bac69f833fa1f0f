/* The writing half of sparse_ann.h: records of all documents, then, the records being mapped, the lists, many at a time
 * over the pool and written in the order of terms. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "indexer/best.h"
#include "indexer/sparse_ann_format.h"

/* What measured best (BENCHMARKS.md, "Learned sparse"). */
#define LIST_POSTINGS 4000
#define DOCUMENT_LISTS 64
#define CLUSTER_DOCS 5
#define SUMMARY_SHARE 0.6f

/* Lists made before they are written: so many per thread keep all busy, and their bytes are a few MiB. */
#define BATCH_PER_THREAD 64

struct build {
    const wr_sparse *sparse;
    const char *path;
    wr_file *file;
    wr_map map; /* of what is written: the records */
    wr_ann_header header;
    uint32_t *place; /* [ndocs + 1] */
    uint16_t *least; /* [ndocs]     */
    wr_ann_entry *directory;
    wr_ann_source source;
    wr_ann_work **work; /* [threads + 1] */
    unsigned threads;
    bool pooled;
};

static wr_status no_memory(const struct build *b, wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "%s: out of memory", b->path);
}

static void pad(wr_file *file)
{
    static const unsigned char zero[SPARSE_ALIGN];
    uint64_t at = wr_file_offset(file);
    wr_file_write(file, zero, (size_t)(wr_ann_section(at) - at));
}

uint64_t wr_ann_fingerprint(const wr_sparse *sparse)
{
    uint64_t part[2] = {wr_checksum(&sparse->header, sizeof sparse->header),
                        wr_checksum(sparse->table, (size_t)sparse->header.table_bytes)};
    return wr_checksum(part, sizeof part);
}

/* ---- records ---- */

static wr_status put_record(struct build *b, const wr_ann_rows *rows, uint32_t i, unsigned char **buffer, size_t *room,
                            wr_err *err)
{
    uint32_t n = rows->start[i + 1] - rows->start[i], docid = (uint32_t)rows->first + i;
    size_t bytes = (size_t)wr_sparse_round_up(wr_ann_record_bytes(n, b->source.wide), RECORD_ALIGN);
    if (bytes > *room) {
        free(*buffer);
        *room = 2 * bytes;
        *buffer = malloc(*room);
        if (!*buffer) {
            *room = 0;
            return no_memory(b, err);
        }
    }
    uint64_t place = (wr_file_offset(b->file) - b->header.records) / RECORD_ALIGN;
    if (place + bytes / RECORD_ALIGN > UINT32_MAX)
        return wr_fail(err, WR_EFULL, "%s: vectors of more than 256 GiB", b->path);
    b->place[docid] = (uint32_t)place;
    b->place[docid + 1] = (uint32_t)(place + bytes / RECORD_ALIGN);
    uint32_t lists = b->source.params.document_lists;
    b->least[docid] = n > lists ? (uint16_t)wr_best_units(rows->key[rows->start[i] + lists - 1]) : 0;
    b->header.npostings += n;
    wr_file_write(b->file, *buffer, wr_ann_rows_record(rows, i, b->source.wide, *buffer));
    return WR_OK;
}

static wr_status put_records(struct build *b, wr_err *err)
{
    wr_ann_rows rows;
    unsigned char *buffer = NULL;
    size_t room = 0;
    wr_status st = wr_ann_rows_init(&rows);
    if (st) st = no_memory(b, err);
    b->header.records = wr_file_offset(b->file);
    for (uint32_t g = 0; !st && g < b->sparse->ngroups; g++) {
        st = wr_ann_rows_fill(&rows, b->sparse, g, err);
        for (uint32_t i = 0; !st && i < rows.n; i++) st = put_record(b, &rows, i, &buffer, &room, err);
    }
    b->header.records_bytes = wr_file_offset(b->file) - b->header.records;
    free(buffer);
    wr_ann_rows_release(&rows);
    return st;
}

/* Maps what has been written: a rewrite hands the system all that is buffered. */
static wr_status map_records(struct build *b, wr_err *err)
{
    wr_file_rewrite(b->file, 0, &b->header, sizeof b->header);
    wr_status st = wr_map_open(&b->map, b->path, err);
    if (st) return st;
    uint64_t end = WR_CHECKED_HEADER + b->header.records + b->header.records_bytes;
    if (b->map.size < end)
        return wr_fail(err, WR_EIO, "%s: cannot write: it is shorter than what was written", b->path);
    b->source.records = b->map.bytes + WR_CHECKED_HEADER + b->header.records;
    return WR_OK;
}

/* ---- lists ---- */

struct batch {
    const struct build *build;
    uint64_t first;
    unsigned char **bytes; /* [n] */
    wr_ann_entry *entry;   /* [n] */
};

static void make_list(void *arg, size_t i)
{
    struct batch *batch = arg;
    const struct build *b = batch->build;
    size_t worker = b->pooled ? (size_t)(wr_pool_worker() + 1) : 0;
    assert(worker <= b->threads);
    batch->bytes[i] = wr_ann_list_make(&b->source, b->work[worker], (uint32_t)(batch->first + i), &batch->entry[i]);
}

static void put_list(struct build *b, uint64_t term, wr_ann_entry *entry, const unsigned char *bytes)
{
    entry->list = wr_file_offset(b->file) - b->header.lists;
    b->header.listed += entry->n;
    b->header.clusters += entry->clusters;
    b->header.entries += entry->e;
    wr_file_write(b->file, bytes, (size_t)wr_ann_layout_of(entry).bytes);
    b->directory[term] = *entry;
}

static wr_status put_batch(struct build *b, struct batch *batch, size_t n, wr_pool *pool, wr_err *err)
{
    wr_status st = WR_OK;
    wr_pool_for(pool, n, make_list, batch);
    for (size_t i = 0; i < n; i++) {
        if (!batch->bytes[i]) st = no_memory(b, err);
        if (!st) put_list(b, batch->first + i, &batch->entry[i], batch->bytes[i]);
        free(batch->bytes[i]);
    }
    return st;
}

static wr_status put_lists(struct build *b, wr_pool *pool, wr_err *err)
{
    size_t most = (size_t)b->threads * BATCH_PER_THREAD;
    struct batch batch = {b, 0, calloc(most, sizeof *batch.bytes), calloc(most, sizeof *batch.entry)};
    wr_status st = batch.bytes && batch.entry ? WR_OK : no_memory(b, err);
    b->header.lists = wr_file_offset(b->file);
    for (uint64_t term = 0; !st && term < b->header.nterms; term += most) {
        uint64_t left = b->header.nterms - term;
        batch.first = term;
        st = put_batch(b, &batch, left < most ? (size_t)left : most, pool, err);
    }
    b->header.lists_bytes = wr_file_offset(b->file) - b->header.lists;
    free(batch.bytes);
    free(batch.entry);
    return st;
}

/* ---- the file ---- */

static wr_sparse_ann_params with_defaults(const wr_sparse_ann_params *params)
{
    wr_sparse_ann_params p = *params;
    if (p.list_postings == 0) p.list_postings = LIST_POSTINGS;
    if (p.document_lists == 0) p.document_lists = DOCUMENT_LISTS;
    if (p.cluster_docs == 0) p.cluster_docs = CLUSTER_DOCS;
    if (!(p.summary_share > 0)) p.summary_share = SUMMARY_SHARE;
    if (p.summary_share > 1) p.summary_share = 1;
    return p;
}

static wr_status build_open(struct build *b, const wr_sparse_ann_params *params, wr_pool *pool, wr_err *err)
{
    const wr_sparse_header *h = &b->sparse->header;
    wr_sparse_ann_params p = with_defaults(params ? params : &(wr_sparse_ann_params){0});
    b->header = (wr_ann_header){.fingerprint = wr_ann_fingerprint(b->sparse),
                                .ndocs = h->ndocs,
                                .nterms = h->nterms,
                                .list_postings = p.list_postings,
                                .document_lists = p.document_lists,
                                .cluster_docs = p.cluster_docs,
                                .summary_share = p.summary_share};
    b->place = calloc((size_t)h->ndocs + 1, sizeof *b->place);
    b->least = calloc((size_t)h->ndocs + 1, sizeof *b->least);
    b->directory = calloc((size_t)h->nterms + 1, sizeof *b->directory);
    b->threads = wr_pool_threads(pool);
    b->pooled = pool != NULL;
    b->work = calloc(b->threads + 1, sizeof(wr_ann_work *));
    b->source = (wr_ann_source){
        .sparse = b->sparse, .place = b->place, .least = b->least, .params = p, .wide = h->nterms > WIDE_TERMS};
    if (!b->place || !b->least || !b->directory || !b->work) return no_memory(b, err);
    for (unsigned i = 0; i <= b->threads; i++)
        if (!(b->work[i] = wr_ann_work_new(&b->source))) return no_memory(b, err);
    wr_status st = wr_file_create(&b->file, b->path, ANN_MAGIC, ANN_VERSION, err);
    return st ? st : wr_file_write(b->file, &b->header, sizeof b->header);
}

static wr_status build_write(struct build *b, wr_pool *pool, wr_err *err)
{
    wr_ann_header *h = &b->header;
    wr_status st = put_records(b, err);
    if (st) return st;
    h->places = wr_file_offset(b->file);
    h->places_bytes = 4 * (h->ndocs + 1);
    wr_file_write(b->file, b->place, (size_t)h->places_bytes);
    pad(b->file);
    if ((st = map_records(b, err)) || (st = put_lists(b, pool, err))) return st;
    pad(b->file);
    h->directory = wr_file_offset(b->file);
    h->directory_bytes = ANN_LIST * h->nterms;
    wr_file_write(b->file, b->directory, (size_t)h->directory_bytes);
    wr_file_rewrite(b->file, 0, h, sizeof *h);
    wr_file *file = b->file;
    b->file = NULL;
    return wr_file_commit(file, err);
}

wr_status wr_sparse_ann_build(const wr_sparse *sparse, const char *path, const wr_sparse_ann_params *params,
                              wr_pool *pool, wr_err *err)
{
    struct build b = {.sparse = sparse, .path = path};
    wr_status st = build_open(&b, params, pool, err);
    if (!st) st = build_write(&b, pool, err);
    wr_file_abort(b.file);
    wr_map_close(&b.map);
    for (unsigned i = 0; b.work && i <= b.threads; i++) wr_ann_work_free(b.work[i]);
    free(b.work);
    free(b.place);
    free(b.least);
    free(b.directory);
    return st;
}
