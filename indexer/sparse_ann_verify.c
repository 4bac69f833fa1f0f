/* Every byte of sparse_ann.h's file: records against the postings, lists and summaries against the records. */
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_ann_format.h"

/* An entry of a summary. */
struct entry {
    uint32_t term;
    uint8_t value;
};

struct verify {
    const wr_sparse_ann *ann;
    uint32_t *seen;  /* [ndocs] 1 + the last list that had the document                 */
    uint32_t *docid; /* [places] 1 + the document whose record begins there, 0 for none */
    uint16_t *most;  /* [nterms] largest impact in the cluster at hand                  */
    uint32_t *end;   /* [MAX_CLUSTERS + 2] of each cluster's entries                    */
    struct entry *entry;
    size_t room;
    uint64_t listed, clusters, entries;
};

static wr_status wrong(const struct verify *v, const char *what, uint64_t which, const char *how, wr_err *err)
{
    return wr_fail(err, WR_EFORMAT, "%s: %s %llu: %s", v->ann->path, what, (unsigned long long)which, how);
}

/* ---- records ---- */

static wr_status check_record(struct verify *v, const wr_ann_rows *rows, uint32_t i, unsigned char *buffer,
                              uint64_t *end, wr_err *err)
{
    const wr_sparse_ann *ann = v->ann;
    uint64_t docid = rows->first + i, n = rows->start[i + 1] - rows->start[i];
    uint64_t bytes = wr_sparse_round_up(wr_ann_record_bytes(n, ann->wide), RECORD_ALIGN);
    if (ann->place[docid] != *end) return wrong(v, "document", docid, "its record does not follow the one before", err);
    if (bytes > ann->header.records_bytes - *end * RECORD_ALIGN)
        return wrong(v, "document", docid, "its record does not fit its section", err);
    wr_ann_rows_record(rows, i, ann->wide, buffer);
    if (memcmp(buffer, ann->records + *end * RECORD_ALIGN, (size_t)bytes) != 0)
        return wrong(v, "document", docid, "its record is not what the postings say", err);
    v->docid[*end] = (uint32_t)docid + 1;
    *end += bytes / RECORD_ALIGN;
    return WR_OK;
}

static wr_status check_group(struct verify *v, const wr_ann_rows *rows, uint64_t *end, wr_err *err)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < rows->n; i++) {
        uint64_t n = rows->start[i + 1] - rows->start[i];
        if (n > most) most = n;
    }
    unsigned char *buffer = malloc((size_t)wr_sparse_round_up(wr_ann_record_bytes(most, true), RECORD_ALIGN));
    if (!buffer) return wr_fail(err, WR_ENOMEM, "%s: out of memory", v->ann->path);
    wr_status st = WR_OK;
    for (uint32_t i = 0; !st && i < rows->n; i++) st = check_record(v, rows, i, buffer, end, err);
    free(buffer);
    return st;
}

static wr_status check_records(struct verify *v, wr_err *err)
{
    const wr_sparse_ann *ann = v->ann;
    wr_ann_rows rows;
    uint64_t end = 0;
    wr_status st = wr_ann_rows_init(&rows);
    if (st) wr_fail(err, st, "%s: out of memory", ann->path);
    for (uint32_t g = 0; !st && g < ann->sparse->ngroups; g++) {
        st = wr_ann_rows_fill(&rows, ann->sparse, g, err);
        if (!st) st = check_group(v, &rows, &end, err);
    }
    if (!st && (end * RECORD_ALIGN != ann->header.records_bytes || ann->place[ann->header.ndocs] != end))
        st = wrong(v, "record", ann->header.ndocs, "the last one does not end its section", err);
    wr_ann_rows_release(&rows);
    return st;
}

/* ---- lists ---- */

static const char *check_places(struct verify *v, uint64_t term, const wr_ann_list *list, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        uint64_t place = list->place[i];
        if (place >= v->ann->header.records_bytes / RECORD_ALIGN || !v->docid[place]) return "it names no record";
        if (i > from && list->place[i - 1] >= place) return "places in a cluster do not ascend";
        uint32_t docid = v->docid[place] - 1;
        if (v->seen[docid] == term + 1) return "a document is in it twice";
        v->seen[docid] = (uint32_t)term + 1;
        if (wr_sparse_impact(v->ann->sparse, (uint32_t)term, docid) == 0) return "a document does not have the term";
    }
    return NULL;
}

static const char *check_clusters(struct verify *v, uint64_t term, const wr_ann_list *list)
{
    const char *what = NULL;
    if (list->clusters == 0) return check_places(v, term, list, 0, list->n);
    if (list->first[0] != 0 || list->first[list->clusters] != list->n) return "its clusters do not hold its documents";
    for (uint32_t c = 0; c < list->clusters && !what; c++) {
        if (list->first[c] >= list->first[c + 1] || list->first[c + 1] > list->n) return "its clusters do not ascend";
        what = check_places(v, term, list, list->first[c], list->first[c + 1]);
    }
    return what;
}

static const char *check_summaries(const struct verify *v, const wr_ann_list *list)
{
    if (list->clusters == 0) return list->m || list->e ? "it has summaries without clusters" : NULL;
    if (list->step == 0 || list->step > BOUND_STEP) return "the step of its summaries is out of range";
    if (list->start[0] != 0 || list->start[list->m] != list->e) return "its summaries do not hold their entries";
    for (uint32_t j = 0; j < list->m; j++) {
        if (list->term[j] >= v->ann->header.nterms || (j > 0 && list->term[j - 1] >= list->term[j]))
            return "terms of its summaries do not ascend";
        if (list->start[j] >= list->start[j + 1] || list->start[j + 1] > list->e)
            return "entries of its summaries do not ascend";
        for (uint32_t i = list->start[j]; i < list->start[j + 1]; i++)
            if (list->cluster[i] >= list->clusters || (i > list->start[j] && list->cluster[i - 1] >= list->cluster[i]))
                return "clusters of a summary's term do not ascend";
    }
    return NULL;
}

/* The summaries' entries by cluster; those of c end at end[c]. False without memory. */
static bool turn_round(struct verify *v, const wr_ann_list *list)
{
    if (list->e > v->room) {
        free(v->entry);
        v->room = (size_t)list->e + list->e / 2;
        v->entry = malloc(v->room * sizeof *v->entry);
        if (!v->entry) return false;
    }
    memset(v->end, 0, ((size_t)list->clusters + 1) * sizeof *v->end);
    for (uint32_t i = 0; i < list->e; i++) v->end[list->cluster[i] + 1]++;
    for (uint32_t c = 0; c < list->clusters; c++) v->end[c + 1] += v->end[c];
    for (uint32_t j = 0; j < list->m; j++)
        for (uint32_t i = list->start[j]; i < list->start[j + 1]; i++)
            v->entry[v->end[list->cluster[i]]++] = (struct entry){list->term[j], list->value[i]};
    return true;
}

/* Whether the entries are the largest impacts of the cluster, in steps. */
static bool check_values(struct verify *v, const wr_ann_list *list, uint32_t c)
{
    bool fine = true;
    wr_ann_record record;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = list->first[c]; i < list->first[c + 1]; i++) {
            wr_ann_record_get(v->ann, list->place[i], &record);
            for (uint32_t j = 0; j < record.n; j++) {
                uint16_t *most = &v->most[wr_ann_record_term(&record, j)];
                if (pass > 0 || record.impact[j] > *most) *most = pass > 0 ? 0 : record.impact[j];
            }
        }
        for (uint32_t i = c > 0 ? v->end[c - 1] : 0; pass == 0 && i < v->end[c]; i++) {
            uint32_t most = v->most[v->entry[i].term];
            fine = fine && most > 0 && v->entry[i].value == (most + list->step / 2) / list->step;
        }
    }
    return fine;
}

static wr_status check_list(struct verify *v, uint64_t term, uint64_t *end, wr_err *err)
{
    wr_ann_entry entry;
    wr_ann_list list;
    if (!wr_ann_list_get(v->ann, term, &list)) return wrong(v, "list", term, "it does not lie in its section", err);
    memcpy(&entry, v->ann->directory + term * ANN_LIST, ANN_LIST);
    if (entry.list != *end || entry.zero != 0) return wrong(v, "list", term, "it does not follow the one before", err);
    const char *what = check_clusters(v, term, &list);
    if (!what) what = check_summaries(v, &list);
    if (what) return wrong(v, "list", term, what, err);
    if (!turn_round(v, &list)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", v->ann->path);
    for (uint32_t c = 0; c < list.clusters; c++)
        if (!check_values(v, &list, c)) return wrong(v, "list", term, "a summary is not that of its cluster", err);
    wr_ann_layout at = wr_ann_layout_of(&entry);
    uint64_t used = list.clusters ? at.value + entry.e : at.bytes;
    for (uint64_t i = used; i < at.bytes; i++)
        if (v->ann->lists[entry.list + i]) return wrong(v, "list", term, "it does not end with zeros", err);
    *end += at.bytes;
    v->listed += list.n;
    v->clusters += list.clusters;
    v->entries += list.e;
    return WR_OK;
}

/* ---- the file ---- */

/* Zeros between the sections and in the header. */
static wr_status check_zeros(const struct verify *v, wr_err *err)
{
    const wr_ann_header *h = &v->ann->header;
    const unsigned char *payload = v->ann->records - h->records;
    const uint64_t from[] = {h->records + h->records_bytes, h->places + h->places_bytes, h->lists + h->lists_bytes};
    const uint64_t to[] = {h->places, h->lists, h->directory};
    uint64_t any = h->zero;
    for (size_t i = 0; i < 10; i++) any |= h->zero2[i];
    for (size_t s = 0; s < 3; s++)
        for (uint64_t i = from[s]; i < to[s]; i++) any |= payload[i];
    return any ? wrong(v, "section", 0, "there is something where zeros should be", err) : WR_OK;
}

static wr_status check_totals(const struct verify *v, uint64_t end, wr_err *err)
{
    const wr_ann_header *h = &v->ann->header;
    if (end == h->lists_bytes && v->listed == h->listed && v->clusters == h->clusters && v->entries == h->entries &&
        h->summary_share > 0 && h->summary_share <= 1 && h->list_postings && h->document_lists && h->cluster_docs)
        return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: %llu postings, %llu clusters, %llu entries in %llu bytes: the header differs",
                   v->ann->path, (unsigned long long)v->listed, (unsigned long long)v->clusters,
                   (unsigned long long)v->entries, (unsigned long long)end);
}

wr_status wr_sparse_ann_verify(const wr_sparse_ann *ann, wr_err *err)
{
    const wr_ann_header *h = &ann->header;
    uint64_t end = 0;
    struct verify v = {.ann = ann};
    v.seen = calloc((size_t)h->ndocs + 1, sizeof *v.seen);
    v.docid = calloc((size_t)(h->records_bytes / RECORD_ALIGN) + 1, sizeof *v.docid);
    v.most = calloc((size_t)h->nterms + 1, sizeof *v.most);
    v.end = malloc((MAX_CLUSTERS + 2) * sizeof *v.end);
    wr_status st = WR_OK;
    if (!v.seen || !v.docid || !v.most || !v.end) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", ann->path);
    if (!st) st = check_zeros(&v, err);
    if (!st) st = check_records(&v, err);
    for (uint64_t term = 0; !st && term < h->nterms; term++) st = check_list(&v, term, &end, err);
    if (!st) st = check_totals(&v, end, err);
    free(v.seen);
    free(v.docid);
    free(v.most);
    free(v.end);
    free(v.entry);
    return st;
}
