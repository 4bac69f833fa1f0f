#include "indexer/index.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "data/mapfile.h"
#include "indexer/manifest.h"

#define PASSAGES_MAGIC "WRPASSAG"
#define PASSAGES_VERSION 1
#define QUERY_MAGIC "WRQUERYW"
#define QUERY_VERSION 1

struct wr_index {
    char *dir, *name;
    wr_manifest manifest;
    wr_docstore *docs;
    wr_sparse *bm25;
    wr_dense *dense;   /* NULL without */
    wr_sparse *sparse; /* learned; NULL without */
    wr_sparse_ann *clusters;
    wr_map passages_map, query_map;
    const float *query_weight; /* [nquery] in the map, or NULL */
    size_t nquery;
    const uint32_t *document; /* [passages] in the map, ascending */
};

/* DIR/GENERATION/FILE */
static wr_status file_path(char path[PATH_MAX], const char *dir, const char *generation, enum wr_index_file which,
                           wr_err *err)
{
    char folder[PATH_MAX];
    if (!wr_path_join(folder, sizeof folder, dir, generation) &&
        !wr_path_join(path, PATH_MAX, folder, wr_index_file_name[which]))
        return WR_OK;
    return wr_fail(err, WR_EARG, "%s: the path is too long", dir);
}

/* ---- opening ---- */

/* How much opening verifies: what a library parses, and the small passage map; of our own files the first block, which
 * holds their headers. Their readers check the rest as they go. */
static size_t blocks_at_open(enum wr_index_file which)
{
    return which == WR_FILE_BM25 || which == WR_FILE_SPARSE || which == WR_FILE_CLUSTERS ||
                   which == WR_FILE_VECTORS
               ? 1
               : SIZE_MAX;
}

static wr_status verify_files(const wr_manifest *m, const char *dir, wr_err *err)
{
    for (enum wr_index_file i = 0; i < WR_FILE_COUNT; i++) {
        char path[PATH_MAX];
        if (!m->file[i].present) continue;
        wr_status st = file_path(path, dir, m->info.generation, i, err);
        if (!st) st = wr_manifest_verify(m, i, path, blocks_at_open(i), NULL, err);
        if (st) return st;
    }
    return WR_OK;
}

static wr_status counts_agree(const char *path, uint64_t got, uint64_t want, const char *what, wr_err *err)
{
    if (got == want) return WR_OK;
    return wr_fail(err, WR_EFORMAT, "%s: %zu %s, the manifest says %zu", path, (size_t)got, what, (size_t)want);
}

/* Every passage belongs to a document, in order, and no document is without one. */
static wr_status check_passages(const wr_index *x, const char *path, wr_err *err)
{
    uint64_t next = 0; /* the document that has not been seen yet */
    for (uint64_t i = 0; i < x->manifest.info.passages; i++) {
        uint32_t d = x->document[i];
        if (d > next || d + UINT64_C(1) < next)
            return wr_fail(err, WR_EFORMAT, "%s: passage %zu belongs to document %u, out of order", path, (size_t)i, d);
        if (d == next) next++;
    }
    return counts_agree(path, next, x->manifest.info.documents, "documents", err);
}

static wr_status open_passages(wr_index *x, const char *path, wr_err *err)
{
    const unsigned char *payload;
    size_t size;
    wr_status st = wr_map_open_checked(&x->passages_map, path, PASSAGES_MAGIC, PASSAGES_VERSION, &payload, &size, err);
    if (st) return st;
    if (size != x->manifest.info.passages * sizeof *x->document)
        return wr_fail(err, WR_EFORMAT, "%s: %zu bytes for %zu passages", path, size,
                       (size_t)x->manifest.info.passages);
    x->document = (const uint32_t *)(const void *)payload;
    return check_passages(x, path, err);
}

static wr_status open_dense(wr_index *x, const char *dir, wr_err *err)
{
    const wr_index_info *info = &x->manifest.info;
    char vectors[PATH_MAX], faiss[PATH_MAX];
    bool graph = x->manifest.file[WR_FILE_FAISS].present;
    if (!info->has_dense) return WR_OK;
    wr_status st = file_path(vectors, dir, info->generation, WR_FILE_VECTORS, err);
    if (!st) st = file_path(faiss, dir, info->generation, WR_FILE_FAISS, err);
    if (!st) st = wr_dense_open(&x->dense, vectors, graph ? faiss : NULL, info->dense_factory, err);
    if (!st) st = counts_agree(vectors, wr_dense_count(x->dense), info->passages, "vectors", err);
    if (!st) st = counts_agree(vectors, wr_dense_dim(x->dense), info->dense_dim, "components", err);
    return st;
}

/* The weights of a query's tokens: finite, none below 0. */
static wr_status open_query_weights(wr_index *x, const char *path, wr_err *err)
{
    const unsigned char *payload;
    size_t size;
    wr_status st = wr_map_open_checked(&x->query_map, path, QUERY_MAGIC, QUERY_VERSION, &payload, &size, err);
    if (st) return st;
    if (size % sizeof *x->query_weight) return wr_fail(err, WR_EFORMAT, "%s: %zu bytes are no table of floats", path, size);
    x->query_weight = (const float *)(const void *)payload;
    x->nquery = size / sizeof *x->query_weight;
    for (size_t i = 0; i < x->nquery; i++)
        if (!(x->query_weight[i] >= 0 && x->query_weight[i] <= FLT_MAX))
            return wr_fail(err, WR_EFORMAT, "%s: the weight of token %zu is none", path, i);
    return WR_OK;
}

static wr_status open_postings(wr_index *x, const char *dir, enum wr_index_file which, wr_sparse **out, wr_err *err)
{
    const wr_sparse_kind kind = which == WR_FILE_BM25 ? WR_SPARSE_BM25 : WR_SPARSE_WEIGHTS;
    wr_sparse_stats stats;
    char path[PATH_MAX];
    wr_status st = file_path(path, dir, x->manifest.info.generation, which, err);
    if (!st) st = wr_sparse_open(out, path, err);
    if (st) return st;
    wr_sparse_stats_get(*out, &stats);
    if (stats.kind != kind)
        return wr_fail(err, WR_EFORMAT, "%s: postings of kind %d, expected %d (1 is BM25's, 2 weights as given)", path,
                       (int)stats.kind, (int)kind);
    return counts_agree(path, stats.ndocs, x->manifest.info.passages, "passages", err);
}

static wr_status open_sparse(wr_index *x, const char *dir, wr_err *err)
{
    char path[PATH_MAX];
    if (!x->manifest.info.has_sparse) return WR_OK;
    wr_status st = open_postings(x, dir, WR_FILE_SPARSE, &x->sparse, err);
    if (!st && x->manifest.file[WR_FILE_CLUSTERS].present) {
        st = file_path(path, dir, x->manifest.info.generation, WR_FILE_CLUSTERS, err);
        if (!st) st = wr_sparse_ann_open(&x->clusters, x->sparse, path, err);
    }
    if (st || !x->manifest.file[WR_FILE_QUERY].present) return st;
    st = file_path(path, dir, x->manifest.info.generation, WR_FILE_QUERY, err);
    return st ? st : open_query_weights(x, path, err);
}

static wr_status open_stores(wr_index *x, const char *dir, wr_err *err)
{
    const wr_index_info *info = &x->manifest.info;
    char path[PATH_MAX];
    wr_status st = file_path(path, dir, info->generation, WR_FILE_DOCS, err);
    if (!st) st = wr_docstore_open(&x->docs, path, err);
    if (!st) st = counts_agree(path, wr_docstore_count(x->docs), info->documents, "documents", err);
    if (!st && *info->tokenizer_sha256 && !wr_docstore_has_tokens(x->docs))
        st = wr_fail(err, WR_EFORMAT, "%s: no token ids, the manifest says there are", path);
    if (!st) st = file_path(path, dir, info->generation, WR_FILE_PASSAGES, err);
    if (!st) st = open_passages(x, path, err);
    if (!st) st = open_postings(x, dir, WR_FILE_BM25, &x->bm25, err);
    if (!st) st = open_sparse(x, dir, err);
    return st ? st : open_dense(x, dir, err);
}

/* The folder's own name, whatever way it was written ("a/b/", "."). */
static char *name_of(const char *dir)
{
    char real[PATH_MAX];
    const char *path = realpath(dir, real) ? real : dir;
    const char *slash = strrchr(path, '/');
    return strdup(slash && slash[1] ? slash + 1 : path);
}

static wr_status open_once(wr_index **index, const char *dir, wr_err *err)
{
    *index = NULL;
    wr_index *x = calloc(1, sizeof *x);
    if (!x || !(x->dir = strdup(dir)) || !(x->name = name_of(dir))) {
        wr_index_close(x);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", dir);
    }
    wr_status st = wr_manifest_load(&x->manifest, dir, err);
    if (!st) st = verify_files(&x->manifest, dir, err);
    if (!st) st = open_stores(x, dir, err);
    if (st) {
        wr_index_close(x);
        return st;
    }
    x->manifest.info.dir = x->dir;
    x->manifest.info.name = x->name;
    *index = x;
    return WR_OK;
}

wr_status wr_index_open(wr_index **index, const char *dir, wr_err *err)
{
    for (int attempt = 0;; attempt++) {
        char before[WR_GENERATION_CAP] = "", after[WR_GENERATION_CAP] = "";
        wr_index_current(dir, before, sizeof before, NULL);
        wr_status st = open_once(index, dir, err);
        if (!st || attempt == 3) return st;
        /* A builder that published two generations meanwhile has removed the one that was being opened. */
        if (wr_index_current(dir, after, sizeof after, NULL) || !strcmp(before, after)) return st;
    }
}

void wr_index_close(wr_index *x)
{
    if (!x) return;
    wr_docstore_close(x->docs);
    wr_sparse_close(x->bm25);
    wr_sparse_ann_close(x->clusters);
    wr_sparse_close(x->sparse);
    wr_dense_close(x->dense);
    wr_map_close(&x->passages_map);
    wr_map_close(&x->query_map);
    wr_manifest_release(&x->manifest);
    free(x->dir);
    free(x->name);
    free(x);
}

/* ---- what is open ---- */

const wr_index_info *wr_index_info_get(const wr_index *x)
{
    return &x->manifest.info;
}

uint32_t wr_index_ndocs(const wr_index *x)
{
    return (uint32_t)x->manifest.info.passages;
}

uint32_t wr_index_document(const wr_index *x, uint32_t passage)
{
    return x->document[passage];
}

const wr_docstore *wr_index_docstore(const wr_index *x)
{
    return x->docs;
}

const wr_sparse *wr_index_bm25(const wr_index *x)
{
    return x->bm25;
}

const wr_dense *wr_index_dense(const wr_index *x)
{
    return x->dense;
}

const wr_sparse *wr_index_sparse(const wr_index *x)
{
    return x->sparse;
}

const wr_sparse_ann *wr_index_clusters(const wr_index *x)
{
    return x->clusters;
}

const float *wr_index_query_weights(const wr_index *x, size_t *n)
{
    *n = x->nquery;
    return x->query_weight;
}

/* First passage whose document is >= d. */
static uint32_t first_passage(const wr_index *x, uint64_t d)
{
    uint32_t lo = 0, hi = wr_index_ndocs(x);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (x->document[mid] < d)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void wr_index_passages(const wr_index *x, uint32_t document, uint32_t *first, uint32_t *n)
{
    *first = first_passage(x, document);
    *n = first_passage(x, document + UINT64_C(1)) - *first;
}

wr_status wr_index_current(const char *dir, char *out, size_t cap, wr_err *err)
{
    wr_manifest m;
    if (cap) out[0] = 0;
    wr_status st = wr_manifest_load(&m, dir, err);
    if (!st && snprintf(out, cap, "%s", m.info.generation) >= (int)cap)
        st = wr_fail(err, WR_EARG, "%s: no room for the name '%s'", dir, m.info.generation);
    wr_manifest_release(&m);
    return st;
}

/* ---- fsck ---- */

/* What checksums cannot say: that the files agree in themselves and with each other. */
static wr_status verify_stores(const char *dir, wr_err *err)
{
    wr_index *x;
    wr_vectors vectors = {0};
    char path[PATH_MAX];
    wr_status st = open_once(&x, dir, err);
    if (st) return st;
    st = wr_docstore_verify(x->docs, err);
    if (!st) st = wr_sparse_verify(x->bm25, err);
    if (!st && x->sparse) st = wr_sparse_verify(x->sparse, err);
    if (!st && x->clusters) st = wr_sparse_ann_verify(x->clusters, err);
    if (!st && x->dense) {
        st = file_path(path, dir, x->manifest.info.generation, WR_FILE_VECTORS, err);
        if (!st) st = wr_vectors_open(&vectors, path, err);
        if (!st) st = wr_vectors_verify(&vectors, path, err);
        wr_vectors_close(&vectors);
    }
    wr_index_close(x);
    return st;
}

wr_status wr_index_fsck(const char *dir, void (*report)(void *arg, const char *file, uint64_t bytes), void *arg,
                        wr_err *err)
{
    wr_manifest m;
    wr_status st = wr_manifest_load(&m, dir, err);
    for (enum wr_index_file i = 0; i < WR_FILE_COUNT && !st; i++) {
        char path[PATH_MAX], name[WR_GENERATION_CAP + 32];
        if (!m.file[i].present) continue;
        st = file_path(path, dir, m.info.generation, i, err);
        if (!st) st = wr_manifest_verify(&m, i, path, SIZE_MAX, NULL, err);
        snprintf(name, sizeof name, "%s/%s", m.info.generation, wr_index_file_name[i]);
        if (!st && report) report(arg, name, m.file[i].bytes);
    }
    if (!st) st = verify_stores(dir, err);
    wr_manifest_release(&m);
    return st;
}
