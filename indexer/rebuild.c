/* Another dense index over the vectors that are there: wr_rebuild() of build.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "indexer/build.h"
#include "indexer/generation.h"

static wr_status copy_file(const char *from, const char *to, wr_err *err)
{
    wr_map map;
    wr_file *file = NULL;
    wr_status st = wr_map_open(&map, from, err);
    if (!st) st = wr_file_create(&file, to, NULL, 0, err);
    if (!st) {
        wr_file_write(file, map.bytes, map.size);
        st = wr_file_commit(file, err);
    }
    wr_map_close(&map);
    return st;
}

/* The file of generation `old` under the new one. Its checksums stay those of the old manifest, so that damage done in
 * between is not blessed. */
static wr_status take_over(const wr_generation *g, const char *old, enum wr_index_file which, wr_err *err)
{
    char folder[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    wr_status st = wr_generation_file(g, which, to, err);
    if (st) return st;
    if (wr_path_join(folder, sizeof folder, g->dir, old) ||
        wr_path_join(from, sizeof from, folder, wr_index_file_name[which]))
        return wr_fail(err, WR_EARG, "%.200s: the path is too long", g->dir);
    if (!link(from, to)) return WR_OK;
    if (errno == ENOENT) return wr_fail(err, WR_EFORMAT, "%.3000s: missing, but listed in the manifest", from);
    return copy_file(from, to, err);
}

static wr_status build_graph(const wr_generation *g, wr_manifest *m, wr_pool *pool, wr_err *err)
{
    char vectors[PATH_MAX], faiss[PATH_MAX];
    wr_status st = wr_generation_file(g, WR_FILE_VECTORS, vectors, err);
    if (!st) st = wr_generation_file(g, WR_FILE_FAISS, faiss, err);
    if (!st) st = wr_manifest_verify(m, WR_FILE_VECTORS, vectors, SIZE_MAX, pool, err);
    if (!st) st = wr_dense_build(vectors, m->info.dense_factory, m->info.dense_fast_build, faiss, err);
    if (!st && strcmp(m->info.dense_factory, "Flat")) st = wr_manifest_add(m, WR_FILE_FAISS, faiss, pool, err);
    return st;
}

static wr_status rebuild(wr_generation *g, wr_manifest *m, wr_pool *pool, wr_build_report *report, wr_err *err)
{
    char created[24];
    wr_status st = WR_OK;
    for (enum wr_index_file i = 0; i < WR_FILE_COUNT && !st; i++)
        if (m->file[i].present && i != WR_FILE_FAISS) st = take_over(g, m->info.generation, i, err);
    if (st) return st;
    wr_manifest_drop(m, WR_FILE_FAISS);
    wr_generation_time(created);
    m->info.generation = g->name;
    m->info.created = created;
    uint64_t began = wr_clock_now(&wr_clock_system);
    if ((st = build_graph(g, m, pool, err))) return st;
    report->seconds_graph = (double)(wr_clock_now(&wr_clock_system) - began) / 1e9;
    report->documents = m->info.documents;
    report->documents_cut = m->info.documents_cut;
    strcpy(report->generation, g->name);
    return wr_generation_publish(g, m, err);
}

wr_status wr_rebuild(const char *dir, const char *factory, bool fast, wr_pool *pool, wr_build_report *report,
                     wr_err *err)
{
    wr_generation g;
    wr_manifest m;
    *report = (wr_build_report){0};
    /* Looked at before anything is made: a folder without an index is not given one's lock and generation. */
    wr_status st = wr_manifest_load(&m, dir, err);
    wr_manifest_release(&m);
    if (st || (st = wr_generation_begin(&g, dir, err))) return st;
    st = wr_manifest_load(&m, dir, err);
    if (!st && !m.info.has_dense) st = wr_fail(err, WR_EARG, "%s: has no vectors to build a dense index of", dir);
    if (!st) {
        m.info.dense_factory = factory ? factory : wr_dense_default_factory(m.info.passages);
        m.info.dense_fast_build = fast;
        st = wr_dense_check(m.info.dense_factory, m.info.dense_dim, err);
    }
    if (!st) st = rebuild(&g, &m, pool, report, err);
    wr_manifest_release(&m);
    wr_generation_end(&g);
    return st;
}
