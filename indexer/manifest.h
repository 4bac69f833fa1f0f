/* The manifest: what one generation holds, with a checksum for every MiB of it. Its text is described in index.h.
 *
 * A manifest is untrusted like any file: every number is checked against its range, file names are a closed set, and
 * the text carries a checksum of its own. That guards against damage, not against a forger: LMDB and FAISS trust the
 * bytes of their files, so an index from a stranger should be built again from its corpus.
 */
#ifndef WR_INDEXER_MANIFEST_H
#define WR_INDEXER_MANIFEST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "data/pool.h"
#include "data/status.h"
#include "indexer/index.h"

#define WR_MANIFEST_NAME "manifest.json"
#define WR_MAX_K1 1000       /* beyond, term frequency counts linearly: nothing changes any more */
#define WR_GENERATION_CAP 32 /* "gen-000001" and a NUL, with room */

/* The files of a generation; their order is the order in the manifest. */
enum wr_index_file {
    WR_FILE_DOCS,
    WR_FILE_PASSAGES,
    WR_FILE_BM25,
    WR_FILE_VECTORS,
    WR_FILE_FAISS,
    WR_FILE_SPARSE,
    WR_FILE_QUERY,
    WR_FILE_CLUSTERS,
    WR_FILE_COUNT
};
extern const char *const wr_index_file_name[WR_FILE_COUNT];

typedef struct wr_manifest_file {
    bool present;
    uint64_t bytes;
    size_t nblocks;
    uint64_t *xxh3; /* [nblocks] one for each started WR_BLOCK_BYTES; owned by the manifest */
} wr_manifest_file;

typedef struct wr_manifest {
    wr_index_info info; /* strings borrowed: from the builder, or from json */
    wr_manifest_file file[WR_FILE_COUNT];
    json_t *json; /* what was parsed; NULL in a manifest that is being written */
} wr_manifest;

/* Parses a manifest's text; where names it in err. WR_EFORMAT says which field is wrong and what was expected;
 * WR_EUNSUPPORTED for another format number. Release in any case. */
wr_status wr_manifest_parse(wr_manifest *manifest, const char *text, size_t n, const char *where, wr_err *err);

/* dir/manifest.json. WR_ENOTFOUND when there is none. */
wr_status wr_manifest_load(wr_manifest *manifest, const char *dir, wr_err *err);
void wr_manifest_release(wr_manifest *manifest); /* a zeroed one is fine */

/* The text, owned by the caller (free). WR_EARG when a string is not UTF-8. */
wr_status wr_manifest_text(const wr_manifest *manifest, char **text, size_t *n, wr_err *err);

/* Which files an index of this description has. */
void wr_manifest_expects(const wr_index_info *info, bool expected[WR_FILE_COUNT]);

/* Records the length and block checksums of the file at path, computed over pool. */
wr_status wr_manifest_add(wr_manifest *manifest, enum wr_index_file which, const char *path, wr_pool *pool,
                          wr_err *err);

void wr_manifest_drop(wr_manifest *manifest, enum wr_index_file which); /* forgets a file; absent is fine */

/* Checks the file at path against what is recorded: its length, and the checksums of its first max_blocks blocks
 * (SIZE_MAX = all). WR_EFORMAT names file and block. */
wr_status wr_manifest_verify(const wr_manifest *manifest, enum wr_index_file which, const char *path, size_t max_blocks,
                             wr_pool *pool, wr_err *err);

/* True for "gen-" and six to nine digits: the only folders of an index that are ever opened or removed. */
bool wr_generation_parse(const char *name, uint32_t *number);

#endif
