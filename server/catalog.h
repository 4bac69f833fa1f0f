/* The indexes that are served, by name, each with the generation that is current; switched while requests run.
 *
 * An edition is one open generation with its scratches. A lease holds an edition and one scratch of it for one request;
 * an edition that is no longer current is closed when its last lease is given back.
 *
 *     wr_lease lease;
 *     if (wr_catalog_lease(catalog, "wiki", &lease)) ...      // WR_ENOTFOUND
 *     wr_rank(lease.ranker, &request, lease.scratch, &reply, &err);
 *     ... write the answer: its texts are borrowed from the index ...
 *     wr_catalog_return(&lease);
 */
#ifndef WR_SERVER_CATALOG_H
#define WR_SERVER_CATALOG_H

#include <stddef.h>

#include "ranker/rank.h"
#include "server/config.h"

typedef struct wr_catalog wr_catalog;

typedef struct wr_catalog_options {
    const wr_index_spec *index; /* [n] borrowed until close */
    size_t n;
    size_t scratches; /* for each edition: leases of one index at one time; more wait */
    wr_loaded *loaded;
    wr_pool *pool;
} wr_catalog_options;

/* Opens the newest generation of every index and runs one query through each: weights are packed and the models' speed
 * is known before the first request comes. */
wr_status wr_catalog_open(wr_catalog **catalog, const wr_catalog_options *options, wr_err *err);
void wr_catalog_close(wr_catalog *catalog); /* every lease has been given back; NULL is fine */

typedef struct wr_lease {
    wr_ranker *ranker;
    wr_scratch *scratch;
    const char *name;                /* as it is served */
    const wr_index_info *info;
    struct wr_edition *edition; /* private */
    size_t slot;
} wr_lease;

/* name NULL or "" = the first index. Prefers a scratch that no straggler of an earlier request still writes into. */
wr_status wr_catalog_lease(wr_catalog *catalog, const char *name, wr_lease *lease);
void wr_catalog_return(wr_lease *lease);

size_t wr_catalog_size(const wr_catalog *catalog);
const char *wr_catalog_name(const wr_catalog *catalog, size_t i);

/* Opens the generation that index i's manifest names now and switches to it; WR_STOPPED when it is the one that is
 * served. After a failure the old one stays. One thread at a time; leases go on meanwhile. generation (may be NULL)
 * gets the name of what is served afterwards. */
wr_status wr_catalog_reload(wr_catalog *catalog, size_t i, char *generation, size_t cap, wr_err *err);

#endif
