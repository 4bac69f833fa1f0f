/* The reading half of sparse_ann.h: opening, records and lists. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_ann_format.h"

#define LINE_BYTES 64
#define MOST_PREFETCHED 10 /* of a record: from there on the processor has seen where this goes */

static wr_status check_section(const wr_sparse_ann *ann, const char *name, uint64_t offset, uint64_t bytes,
                               uint64_t *end, wr_err *err)
{
    uint64_t want = wr_ann_section(*end), size = ann->map.size - WR_CHECKED_HEADER;
    if (offset != want || bytes > size || offset > size - bytes)
        return wr_fail(err, WR_EFORMAT,
                       "%s: section of %s: %llu bytes at %llu, expected at %llu and to end at %llu at most", ann->path,
                       name, (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)want,
                       (unsigned long long)size);
    *end = offset + bytes;
    return WR_OK;
}

static wr_status check_counts(const wr_sparse_ann *ann, wr_err *err)
{
    const wr_ann_header *h = &ann->header;
    const wr_sparse_header *s = &ann->sparse->header;
    if (h->ndocs != s->ndocs || h->nterms != s->nterms || h->npostings != s->npostings ||
        h->fingerprint != wr_ann_fingerprint(ann->sparse))
        return wr_fail(err, WR_EFORMAT,
                       "%s: %llu documents, %llu terms, %llu postings: built from other postings than %s with %llu, "
                       "%llu, %llu",
                       ann->path, (unsigned long long)h->ndocs, (unsigned long long)h->nterms,
                       (unsigned long long)h->npostings, ann->sparse->path, (unsigned long long)s->ndocs,
                       (unsigned long long)s->nterms, (unsigned long long)s->npostings);
    if (h->places_bytes != 4 * (h->ndocs + 1) || h->directory_bytes != ANN_LIST * h->nterms ||
        h->records_bytes % RECORD_ALIGN || h->records_bytes / RECORD_ALIGN > UINT32_MAX)
        return wr_fail(
            err, WR_EFORMAT, "%s: sections of %llu, %llu and %llu bytes do not suit %llu documents of %llu terms",
            ann->path, (unsigned long long)h->records_bytes, (unsigned long long)h->places_bytes,
            (unsigned long long)h->directory_bytes, (unsigned long long)h->ndocs, (unsigned long long)h->nterms);
    return WR_OK;
}

static wr_status check_layout(const wr_sparse_ann *ann, wr_err *err)
{
    const wr_ann_header *h = &ann->header;
    uint64_t end = ANN_HEADER;
    wr_status st;
    if ((st = check_section(ann, "records", h->records, h->records_bytes, &end, err))) return st;
    if ((st = check_section(ann, "places", h->places, h->places_bytes, &end, err))) return st;
    if ((st = check_section(ann, "lists", h->lists, h->lists_bytes, &end, err))) return st;
    if ((st = check_section(ann, "directory", h->directory, h->directory_bytes, &end, err))) return st;
    if (end != ann->map.size - WR_CHECKED_HEADER)
        return wr_fail(err, WR_EFORMAT, "%s: the last section ends at %llu, the payload at %llu", ann->path,
                       (unsigned long long)end, (unsigned long long)(ann->map.size - WR_CHECKED_HEADER));
    return WR_OK;
}

wr_status wr_sparse_ann_open(wr_sparse_ann **out, const wr_sparse *sparse, const char *path, wr_err *err)
{
    *out = NULL;
    const unsigned char *payload;
    size_t size, len = strlen(path);
    wr_sparse_ann *ann = calloc(1, sizeof *ann + len + 1);
    if (!ann) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    memcpy(ann->path, path, len);
    ann->sparse = sparse;
    wr_status st = wr_map_open_checked(&ann->map, path, ANN_MAGIC, ANN_VERSION, &payload, &size, err);
    if (!st && size < ANN_HEADER)
        st = wr_fail(err, WR_EFORMAT, "%s: payload of %zu bytes, expected a header of %d", path, size, ANN_HEADER);
    if (st) goto done;
    memcpy(&ann->header, payload, ANN_HEADER);
    const wr_ann_header *h = &ann->header;
    if ((st = check_counts(ann, err)) || (st = check_layout(ann, err))) goto done;
    ann->wide = h->nterms > WIDE_TERMS;
    ann->records = payload + h->records;
    ann->place = (const uint32_t *)(const void *)(payload + h->places);
    ann->lists = payload + h->lists;
    ann->directory = payload + h->directory;
    uint64_t lines = (h->records_bytes / (h->ndocs ? h->ndocs : 1) + LINE_BYTES - 1) / LINE_BYTES;
    ann->prefetch_lines = lines < MOST_PREFETCHED ? (unsigned)lines : MOST_PREFETCHED;
    *out = ann;
done:
    if (st) wr_sparse_ann_close(ann);
    return st;
}

void wr_sparse_ann_close(wr_sparse_ann *ann)
{
    if (!ann) return;
    wr_map_close(&ann->map);
    free(ann);
}

bool wr_ann_record_get(const wr_sparse_ann *ann, uint32_t place, wr_ann_record *record)
{
    uint64_t at = (uint64_t)place * RECORD_ALIGN, bytes = ann->header.records_bytes;
    if (at >= bytes) return false; /* so a whole line is there */
    *record = wr_ann_record_at(ann->records + at, ann->wide);
    return wr_ann_record_bytes(record->n, ann->wide) <= bytes - at;
}

bool wr_ann_list_get(const wr_sparse_ann *ann, uint64_t term, wr_ann_list *list)
{
    wr_ann_entry entry;
    if (term >= ann->header.nterms) return false;
    memcpy(&entry, ann->directory + term * ANN_LIST, ANN_LIST);
    if (entry.clusters > MAX_CLUSTERS || entry.list % 4 || entry.list > ann->header.lists_bytes) return false;
    if (wr_ann_layout_of(&entry).bytes > ann->header.lists_bytes - entry.list) return false;
    *list = wr_ann_list_at(&entry, ann->lists + entry.list);
    return true;
}

wr_status wr_sparse_ann_document(const wr_sparse_ann *ann, uint32_t docid, wr_arena *arena, const uint32_t **term,
                                 const float **impact, size_t *n)
{
    wr_ann_record record;
    *n = 0;
    *term = NULL;
    *impact = NULL;
    if (docid >= ann->header.ndocs || !wr_ann_record_get(ann, ann->place[docid], &record)) return WR_OK;
    uint32_t *terms = wr_arena_calloc(arena, record.n, sizeof *terms);
    float *impacts = wr_arena_calloc(arena, record.n, sizeof *impacts);
    if (!terms || !impacts) return WR_ENOMEM;
    for (size_t i = 0; i < record.n; i++) {
        terms[i] = wr_ann_record_term(&record, i);
        impacts[i] = (float)record.impact[i] * ann->sparse->header.scale;
    }
    *term = terms;
    *impact = impacts;
    *n = record.n;
    return WR_OK;
}

void wr_sparse_ann_stats_get(const wr_sparse_ann *ann, wr_sparse_ann_stats *stats)
{
    const wr_ann_header *h = &ann->header;
    *stats = (wr_sparse_ann_stats){.params = {h->list_postings, h->document_lists, h->cluster_docs, h->summary_share},
                                   .postings = h->listed,
                                   .clusters = h->clusters,
                                   .summary_entries = h->entries,
                                   .bytes_forward = h->records_bytes + h->places_bytes,
                                   .bytes_lists = h->lists_bytes,
                                   .bytes_directory = h->directory_bytes};
}
