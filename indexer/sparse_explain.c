/* What made a document's score: the sums of a search (sparse_search.h), term by term. */
#include "indexer/sparse_search.h"

const char *wr_sparse_name(const wr_sparse *sparse, uint32_t term, size_t *len)
{
    wr_sparse_entry entry;
    *len = 0;
    if (!wr_sparse_entry_get(sparse, term, &entry)) return NULL;
    *len = entry.name_len;
    return (const char *)sparse->names + entry.name;
}

wr_status wr_sparse_explain(const wr_sparse *sparse, const wr_sparse_query *query, uint32_t docid, wr_arena *arena,
                            wr_sparse_share *share, size_t *n, double *unit)
{
    size_t mark = wr_arena_mark(arena), nparts = 0;
    struct part *part = wr_arena_calloc(arena, query->n, sizeof *part);
    *n = 0;
    if (!part) return WR_ENOMEM;
    for (size_t i = 0; i < query->n; i++)
        nparts += wr_sparse_part_get(sparse, query->term[i], query->weight[i], &part[nparts]);
    *unit = wr_sparse_set_units(sparse, part, nparts);
    for (size_t i = 0; i < nparts && docid < sparse->header.ndocs; i++) {
        uint32_t impact = wr_postings_find(&part[i].term, docid);
        if (!impact) continue;
        share[(*n)++] = (wr_sparse_share){.term = part[i].id,
                                          .query = part[i].weight,
                                          .impact = (float)impact * sparse->header.scale,
                                          .added = wr_sparse_units(part[i].units, impact) * *unit};
    }
    wr_arena_rollback(arena, mark);
    return WR_OK;
}
