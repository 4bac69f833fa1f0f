/* What the writer and the readers of sparse.h's file share: its numbers, and where the arrays of a term lie. */
#ifndef WR_INDEXER_SPARSE_FORMAT_H
#define WR_INDEXER_SPARSE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "data/mapfile.h"
#include "indexer/sparse.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian and read where it lies");

#define SPARSE_MAGIC "WRSPARSE"
#define SPARSE_VERSION 1
#define SPARSE_HEADER 128
#define SPARSE_ENTRY 24
#define SPARSE_ALIGN 64

#define BLOCK_DOCS 64u
#define GROUP_BLOCKS 128u
#define GROUP_DOCS (BLOCK_DOCS * GROUP_BLOCKS)

enum shape { SHAPE_LIST, SHAPE_GROUPS, SHAPE_BLOCKS, SHAPES };

/* Stored impacts, and their bounds: a bound of b stands for impacts up to b * BOUND_STEP. */
#define IMPACT_BITS 16
#define IMPACT_MAX UINT16_MAX
#define IMPACT_SCALE (1.0f / IMPACT_MAX) /* of BM25 */
#define BOUND_STEP 257u                  /* IMPACT_MAX / UINT8_MAX */

static inline uint8_t wr_sparse_bound(uint16_t impact)
{
    return (uint8_t)((impact + BOUND_STEP - 1) / BOUND_STEP);
}

/* A group's record: u16 first[GROUP_BLOCKS], u8 bound[GROUP_BLOCKS]. */
#define GROUP_RECORD (3u * GROUP_BLOCKS)

typedef struct wr_sparse_entry {
    uint64_t name, postings;
    uint32_t df;
    uint16_t name_len;
    uint8_t shape, bound;
} wr_sparse_entry;
_Static_assert(sizeof(wr_sparse_entry) == SPARSE_ENTRY, "an entry is read as it lies");

typedef struct wr_sparse_header {
    uint32_t kind, impact_bits, block_docs, group_blocks;
    uint64_t ndocs, nterms, npostings, total_length;
    double k1, b;
    float scale;
    uint32_t zero;
    uint64_t postings, postings_bytes, table, table_bytes, names, names_bytes, zero2;
} wr_sparse_header;
_Static_assert(sizeof(wr_sparse_header) == SPARSE_HEADER, "the header is read as it lies");

/* Byte offsets of a term's arrays from the start of its postings, which begin with the docids of a list or the postings
 * of the other shapes; what a shape has not is 0. */
typedef struct wr_sparse_layout {
    uint64_t impact, start, group_bound, record, bytes;
} wr_sparse_layout;

static inline uint64_t wr_sparse_round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static inline uint64_t wr_sparse_groups(uint64_t ndocs)
{
    return (ndocs + GROUP_DOCS - 1) / GROUP_DOCS;
}

/* Space decides between lists (6 bytes a posting) and groups (4 bytes a posting and 5 a group). Blocks, 384 bytes a
 * group, are for terms that one document in BLOCKS_DENSITY has: in rarer ones a docid is found as fast without them. */
#define BLOCKS_DENSITY 32

static inline enum shape wr_sparse_shape(uint64_t df, uint64_t ngroups)
{
    if (2 * df <= 5 * ngroups) return SHAPE_LIST;
    return df <= ngroups * (GROUP_DOCS / BLOCKS_DENSITY) ? SHAPE_GROUPS : SHAPE_BLOCKS;
}

/* No overflow: df and ngroups are below 2^32. */
static inline wr_sparse_layout wr_sparse_layout_of(enum shape shape, uint64_t df, uint64_t ngroups)
{
    wr_sparse_layout at = {0};
    if (shape == SHAPE_LIST) {
        at.impact = 4 * df;
        at.bytes = wr_sparse_round_up(6 * df, 4);
        return at;
    }
    at.start = 4 * df;
    at.group_bound = at.start + 4 * (ngroups + 1);
    at.record = wr_sparse_round_up(at.group_bound + ngroups, 4);
    at.bytes = at.record + (shape == SHAPE_BLOCKS ? GROUP_RECORD * ngroups : 0);
    return at;
}

struct wr_sparse {
    wr_map map;
    wr_sparse_header header;
    uint64_t ngroups;
    const unsigned char *postings, *table, *names;
    char path[]; /* for sentences */
};

/* The entry of a term, false when it or what it points to does not lie in the file. */
bool wr_sparse_entry_get(const wr_sparse *sparse, uint64_t term, wr_sparse_entry *entry);

/* One term's postings, where they lie in the map. */
typedef struct wr_postings {
    enum shape shape;
    uint32_t df;
    uint8_t bound;
    const uint32_t *docid;       /* [df] of a list, else NULL                           */
    const uint16_t *impact;      /* [df] of a list                                      */
    const uint32_t *posting;     /* [df] of groups and blocks                           */
    const uint32_t *start;       /* [groups + 1]                                        */
    const uint8_t *group_bound;  /* [groups]                                            */
    const unsigned char *record; /* [groups] of GROUP_RECORD bytes, NULL but for blocks */
} wr_postings;

/* A posting of groups and blocks. */
static inline uint32_t wr_posting(uint32_t docid, uint16_t impact)
{
    return docid % GROUP_DOCS | (uint32_t)impact << 16;
}

static inline uint32_t wr_posting_low(uint32_t posting)
{
    return posting % GROUP_DOCS; /* whatever a damaged file holds */
}

static inline uint32_t wr_posting_impact(uint32_t posting)
{
    return posting >> 16;
}

bool wr_postings_get(const wr_sparse *sparse, uint64_t term, wr_postings *out);

/* What a term has in group g: postings [*from, *from + *n) of the term. Binary search in a list. Damaged places give
 * none. */
void wr_postings_slice(const wr_postings *term, uint32_t g, uint32_t *from, uint32_t *n);

/* Stored impact of a term in a document below ndocs, 0 when it has none. O(log df). */
uint32_t wr_postings_find(const wr_postings *term, uint32_t docid);

#endif
