/* The folder of an index as its builder sees it: one builder at a time, one new generation, published by rename.
 *
 *   begin     takes DIR/lock, removes what a crashed build left behind, makes DIR/gen-N (N = newest published + 1)
 *   publish   syncs the generation's folder, replaces the manifest, removes all older generations but the last one
 *   end       removes the generation if it was not published, lets go of the lock
 *
 * Only folders named gen-NNNNNN are ever removed. A process killed at any moment leaves a manifest that names a whole
 * generation, or none.
 */
#ifndef WR_INDEXER_GENERATION_H
#define WR_INDEXER_GENERATION_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "indexer/manifest.h"

typedef struct wr_generation {
    char dir[PATH_MAX], path[PATH_MAX]; /* DIR, DIR/gen-N  */
    char name[WR_GENERATION_CAP];       /* "gen-N"         */
    uint32_t number;
    int lock; /* descriptor of DIR/lock */
    bool published;
} wr_generation;

/* WR_EFULL when another builder is at work; WR_EFORMAT when DIR's manifest is damaged (it is not built over). */
wr_status wr_generation_begin(wr_generation *generation, const char *dir, wr_err *err);

/* Path of one of its files, borrowed until the next call with the same buffer. */
wr_status wr_generation_file(const wr_generation *generation, enum wr_index_file which, char path[PATH_MAX],
                             wr_err *err);

/* The time now as a manifest has it: "2026-11-24T12:00:00Z". */
void wr_generation_time(char out[24]);

wr_status wr_generation_publish(wr_generation *generation, const wr_manifest *manifest, wr_err *err);
void wr_generation_end(wr_generation *generation); /* after a begin that succeeded, in any case */

#endif
