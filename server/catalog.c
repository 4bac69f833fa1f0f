#include "server/catalog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wr_edition edition;

struct wr_edition {
    wr_catalog *catalog;
    wr_ranker *ranker;
    const char *name;
    size_t leases; /* guarded by the catalog's lock, as all below */
    bool current;
    size_t nscratches;
    bool *taken;          /* [nscratches] */
    wr_scratch *scratch[]; /* [nscratches] */
};

struct wr_catalog {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    wr_catalog_options options;
    edition *edition[WR_MAX_INDEXES]; /* [n] the current ones */
};

/* ---- editions ---- */

static void close_edition(edition *e)
{
    if (!e) return;
    for (size_t i = 0; i < e->nscratches; i++) wr_scratch_close(e->scratch[i]);
    wr_ranker_close(e->ranker);
    free(e->taken);
    free(e);
}

/* The first query of a process packs weights and touches pages; nobody should wait for that. */
static wr_status warm_up(edition *e, wr_err *err)
{
    static const char query[] = "a first question to warm the house";
    wr_request request = {.query = query, .query_len = sizeof query - 1, .k = 1};
    wr_response reply;
    return wr_rank(e->ranker, &request, e->scratch[0], &reply, err);
}

static wr_status open_edition(wr_catalog *catalog, size_t i, edition **out, wr_err *err)
{
    const wr_catalog_options *options = &catalog->options;
    const wr_index_spec *spec = &options->index[i];
    *out = NULL;
    edition *e = calloc(1, sizeof *e + options->scratches * sizeof e->scratch[0]);
    if (!e || !(e->taken = calloc(options->scratches, sizeof *e->taken))) {
        free(e);
        return wr_fail(err, WR_ENOMEM, "index %s: out of memory", spec->name);
    }
    e->catalog = catalog;
    e->name = spec->name;
    wr_status st = wr_ranker_open(&e->ranker, spec->dir, options->loaded, options->pool, err);
    for (; !st && e->nscratches < options->scratches; e->nscratches++)
        if ((st = wr_scratch_open(&e->scratch[e->nscratches], e->ranker, err))) break;
    if (!st) st = warm_up(e, err);
    if (st) close_edition(e);
    else *out = e;
    return st;
}

/* ---- the catalog ---- */

wr_status wr_catalog_open(wr_catalog **out, const wr_catalog_options *options, wr_err *err)
{
    wr_status st = WR_OK;
    *out = NULL;
    wr_catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog) return wr_fail(err, WR_ENOMEM, "catalog: out of memory");
    pthread_mutex_init(&catalog->lock, NULL);
    pthread_cond_init(&catalog->returned, NULL);
    catalog->options = *options;
    for (size_t i = 0; i < options->n && !st; i++) {
        st = open_edition(catalog, i, &catalog->edition[i], err);
        if (!st) catalog->edition[i]->current = true;
    }
    if (st) wr_catalog_close(catalog);
    else *out = catalog;
    return st;
}

void wr_catalog_close(wr_catalog *catalog)
{
    if (!catalog) return;
    for (size_t i = 0; i < catalog->options.n; i++) close_edition(catalog->edition[i]);
    pthread_cond_destroy(&catalog->returned);
    pthread_mutex_destroy(&catalog->lock);
    free(catalog);
}

static edition *find(wr_catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->options.n; i++)
        if (!name || !*name || !strcmp(name, catalog->options.index[i].name)) return catalog->edition[i];
    return NULL;
}

/* A scratch that is free, one without stragglers before others. */
static size_t pick(edition *e)
{
    size_t busy = e->nscratches;
    for (size_t i = 0; i < e->nscratches; i++) {
        if (e->taken[i]) continue;
        if (!wr_scratch_busy(e->scratch[i])) return i;
        if (busy == e->nscratches) busy = i;
    }
    return busy;
}

wr_status wr_catalog_lease(wr_catalog *catalog, const char *name, wr_lease *lease)
{
    size_t slot = 0;
    memset(lease, 0, sizeof *lease);
    pthread_mutex_lock(&catalog->lock);
    edition *e;
    while ((e = find(catalog, name)) && (slot = pick(e)) == e->nscratches)
        pthread_cond_wait(&catalog->returned, &catalog->lock);
    if (e) {
        e->taken[slot] = true;
        e->leases++;
    }
    pthread_mutex_unlock(&catalog->lock);
    if (!e) return WR_ENOTFOUND;
    *lease = (wr_lease){.ranker = e->ranker, .scratch = e->scratch[slot], .name = e->name, .edition = e, .slot = slot,
                        .info = wr_index_info_get(wr_ranker_index(e->ranker))};
    return WR_OK;
}

void wr_catalog_return(wr_lease *lease)
{
    edition *e = lease->edition;
    if (!e) return;
    wr_catalog *catalog = e->catalog;
    pthread_mutex_lock(&catalog->lock);
    e->taken[lease->slot] = false;
    bool last = --e->leases == 0 && !e->current;
    pthread_cond_broadcast(&catalog->returned);
    pthread_mutex_unlock(&catalog->lock);
    memset(lease, 0, sizeof *lease);
    if (last) close_edition(e);
}

size_t wr_catalog_size(const wr_catalog *catalog)
{
    return catalog->options.n;
}

const char *wr_catalog_name(const wr_catalog *catalog, size_t i)
{
    return catalog->options.index[i].name;
}

static const char *generation_of(const edition *e)
{
    return wr_index_info_get(wr_ranker_index(e->ranker))->generation;
}

wr_status wr_catalog_reload(wr_catalog *catalog, size_t i, char *generation, size_t cap, wr_err *err)
{
    char newest[64];
    edition *old = catalog->edition[i], *fresh = NULL;
    if (generation) snprintf(generation, cap, "%s", generation_of(old));
    wr_status st = wr_index_current(catalog->options.index[i].dir, newest, sizeof newest, err);
    if (!st && !strcmp(newest, generation_of(old))) return WR_STOPPED;
    if (!st) st = open_edition(catalog, i, &fresh, err);
    if (st) return st;
    pthread_mutex_lock(&catalog->lock);
    fresh->current = true;
    old->current = false;
    catalog->edition[i] = fresh;
    bool last = old->leases == 0;
    pthread_mutex_unlock(&catalog->lock);
    if (generation) snprintf(generation, cap, "%s", generation_of(fresh));
    if (last) close_edition(old);
    return WR_OK;
}
