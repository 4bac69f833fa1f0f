/* What the writer and the readers of sparse_ann.h's file share. */
#ifndef WR_INDEXER_SPARSE_ANN_FORMAT_H
#define WR_INDEXER_SPARSE_ANN_FORMAT_H

#include <string.h>

#include "indexer/sparse_ann.h"
#include "indexer/sparse_format.h"

#define ANN_MAGIC "WRSPRANN"
#define ANN_VERSION 1
#define ANN_HEADER 224
#define ANN_LIST 32
#define RECORD_ALIGN 64
#define RECORD_HEAD 8
#define MAX_CLUSTERS UINT16_MAX

/* From so many terms on an id has two more bytes. */
#define WIDE_TERMS 65536u

typedef struct wr_ann_header {
    uint64_t fingerprint, ndocs, nterms, npostings;
    uint32_t list_postings, document_lists, cluster_docs;
    float summary_share;
    uint64_t listed, clusters, entries, zero;
    uint64_t records, records_bytes, places, places_bytes, lists, lists_bytes, directory, directory_bytes, zero2[10];
} wr_ann_header;
_Static_assert(sizeof(wr_ann_header) == ANN_HEADER, "the header is read as it lies");

typedef struct wr_ann_entry {
    uint64_t list;
    uint32_t n, clusters, m, e, step, zero;
} wr_ann_entry;
_Static_assert(sizeof(wr_ann_entry) == ANN_LIST, "an entry is read as it lies");

/* Byte offsets of a list's arrays from its start; `place` is at 0. No overflow: the counts are below 2^32. */
typedef struct wr_ann_layout {
    uint64_t first, term, start, cluster, value, bytes;
} wr_ann_layout;

static inline wr_ann_layout wr_ann_layout_of(const wr_ann_entry *entry)
{
    wr_ann_layout at = {.first = 4 * (uint64_t)entry->n, .bytes = 4 * (uint64_t)entry->n};
    if (entry->clusters == 0) return at;
    at.term = at.first + 4 * ((uint64_t)entry->clusters + 1);
    at.start = at.term + 4 * (uint64_t)entry->m;
    at.cluster = at.start + 4 * ((uint64_t)entry->m + 1);
    at.value = at.cluster + 2 * (uint64_t)entry->e;
    at.bytes = wr_sparse_round_up(at.value + entry->e, 4);
    return at;
}

/* A list where it lies in the map. */
typedef struct wr_ann_list {
    uint32_t n, clusters, m, e, step;
    const uint32_t *place;   /* [n]            */
    const uint32_t *first;   /* [clusters + 1] */
    const uint32_t *term;    /* [m]            */
    const uint32_t *start;   /* [m + 1]        */
    const uint16_t *cluster; /* [e]            */
    const uint8_t *value;    /* [e]            */
} wr_ann_list;

/* Where a section begins that follows what ends at `end`, both counted from the payload. */
static inline uint64_t wr_ann_section(uint64_t end)
{
    return wr_sparse_round_up(end + WR_CHECKED_HEADER, SPARSE_ALIGN) - WR_CHECKED_HEADER;
}

/* The arrays of a list whose entry is in order, at its bytes. */
static inline wr_ann_list wr_ann_list_at(const wr_ann_entry *entry, const unsigned char *base)
{
    wr_ann_layout at = wr_ann_layout_of(entry);
    wr_ann_list list = {.n = entry->n, .clusters = entry->clusters, .m = entry->m, .e = entry->e, .step = entry->step};
    list.place = (const uint32_t *)(const void *)base;
    if (entry->clusters == 0) return list;
    list.first = (const uint32_t *)(const void *)(base + at.first);
    list.term = (const uint32_t *)(const void *)(base + at.term);
    list.start = (const uint32_t *)(const void *)(base + at.start);
    list.cluster = (const uint16_t *)(const void *)(base + at.cluster);
    list.value = base + at.value;
    return list;
}

/* A document's record where it lies. */
typedef struct wr_ann_record {
    uint32_t docid, n;
    const unsigned char *low, *high; /* [n] each               */
    const uint16_t *upper;           /* [n], NULL when not wide */
    const uint16_t *impact;          /* [n]                    */
} wr_ann_record;

/* Bytes of a record before its zeros; n is below 2^32. */
static inline uint64_t wr_ann_record_bytes(uint64_t n, bool wide)
{
    return RECORD_HEAD + (wide ? 6 : 4) * n;
}

static inline wr_ann_record wr_ann_record_at(const unsigned char *at, bool wide)
{
    wr_ann_record record;
    memcpy(&record.docid, at, 4);
    memcpy(&record.n, at + 4, 4);
    record.low = at + RECORD_HEAD;
    record.high = record.low + record.n;
    const uint16_t *words = (const uint16_t *)(const void *)(at + RECORD_HEAD + 2 * (size_t)record.n);
    record.upper = wide ? words : NULL;
    record.impact = wide ? words + record.n : words;
    return record;
}

static inline uint32_t wr_ann_record_term(const wr_ann_record *record, size_t i)
{
    uint32_t term = record->low[i] | (uint32_t)record->high[i] << 8;
    return record->upper ? term | (uint32_t)record->upper[i] << 16 : term;
}

struct wr_sparse_ann {
    wr_map map;
    wr_ann_header header;
    const wr_sparse *sparse;
    bool wide;
    unsigned prefetch_lines; /* of an average record */
    const unsigned char *records, *directory, *lists;
    const uint32_t *place;
    char path[]; /* for sentences */
};

/* Which postings a file belongs to: reads their header and term table. */
uint64_t wr_ann_fingerprint(const wr_sparse *sparse);

/* False when the record does not lie in its section. place: any number. */
bool wr_ann_record_get(const wr_sparse_ann *ann, uint32_t place, wr_ann_record *record);

/* False when the term's list does not lie in its section; what the list holds may be anything. */
bool wr_ann_list_get(const wr_sparse_ann *ann, uint64_t term, wr_ann_list *list);

/* ---- records: the postings turned round, a group of documents at a time ---- */

typedef struct wr_ann_rows {
    uint64_t first;  /* docid of row 0                                                   */
    uint32_t n;      /* rows                                                             */
    uint32_t *start; /* [GROUP_DOCS + 1]                                                 */
    uint64_t *key;   /* [start[n]] wr_best_key(impact, term), falling in a row           */
    size_t room;
} wr_ann_rows;

wr_status wr_ann_rows_init(wr_ann_rows *rows);
void wr_ann_rows_release(wr_ann_rows *rows);

/* The vectors of group g. WR_EFORMAT for postings that no sound file has. */
wr_status wr_ann_rows_fill(wr_ann_rows *rows, const wr_sparse *sparse, uint32_t g, wr_err *err);

/* The record of row i into out[wr_sparse_round_up(wr_ann_record_bytes(n, wide), RECORD_ALIGN)]; returns those bytes. */
size_t wr_ann_rows_record(const wr_ann_rows *rows, uint32_t i, bool wide, unsigned char *out);

/* ---- one list being made ---- */

/* What the builder needs of the records that are written already. */
typedef struct wr_ann_source {
    const wr_sparse *sparse;
    const unsigned char *records; /* the section                                          */
    const uint32_t *place;        /* [ndocs + 1]                                          */
    const uint16_t *least;        /* [ndocs] impacts from this on are among the document's heaviest */
    wr_sparse_ann_params params;  /* none is 0                                            */
    bool wide;
} wr_ann_source;

/* One thread's memory for it. */
typedef struct wr_ann_work wr_ann_work;
wr_ann_work *wr_ann_work_new(const wr_ann_source *source); /* NULL without memory */
void wr_ann_work_free(wr_ann_work *work);

/* Makes the list of a term: entry (but its place) and bytes, owned by the caller (free); NULL without memory. */
unsigned char *wr_ann_list_make(const wr_ann_source *source, wr_ann_work *work, uint32_t term, wr_ann_entry *entry);

#endif
