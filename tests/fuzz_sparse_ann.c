/* The input is a file of postings and the file of clusters beside it, behind the length of the first (32 bits). What
 * would refuse them at once is put right first: both checked headers, and which postings the clusters belong to.
 * Whatever opens is searched in both ways, asked and verified without leaving the files; scores of approximate search
 * are at most those of exact search where both verify. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "data/mapfile.h"
#include "indexer/sparse_ann_format.h"
#include "tests/fuzz_file.h"

enum { MAX_INPUT = 1 << 20, TERMS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char *with_header(size_t slot, const char *magic, uint8_t *file, size_t n)
{
    const uint32_t version = 1, header = WR_CHECKED_HEADER;
    uint64_t length = n - WR_CHECKED_HEADER;
    memcpy(file, magic, 8);
    memcpy(file + 8, &version, 4);
    memcpy(file + 12, &header, 4);
    memcpy(file + 16, &length, 8);
    uint64_t sum = wr_checksum(file, 24);
    memcpy(file + 24, &sum, 8);
    return fuzz_file_in(slot, file, n);
}

static void search(const wr_sparse *sparse, const wr_sparse_ann *ann, bool sound, wr_arena *arena)
{
    const wr_sparse_ann_options all = {-1, UINT32_MAX};
    uint64_t nterms = sparse->header.nterms;
    uint32_t term[TERMS];
    float weight[TERMS];
    wr_hits some, best;
    for (size_t i = 0; i < TERMS; i++) {
        term[i] = (uint32_t)(nterms * i / TERMS);
        weight[i] = (float)(i + 1);
    }
    wr_sparse_query query = {term, weight, nterms < TERMS ? nterms > 0 : TERMS};
    if (wr_sparse_ann_search(ann, &query, 10, NULL, NULL, 0, NULL, arena, &some)) return;
    if (wr_sparse_ann_search(ann, &query, 10, &all, NULL, 0, NULL, arena, &some)) return;
    for (size_t i = 0; i < some.n; i++)
        if (some.docid[i] >= sparse->header.ndocs || !(some.score[i] > 0)) abort();
    if (!sound || wr_sparse_search(sparse, &query, 10, NULL, 0, NULL, arena, &best)) return;
    if (some.n > best.n) abort();
    for (size_t i = 0; i < some.n; i++)
        if (some.score[i] > best.score[i]) abort();
}

static void use(const wr_sparse *sparse, const wr_sparse_ann *ann, wr_arena *arena)
{
    const uint32_t *term;
    const float *impact;
    wr_err err = {0};
    wr_sparse_ann_stats stats;
    size_t n;
    wr_sparse_ann_stats_get(ann, &stats);
    bool sound = wr_sparse_verify(sparse, &err) == WR_OK && wr_sparse_ann_verify(ann, &err) == WR_OK;
    search(sparse, ann, sound, arena);
    for (uint32_t d = 0; d < 50; d++) wr_sparse_ann_document(ann, d * 3, arena, &term, &impact, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static wr_arena arena;
    static uint8_t file[MAX_INPUT];
    uint32_t first;
    wr_sparse *sparse;
    wr_sparse_ann *ann;
    wr_err err = {0};
    if (!arena.base && wr_arena_init(&arena, (size_t)1 << 24)) abort();
    if (n < 4 || n > MAX_INPUT) return 0;
    memcpy(&first, bytes, 4);
    if (first < WR_CHECKED_HEADER || first > n - 4 || n - 4 - first < WR_CHECKED_HEADER + 8) return 0;
    memcpy(file, bytes + 4, first);
    if (wr_sparse_open(&sparse, with_header(0, SPARSE_MAGIC, file, first), &err)) return 0;
    n -= 4 + first;
    memcpy(file, bytes + 4 + first, n);
    uint64_t fingerprint = wr_ann_fingerprint(sparse);
    memcpy(file + WR_CHECKED_HEADER, &fingerprint, 8);
    /* Rows of a group are made by the postings' word: what these say of documents is bounded by the input. */
    if (sparse->header.ndocs < 1 << 16 && sparse->header.nterms < 1 << 16) {
        if (!wr_sparse_ann_open(&ann, sparse, with_header(1, ANN_MAGIC, file, n), &err))
            use(sparse, ann, &arena);
        else if (!err.text[0] || ann)
            abort();
        else
            ann = NULL;
        wr_sparse_ann_close(ann);
    }
    wr_sparse_close(sparse);
    wr_arena_reset(&arena, 1 << 24);
    return 0;
}
