/* Memory for what a file holds: handed out piece by piece, given back as a whole. Unlike an arena it has no capacity to
 * choose beforehand; unlike malloc it costs nothing for each of a million short strings. */
#ifndef WR_DATA_CHUNKS_H
#define WR_DATA_CHUNKS_H

#include <stddef.h>

struct wr_chunk;

typedef struct wr_chunks {
    struct wr_chunk *last;
} wr_chunks;

/* Aligned for every type; owned by chunks. NULL when out of memory. */
void *wr_chunks_alloc(wr_chunks *chunks, size_t size);

/* As above for n elements of size bytes, zeroed; NULL too when n * size overflows. */
void *wr_chunks_calloc(wr_chunks *chunks, size_t n, size_t size);

/* Copies n bytes and adds a NUL; no alignment. */
char *wr_chunks_strndup(wr_chunks *chunks, const char *s, size_t n);

void wr_chunks_release(wr_chunks *chunks);

#endif
