/* The input is a file of postings whose checked header is put right first (a wrong one is refused and nothing else
 * would be seen). Whatever opens is searched, asked and verified without leaving the file, and the hits are in order;
 * what verifies gives the same hits as scoring every posting. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "data/mapfile.h"
#include "indexer/sparse.h"
#include "tests/fuzz_file.h"

enum { MAX_INPUT = 1 << 20, TERMS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char *with_header(const uint8_t *bytes, size_t n)
{
    static uint8_t file[MAX_INPUT];
    const uint32_t version = 1, header = WR_CHECKED_HEADER;
    uint64_t length = n - WR_CHECKED_HEADER;
    memcpy(file, bytes, n);
    memcpy(file, "WRSPARSE", 8);
    memcpy(file + 8, &version, 4);
    memcpy(file + 12, &header, 4);
    memcpy(file + 16, &length, 8);
    uint64_t sum = wr_checksum(file, 24);
    memcpy(file + 24, &sum, 8);
    return fuzz_file(file, n);
}

/* A damaged list may hold a document twice. */
static void check_hits(const wr_hits *hits, uint64_t ndocs, bool sound)
{
    for (size_t i = 0; i < hits->n; i++) {
        if (hits->docid[i] >= ndocs || !(hits->score[i] > 0)) abort();
        if (i > 0 && sound && !wr_better(hits->score[i - 1], hits->docid[i - 1], hits->score[i], hits->docid[i]))
            abort();
    }
}

static void search(const wr_sparse *sparse, uint64_t ndocs, uint64_t nterms, bool sound, wr_arena *arena)
{
    uint32_t term[TERMS];
    float weight[TERMS];
    wr_hits fast, slow;
    for (size_t i = 0; i < TERMS; i++) {
        term[i] = (uint32_t)(nterms * i / TERMS);
        weight[i] = (float)(i + 1);
    }
    wr_sparse_query query = {term, weight, nterms < TERMS ? nterms > 0 : TERMS};
    if (wr_sparse_search(sparse, &query, 10, NULL, 0, NULL, arena, &fast))
        return; /* more documents than the arena holds */
    check_hits(&fast, ndocs, sound);
    if (!sound || wr_sparse_search_exhaustive(sparse, &query, 10, NULL, 0, arena, &slow)) return;
    if (fast.n != slow.n) abort();
    if (fast.n > 0 && memcmp(fast.docid, slow.docid, fast.n * sizeof *fast.docid) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static wr_arena arena;
    wr_sparse *sparse;
    wr_sparse_stats stats;
    wr_err err = {0};
    if (!arena.base && wr_arena_init(&arena, (size_t)1 << 24)) abort();
    if (n < WR_CHECKED_HEADER || n > MAX_INPUT) return 0;
    if (wr_sparse_open(&sparse, with_header(bytes, n), &err)) {
        if (!err.text[0] || sparse) abort();
        return 0;
    }
    wr_sparse_stats_get(sparse, &stats);
    bool sound = wr_sparse_verify(sparse, &err) == WR_OK;
    search(sparse, stats.ndocs, stats.nterms, sound, &arena);
    for (uint32_t t = 0; t < stats.nterms && t < 50; t++) {
        wr_sparse_impact(sparse, t, t * 7);
        wr_sparse_idf(sparse, t);
    }
    wr_sparse_term(sparse, "t1", 2);
    wr_sparse_close(sparse);
    wr_arena_reset(&arena, 1 << 24);
    return 0;
}
