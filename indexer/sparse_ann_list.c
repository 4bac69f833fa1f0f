/* One list of sparse_ann.h: which postings it keeps, the clusters they fall into, and the summaries.
 *
 * Step 1: of the term's postings those that are among their document's heaviest, and of these the list_postings
 * largest. Step 2: documents drawn at random are the centres; each document joins the centre with which it has the
 * largest inner product, by its HEAD_TERMS heaviest terms (what an inverted index over the centres gives; Seismic does
 * the same). Step 3: a summary keeps a cluster's largest impacts by term until they sum up to the share. Step 4: the
 * summaries are turned round, so that a query's term finds the clusters that have it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/best.h"
#include "indexer/sparse_ann_format.h"

/* More of a document's terms hardly change where it goes (Seismic's default as well). */
#define HEAD_TERMS 15

/* A list of fewer clusters is scored as a whole: that costs as much as estimating them. */
#define LEAST_CLUSTERS 4

struct pair {
    uint32_t term;
    uint16_t cluster, impact;
};

struct wr_ann_work {
    const wr_ann_source *source;
    uint64_t *key; /* [room] of postings */
    uint32_t *docid, *centre, *order;
    size_t room;
    uint32_t *first;            /* [MAX_CLUSTERS + 2] */
    float *dot;                 /* [MAX_CLUSTERS + 1] */
    uint32_t *count;            /* [nterms + 1], all 0 between uses                    */
    uint16_t *most;             /* [nterms], all 0 between uses                        */
    uint32_t *seen;             /* [nterms] terms that are not 0 in most, or in count  */
    struct pair *pair, *sorted; /* [pairs_room] entries of the centres, then of the summaries */
    size_t pairs_room, sorted_room;
};

wr_ann_work *wr_ann_work_new(const wr_ann_source *source)
{
    size_t nterms = (size_t)source->sparse->header.nterms;
    wr_ann_work *work = calloc(1, sizeof *work);
    if (!work) return NULL;
    work->source = source;
    work->first = malloc((MAX_CLUSTERS + 2) * sizeof *work->first);
    work->dot = malloc((MAX_CLUSTERS + 1) * sizeof *work->dot);
    work->count = calloc(nterms + 1, sizeof *work->count);
    work->most = calloc(nterms + 1, sizeof *work->most);
    work->seen = malloc((nterms + 1) * sizeof *work->seen);
    if (work->first && work->dot && work->count && work->most && work->seen) return work;
    wr_ann_work_free(work);
    return NULL;
}

void wr_ann_work_free(wr_ann_work *work)
{
    if (!work) return;
    free(work->key);
    free(work->docid);
    free(work->centre);
    free(work->order);
    free(work->first);
    free(work->dot);
    free(work->count);
    free(work->most);
    free(work->seen);
    free(work->pair);
    free(work->sorted);
    free(work);
}

static bool grow(void *array, size_t n, size_t size)
{
    void **at = array;
    free(*at);
    *at = malloc(n * size);
    return *at != NULL;
}

static bool postings_room(wr_ann_work *work, size_t n)
{
    if (n <= work->room) return true;
    work->room = 0;
    if (!grow(&work->key, n, sizeof *work->key) || !grow(&work->docid, n, sizeof *work->docid) ||
        !grow(&work->centre, n, sizeof *work->centre) || !grow(&work->order, n, sizeof *work->order))
        return false;
    work->room = n;
    return true;
}

static bool pair_add(wr_ann_work *work, size_t *n, uint32_t term, uint32_t cluster, uint32_t impact)
{
    if (*n == work->pairs_room) {
        size_t room = work->pairs_room ? 2 * work->pairs_room : 1 << 16;
        struct pair *pair = realloc(work->pair, room * sizeof *pair);
        if (!pair) return false;
        work->pair = pair;
        work->pairs_room = room;
    }
    work->pair[(*n)++] = (struct pair){term, (uint16_t)cluster, (uint16_t)impact};
    return true;
}

static wr_ann_record record_of(const wr_ann_source *source, uint32_t docid)
{
    return wr_ann_record_at(source->records + (size_t)source->place[docid] * RECORD_ALIGN, source->wide);
}

/* ---- step 1 ---- */

/* The kept postings' docids, ascending; returns their number. */
static uint32_t choose(wr_ann_work *work, uint32_t id)
{
    const wr_ann_source *source = work->source;
    wr_postings term;
    uint32_t n = 0;
    if (!wr_postings_get(source->sparse, id, &term) || !postings_room(work, term.df)) return 0;
    for (uint32_t g = 0; g < source->sparse->ngroups; g++) {
        uint32_t from, slice;
        if (term.docid && g > 0) break;
        wr_postings_slice(&term, g, &from, &slice);
        if (term.docid) from = 0, slice = term.df;
        for (uint32_t i = from; i < from + slice; i++) {
            uint32_t docid = term.docid ? term.docid[i] : g * GROUP_DOCS + wr_posting_low(term.posting[i]);
            uint32_t impact = term.docid ? term.impact[i] : wr_posting_impact(term.posting[i]);
            if (impact >= source->least[docid]) work->key[n++] = wr_best_key(impact, docid);
        }
    }
    if (n > source->params.list_postings) {
        wr_best_sort_keys(work->key, n);
        n = source->params.list_postings;
    }
    for (uint32_t i = 0; i < n; i++) work->key[i] = wr_best_docid(work->key[i]);
    wr_best_sort_keys(work->key, n);
    for (uint32_t i = 0; i < n; i++) work->docid[i] = (uint32_t)work->key[n - 1 - i];
    return n;
}

/* ---- step 2 ---- */

static uint64_t random_next(uint64_t *state) /* SplitMix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The pairs by term, and in a term as they were: sorted[count[t]..count[t + 1]). The caller clears count. */
static bool sort_pairs(wr_ann_work *work, size_t n)
{
    size_t nterms = (size_t)work->source->sparse->header.nterms;
    if (n > work->sorted_room) {
        if (!grow(&work->sorted, n + n / 2, sizeof *work->sorted)) return false;
        work->sorted_room = n + n / 2;
    }
    for (size_t i = 0; i < n; i++) work->count[work->pair[i].term]++;
    uint32_t at = 0;
    for (size_t t = 0; t <= nterms; t++) {
        at += work->count[t];
        work->count[t] = at;
    }
    for (size_t i = n; i > 0; i--) work->sorted[--work->count[work->pair[i - 1].term]] = work->pair[i - 1];
    return true;
}

static void clear_counts(wr_ann_work *work)
{
    memset(work->count, 0, ((size_t)work->source->sparse->header.nterms + 1) * sizeof *work->count);
}

/* Draws the centres, and turns their vectors round. */
static bool draw_centres(wr_ann_work *work, uint32_t id, uint32_t n, uint32_t clusters)
{
    uint64_t state = id;
    size_t pairs = 0;
    for (uint32_t i = 0; i < n; i++) work->order[i] = i;
    for (uint32_t c = 0; c < clusters; c++) {
        uint32_t j = c + (uint32_t)(random_next(&state) % (n - c)), drawn = work->order[j];
        work->order[j] = work->order[c];
        work->order[c] = drawn;
        wr_ann_record record = record_of(work->source, work->docid[drawn]);
        for (uint32_t i = 0; i < record.n; i++)
            if (!pair_add(work, &pairs, wr_ann_record_term(&record, i), c, record.impact[i])) return false;
    }
    return sort_pairs(work, pairs);
}

/* The centre of the largest inner product, of equal ones the first. */
static uint32_t nearest(wr_ann_work *work, uint32_t docid, uint32_t clusters)
{
    wr_ann_record record = record_of(work->source, docid);
    uint32_t head = record.n < HEAD_TERMS ? record.n : HEAD_TERMS, best = 0;
    memset(work->dot, 0, clusters * sizeof *work->dot);
    for (uint32_t i = 0; i < head; i++) {
        uint32_t term = wr_ann_record_term(&record, i);
        float impact = record.impact[i];
        for (uint32_t j = work->count[term]; j < work->count[term + 1]; j++)
            work->dot[work->sorted[j].cluster] += impact * (float)work->sorted[j].impact;
    }
    for (uint32_t c = 1; c < clusters; c++)
        if (work->dot[c] > work->dot[best]) best = c;
    return best;
}

/* Orders the docids by cluster, ascending in each; first[] says where clusters begin. Empty ones go: returns how many
 * are left. */
static uint32_t divide(wr_ann_work *work, uint32_t n, uint32_t clusters)
{
    uint32_t kept = 0, at = 0;
    memset(work->first, 0, (clusters + 2) * sizeof *work->first);
    for (uint32_t i = 0; i < n; i++) {
        work->centre[i] = nearest(work, work->docid[i], clusters);
        work->first[work->centre[i] + 2]++;
    }
    for (uint32_t c = 1; c <= clusters; c++) work->first[c + 1] += work->first[c];
    for (uint32_t i = 0; i < n; i++) work->order[work->first[work->centre[i] + 1]++] = work->docid[i];
    for (uint32_t c = 0; c < clusters; c++) {
        if (work->first[c + 1] == at) continue;
        work->first[kept++] = at;
        at = work->first[c + 1];
    }
    work->first[kept] = n;
    memcpy(work->docid, work->order, n * sizeof *work->docid);
    return kept;
}

/* ---- step 3 ---- */

/* The largest impacts of documents [from, to) by term, in most; returns how many terms are seen. */
static size_t cluster_most(wr_ann_work *work, uint32_t from, uint32_t to)
{
    size_t nseen = 0;
    for (uint32_t i = from; i < to; i++) {
        wr_ann_record record = record_of(work->source, work->docid[i]);
        for (uint32_t j = 0; j < record.n; j++) {
            uint32_t term = wr_ann_record_term(&record, j);
            if (work->most[term] == 0) work->seen[nseen++] = term;
            if (record.impact[j] > work->most[term]) work->most[term] = record.impact[j];
        }
    }
    return nseen;
}

/* The impact from which on terms are kept: by steps of 1/256 of the largest possible. */
static uint32_t least_kept(const wr_ann_work *work, size_t nseen)
{
    uint32_t sum[256] = {0};
    uint64_t all = 0, kept = 0;
    for (size_t i = 0; i < nseen; i++) {
        uint16_t impact = work->most[work->seen[i]];
        sum[impact >> 8] += impact;
        all += impact;
    }
    double want = (double)all * (double)work->source->params.summary_share;
    uint32_t bin = 256;
    while (bin > 0 && (double)kept < want) kept += sum[--bin];
    return bin << 8;
}

/* All summaries as sorted pairs; *n is their number, *largest the largest impact. */
static bool summarise(wr_ann_work *work, uint32_t clusters, size_t *n, uint32_t *largest)
{
    bool fine = true;
    *n = 0;
    *largest = 1;
    for (uint32_t c = 0; c < clusters && fine; c++) {
        size_t nseen = cluster_most(work, work->first[c], work->first[c + 1]);
        uint32_t least = least_kept(work, nseen);
        for (size_t i = 0; i < nseen; i++) {
            uint32_t term = work->seen[i], impact = work->most[term];
            work->most[term] = 0;
            if (impact < least || !fine) continue;
            fine = pair_add(work, n, term, c, impact);
            if (impact > *largest) *largest = impact;
        }
    }
    return fine && sort_pairs(work, *n);
}

/* ---- step 4 ---- */

static void put_summaries(const wr_ann_work *work, const wr_ann_entry *entry, unsigned char *bytes)
{
    wr_ann_layout at = wr_ann_layout_of(entry);
    uint32_t *term = (uint32_t *)(void *)(bytes + at.term), *start = (uint32_t *)(void *)(bytes + at.start), m = 0;
    uint16_t *cluster = (uint16_t *)(void *)(bytes + at.cluster);
    uint8_t *value = bytes + at.value;
    memcpy(bytes + at.first, work->first, 4 * ((size_t)entry->clusters + 1));
    for (uint32_t i = 0; i < entry->e; i++) {
        const struct pair *pair = &work->sorted[i];
        if (i == 0 || pair->term != pair[-1].term) {
            term[m] = pair->term;
            start[m++] = i;
        }
        cluster[i] = pair->cluster;
        value[i] = (uint8_t)((pair->impact + entry->step / 2) / entry->step);
    }
    start[m] = entry->e;
}

static uint32_t distinct_terms(const wr_ann_work *work, size_t n)
{
    uint32_t m = 0;
    for (size_t i = 0; i < n; i++) m += i == 0 || work->sorted[i].term != work->sorted[i - 1].term;
    return m;
}

/* Clusters of a list of n documents, 0 when it is not divided. */
static uint32_t clusters_of(const wr_ann_source *source, uint32_t n)
{
    uint32_t clusters = n / source->params.cluster_docs;
    if (clusters < LEAST_CLUSTERS) return 0;
    return clusters < MAX_CLUSTERS ? clusters : MAX_CLUSTERS;
}

unsigned char *wr_ann_list_make(const wr_ann_source *source, wr_ann_work *work, uint32_t term, wr_ann_entry *entry)
{
    uint32_t n = choose(work, term), clusters = clusters_of(source, n), largest = 1;
    size_t pairs = 0;
    *entry = (wr_ann_entry){.n = n, .step = 1};
    if (work->room == 0) return NULL;
    if (clusters > 0) {
        bool fine = draw_centres(work, term, n, clusters);
        if (fine) clusters = divide(work, n, clusters);
        clear_counts(work);
        fine = fine && summarise(work, clusters, &pairs, &largest);
        clear_counts(work);
        if (!fine || pairs > UINT32_MAX) return NULL;
        entry->clusters = clusters;
        entry->e = (uint32_t)pairs;
        entry->m = distinct_terms(work, pairs);
        entry->step = (largest + UINT8_MAX - 1) / UINT8_MAX;
    }
    unsigned char *bytes = calloc(1, wr_ann_layout_of(entry).bytes + 1);
    if (!bytes) return NULL;
    uint32_t *place = (uint32_t *)(void *)bytes;
    for (uint32_t i = 0; i < n; i++) place[i] = source->place[work->docid[i]];
    if (clusters > 0) put_summaries(work, entry, bytes);
    return bytes;
}
