/* Members of a model's JSON files, read with sentences that name file and member. */
#ifndef WR_MODELS_CONFIG_SOURCE_H
#define WR_MODELS_CONFIG_SOURCE_H

#include <stddef.h>

#include "data/json.h"
#include "data/status.h"

/* The largest config.json is one with a name for each of some thousand labels. */
#define WR_CONFIG_MAX_BYTES ((size_t)16 << 20)

/* One object being read, and the name that errors give it. All borrowed. */
typedef struct wr_source {
    json_t *root;
    const char *path;
    wr_err *err;
} wr_source;

/* The value under either of two names (other may be NULL); NULL when absent or null. */
json_t *wr_source_member(const wr_source *source, const char *name, const char *other);

/* An integer in min..max. Without the member: otherwise, when that is not 0. WR_EFORMAT. */
wr_status wr_source_size(const wr_source *source, const char *name, const char *other, size_t min, size_t max,
                         size_t otherwise, size_t *out);

/* A string, "" when absent or no string. */
const char *wr_source_text(const wr_source *source, const char *name, const char *other);

#endif
