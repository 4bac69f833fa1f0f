#include "indexer/dense.h"

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>

#include "indexer/factory.h"
#include "models/model.h"

/* Up to here the vectors are scanned. At 384 components a scan of 100,000 takes some 6 ms on one core and half on two,
 * as much as encoding the query in fp32; it is exact, it can stop at a deadline, and there is nothing to build or to
 * hold in memory. Beyond, its time grows with the corpus while HNSW32's stays at 2 to 3 ms (BENCHMARKS.md, Dense). */
#define FLAT_MAX 100000

/* FAISS's own default. 100 and more cost 2.2 times the building time and more, and found no more (BENCHMARKS.md). */
#define EF_CONSTRUCTION 40

/* ef of twice k finds .99 of the k best at 100,000 vectors; below 128 the ten best begin to be missed. */
#define EF_MIN 128
#define EF_PER_HIT 2
#define EF_MAX 65536 /* a graph walk this long is a scan, and slower than one */

/* Training sees all vectors up to TRAIN_MIN or TRAIN_PER_CENTROID for each centroid, else so many, evenly spread over
 * the corpus: FAISS's k-means draws no more than 256 a centroid. Below 39 it prints a warning, once for every part of
 * a product quantizer; a small corpus is therefore shown to it several times over, which changes no mean. */
#define TRAIN_MIN ((size_t)65536)
#define TRAIN_PER_CENTROID 64
#define TRAIN_WARNING 39

/* FAISS 1.7.3 has no search parameters in its C API: efSearch and nprobe are fields of the index. (Asking for more
 * results widens HNSW's list of candidates, but its walk still ends after efSearch of them.) Searches share the lock
 * while they agree on both; one that wants other values waits for the running ones and has the index for itself. So
 * the default ef takes few values, whatever k is. */
typedef struct tuning {
    size_t ef, nprobe;
} tuning;

typedef struct graph {
    FaissIndex *index;
    FaissParameterSpace *space;
    size_t nlist;
    pthread_rwlock_t lock;
    tuning now; /* what the index is set to; guarded by lock */
} graph;

struct wr_dense {
    wr_vectors vectors;
    graph *graph; /* NULL: Flat */
};

const char *wr_dense_default_factory(uint64_t count)
{
    return count <= FLAT_MAX ? "Flat" : "HNSW32";
}

void wr_dense_thread_init(void)
{
    static _Thread_local bool done;
    if (!done) omp_set_num_threads(1);
    done = true;
}

/* FAISS's last sentence without the C++ function and source line in front of it. */
static const char *faiss_reason(void)
{
    const char *text = faiss_get_last_error();
    if (!text) return "no reason given";
    const char *source = strstr(text, ".cpp:");
    if (!source) source = strstr(text, ".h:");
    const char *reason = source ? strstr(source, ": ") : NULL;
    return reason ? reason + 2 : text;
}

/* EF_MIN, or the power of two that is at least EF_PER_HIT * k. */
static size_t default_ef(size_t k)
{
    size_t ef = EF_MIN;
    while (ef < EF_PER_HIT * k) ef *= 2;
    return ef;
}

static size_t default_nprobe(size_t nlist)
{
    return nlist < 16 ? nlist : 8 + nlist / 16;
}

/* A parameter that this kind of index has not got is no error. */
static void set_parameter(const FaissParameterSpace *space, FaissIndex *index, const char *name, size_t value)
{
    faiss_ParameterSpace_set_index_parameter(space, index, name, (double)value);
}

/* ---- building ---- */

/* Rows for training: the file's own, or `want` of them copied to *copy: evenly spread, or again and again. */
static const float *training_rows(const wr_vectors *v, size_t want, float **copy)
{
    *copy = NULL;
    if (v->count == want) return v->row;
    if (!(*copy = malloc(want * v->dim * sizeof **copy))) return NULL;
    for (size_t i = 0; i < want; i++) {
        uint64_t row = want < v->count ? v->count * i / want : i % v->count;
        memcpy(*copy + i * v->dim, v->row + row * v->dim, v->dim * sizeof **copy);
    }
    return *copy;
}

static wr_status train(FaissIndex *index, const wr_vectors *v, const wr_factory *factory, const char *text, wr_err *err)
{
    if (faiss_Index_is_trained(index)) return WR_OK;
    size_t most = factory->centroids * TRAIN_PER_CENTROID, least = factory->centroids * TRAIN_WARNING;
    if (most < TRAIN_MIN) most = TRAIN_MIN;
    size_t want = v->count > most ? most : v->count < least ? least : (size_t)v->count;
    float *copy;
    const float *rows = training_rows(v, want, &copy);
    if (!rows) return wr_fail(err, WR_ENOMEM, "dense index '%s': no memory for %zu training vectors", text, want);
    int rc = faiss_Index_train(index, (idx_t)want, rows);
    free(copy);
    if (!rc) return WR_OK;
    return wr_fail(err, WR_EARG, "dense index '%s': FAISS cannot train it on %zu vectors: %s", text, want,
                   faiss_reason());
}

static wr_status make(FaissIndex **index, size_t dim, const char *factory, wr_err *err)
{
    if (faiss_index_factory(index, (int)dim, factory, METRIC_INNER_PRODUCT)) {
        *index = NULL;
        return wr_fail(err, WR_EARG, "dense index '%s': FAISS refuses it for %zu components: %s", factory, dim,
                       faiss_reason());
    }
    if (faiss_Index_metric_type(*index) != METRIC_INNER_PRODUCT)
        return wr_fail(err, WR_EARG, "dense index '%s': FAISS builds it for distances only, not for inner products",
                       factory);
    return WR_OK;
}

static wr_status fill(FaissIndex *index, const wr_vectors *v, const char *factory, wr_err *err)
{
    idx_t label;
    float score;
    if (faiss_Index_add(index, (idx_t)v->count, v->row))
        return wr_fail(err, WR_EARG, "dense index '%s': FAISS cannot add %zu vectors: %s", factory, (size_t)v->count,
                       faiss_reason());
    /* Some kinds can be built but not searched; better to hear it now than at the first query. */
    if (faiss_Index_search(index, 1, v->row, 1, &score, &label))
        return wr_fail(err, WR_EARG, "dense index '%s': FAISS cannot search it: %s", factory, faiss_reason());
    return WR_OK;
}

static wr_status save(const FaissIndex *index, const char *path, wr_err *err)
{
    if (faiss_write_index_fname(index, path)) {
        unlink(path);
        return wr_fail(err, WR_EIO, "%s: FAISS cannot write it: %s", path, faiss_reason());
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0) close(fd);
    return rc ? wr_fail(err, WR_EIO, "%s: cannot sync: %s", path, strerror(errno)) : WR_OK;
}

wr_status wr_dense_check(const char *factory, size_t dim, wr_err *err)
{
    wr_factory parsed;
    FaissIndex *index = NULL;
    if (!strcmp(factory, "Flat")) return WR_OK;
    wr_status st = wr_factory_parse(&parsed, factory, dim, 0, err);
    if (!st) st = make(&index, dim, factory, err);
    if (index) faiss_Index_free(index);
    return st;
}

wr_status wr_dense_build(const char *vectors_path, const char *factory, bool fast, const char *faiss_path, wr_err *err)
{
    wr_vectors v;
    FaissIndex *index = NULL;
    FaissParameterSpace *space = NULL;
    wr_factory parsed;
    if (!strcmp(factory, "Flat")) return WR_OK;
    wr_status st = wr_vectors_open(&v, vectors_path, err);
    if (st) return st;
    if (v.count == 0) st = wr_fail(err, WR_EARG, "%s: no vectors to build '%s' from", vectors_path, factory);
    if (!st) st = wr_factory_parse(&parsed, factory, v.dim, v.count, err);
    if (st) goto done;
    wr_model_thread_init(); /* FAISS trains by BLAS: its sums, too, must not depend on the number of threads */
    omp_set_num_threads(fast ? (int)wr_cpu_count() : 1);
    if (faiss_ParameterSpace_new(&space)) {
        st = wr_fail(err, WR_ENOMEM, "dense index '%s': out of memory", factory);
        goto done;
    }
    if ((st = make(&index, v.dim, factory, err))) goto done;
    set_parameter(space, index, "efConstruction", EF_CONSTRUCTION);
    if ((st = train(index, &v, &parsed, factory, err))) goto done;
    if ((st = fill(index, &v, factory, err))) goto done;
    st = save(index, faiss_path, err);
done:
    omp_set_num_threads(1);
    if (index) faiss_Index_free(index);
    if (space) faiss_ParameterSpace_free(space);
    wr_vectors_close(&v);
    return st;
}

/* ---- searching ---- */

static void graph_close(graph *g)
{
    if (!g) return;
    if (g->index) faiss_Index_free(g->index);
    if (g->space) faiss_ParameterSpace_free(g->space);
    pthread_rwlock_destroy(&g->lock);
    free(g);
}

static void tune(graph *g, tuning wanted)
{
    set_parameter(g->space, g->index, "efSearch", wanted.ef);
    if (g->nlist) set_parameter(g->space, g->index, "nprobe", wanted.nprobe);
    g->now = wanted;
}

/* Writers first: a search with a wish of its own must not wait for ever behind those that agree. */
static void lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

static wr_status graph_open(graph *g, const wr_vectors *v, const char *path, const char *factory, wr_err *err)
{
    wr_dense_thread_init();
    wr_factory parsed;
    if (wr_factory_parse(&parsed, factory, v->dim, 0, NULL))
        return wr_fail(err, WR_EFORMAT, "%s: '%.80s' is no kind of index that weir builds", path, factory);
    if (faiss_read_index_fname(path, 0, &g->index)) {
        g->index = NULL;
        return wr_fail(err, WR_EFORMAT, "%s: FAISS cannot read it: %s", path, faiss_reason());
    }
    if (faiss_Index_d(g->index) != (int)v->dim || faiss_Index_ntotal(g->index) != (idx_t)v->count ||
        faiss_Index_metric_type(g->index) != METRIC_INNER_PRODUCT)
        return wr_fail(err, WR_EFORMAT, "%s: holds %lld vectors of %d components, expected %zu of %zu by inner product",
                       path, (long long)faiss_Index_ntotal(g->index), faiss_Index_d(g->index), (size_t)v->count,
                       v->dim);
    if (faiss_ParameterSpace_new(&g->space)) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    g->nlist = parsed.nlist;
    tune(g, (tuning){default_ef(1), default_nprobe(g->nlist)});
    return WR_OK;
}

wr_status wr_dense_open(wr_dense **dense, const char *vectors_path, const char *faiss_path, const char *factory,
                        wr_err *err)
{
    *dense = NULL;
    wr_dense *d = calloc(1, sizeof *d);
    graph *g = faiss_path ? calloc(1, sizeof *g) : NULL;
    if (g) lock_init(&g->lock);
    if (!d || (faiss_path && !g)) {
        free(d);
        graph_close(g);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", vectors_path);
    }
    d->graph = g;
    wr_status st = wr_vectors_open(&d->vectors, vectors_path, err);
    if (!st && g) st = graph_open(g, &d->vectors, faiss_path, factory, err);
    if (st) {
        wr_dense_close(d);
        return st;
    }
    *dense = d;
    return WR_OK;
}

void wr_dense_close(wr_dense *d)
{
    if (!d) return;
    graph_close(d->graph);
    wr_vectors_close(&d->vectors);
    free(d);
}

size_t wr_dense_dim(const wr_dense *d)
{
    return d->vectors.dim;
}

uint64_t wr_dense_count(const wr_dense *d)
{
    return d->vectors.count;
}

bool wr_dense_interruptible(const wr_dense *d)
{
    return !d->graph;
}

const float *wr_dense_vector(const wr_dense *d, uint32_t docid)
{
    return d->vectors.row + (size_t)docid * d->vectors.dim;
}

static int graph_search(graph *g, const float *query, size_t k, tuning wanted, float *score, idx_t *label)
{
    pthread_rwlock_rdlock(&g->lock);
    if (g->now.ef != wanted.ef || g->now.nprobe != wanted.nprobe) {
        pthread_rwlock_unlock(&g->lock);
        pthread_rwlock_wrlock(&g->lock);
        tune(g, wanted);
    }
    int rc = faiss_Index_search(g->index, 1, query, (idx_t)k, score, label);
    pthread_rwlock_unlock(&g->lock);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* FAISS's labels as docids: -1 is "no more", excluded ones are left out. Returns how many. */
static size_t candidates(const idx_t *label, size_t n, uint64_t count, const uint32_t *exclude, size_t nexclude,
                         uint32_t *docid)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (label[i] < 0 || (uint64_t)label[i] >= count) continue;
        uint32_t id = (uint32_t)label[i];
        if (nexclude && bsearch(&id, exclude, nexclude, sizeof id, by_number)) continue;
        docid[kept++] = id;
    }
    return kept;
}

wr_status wr_dense_search(const wr_dense *d, const float *query, size_t k, const wr_dense_params *params,
                          const uint32_t *exclude, size_t nexclude, const wr_budget *budget, wr_pool *pool,
                          wr_arena *arena, wr_hits *hits)
{
    graph *g = d->graph;
    const wr_vectors *v = &d->vectors;
    if (!g) return wr_vectors_scan(v, query, k, exclude, nexclude, budget, pool, arena, hits);
    *hits = (wr_hits){0};
    if (wr_budget_spent(budget)) {
        hits->partial = true; /* FAISS cannot be stopped, so it is not begun */
        return WR_OK;
    }
    wr_dense_thread_init();
    tuning wanted = {params && params->ef ? params->ef : default_ef(k),
                     params && params->nprobe ? params->nprobe : default_nprobe(g->nlist)};
    if (wanted.ef > EF_MAX) wanted.ef = EF_MAX;
    if (wanted.nprobe > g->nlist) wanted.nprobe = g->nlist;
    size_t ask = (wanted.ef > k ? wanted.ef : k) + nexclude;
    if (ask > v->count) ask = (size_t)v->count;
    float *score = wr_arena_alloc(arena, ask * sizeof *score);
    idx_t *label = wr_arena_alloc(arena, ask * sizeof *label);
    uint32_t *docid = wr_arena_alloc(arena, ask * sizeof *docid);
    if (!score || !label || !docid) return WR_ENOMEM;
    if (graph_search(g, query, ask, wanted, score, label)) return WR_ENOMEM; /* all that is left to go wrong */
    size_t n = candidates(label, ask, v->count, exclude, nexclude, docid);
    return wr_vectors_rescore(v, query, docid, n, k, arena, hits);
}
