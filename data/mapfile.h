/* Files on the ground floor: read-only maps, checked files with a header, durable writing, small path helpers.
 *
 * A checked file (our own formats: vectors, postings, passage map) is
 *     0  char  magic[8]
 *     8  u32   version         16  u64 payload length in bytes
 *    12  u32   header bytes    24  u64 checksum of bytes 0..23
 *    32  ...   payload (format's own header first), up to 32 + length, which is the end of the file
 * all little-endian. Checksums of a whole file's 1 MiB blocks stand in the manifest (indexer/index.h).
 */
#ifndef WR_DATA_MAPFILE_H
#define WR_DATA_MAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef struct wr_map {
    const unsigned char *bytes; /* [size] borrowed until wr_map_close(); NULL for an empty file */
    size_t size;
} wr_map;

/* Maps a whole regular file read-only. A directory, FIFO or device is refused (WR_EFORMAT); a missing file is
 * WR_ENOTFOUND. */
wr_status wr_map_open(wr_map *map, const char *path, wr_err *err);
void wr_map_close(wr_map *map); /* a zeroed map is fine */

#define WR_CHECKED_HEADER 32

/* Maps a checked file and verifies magic, version, header checksum and that the length is the file's. payload/size
 * point behind the header; payload is 32-byte aligned. */
wr_status wr_map_open_checked(wr_map *map, const char *path, const char magic[8], uint32_t version,
                              const unsigned char **payload, size_t *size, wr_err *err);

/* A file being written: buffered, its length counted, durable when committed.
 * wr_file_create truncates; with magic != NULL it leaves room for the checked header and fills it in on commit. */
typedef struct wr_file wr_file;
wr_status wr_file_create(wr_file **file, const char *path, const char magic[8], uint32_t version, wr_err *err);
wr_status wr_file_write(wr_file *file, const void *bytes, size_t n); /* sticky: commit tells the first failure */
uint64_t wr_file_offset(const wr_file *file);                        /* payload bytes so far                   */
/* Overwrites n payload bytes at offset, all of them written before (a header whose values are known at the end). */
wr_status wr_file_rewrite(wr_file *file, uint64_t offset, const void *bytes, size_t n);
wr_status wr_file_commit(wr_file *file, wr_err *err); /* header, flush, fsync, close; frees file in any case,
                                                         and unlinks what could not be written */
void wr_file_abort(wr_file *file);                    /* closes and unlinks; NULL is fine                    */

/* Commits, renames what was written to path (in the same file system), and syncs path's folder: a reader sees the old
 * or the new. After a failure what was written is unlinked. */
wr_status wr_file_publish(wr_file *file, const char *path, wr_err *err);

/* Writes bytes to path by way of path.tmp, fsync, rename, fsync of the folder: a reader sees the old or the new. */
wr_status wr_file_replace(const char *path, const void *bytes, size_t n, wr_err *err);

wr_status wr_dir_sync(const char *path, wr_err *err);
wr_status wr_dir_make(const char *path, wr_err *err);   /* with its parents; an existing folder is fine */
wr_status wr_dir_remove(const char *path, wr_err *err); /* the whole tree; follows no symbolic link      */
bool wr_path_is_dir(const char *path);
bool wr_path_exists(const char *path);

/* "dir/name" into out[cap]; WR_EARG when it does not fit. */
wr_status wr_path_join(char *out, size_t cap, const char *dir, const char *name);

/* Reads a whole (small) file, at most max bytes, NUL added after *n bytes. Owned by the caller (free). */
wr_status wr_file_read(const char *path, size_t max, char **bytes, size_t *n, wr_err *err);

#endif
