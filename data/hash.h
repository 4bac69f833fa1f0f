/* Two hashes: SHA-256 says what a thing is (models, corpora, downloads), XXH3-64 says that bytes are unharmed. */
#ifndef WR_DATA_HASH_H
#define WR_DATA_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

#define WR_SHA256_HEX 65 /* 64 digits and a NUL */

typedef struct wr_sha256 wr_sha256; /* libcrypto behind it */

wr_sha256 *wr_sha256_new(void); /* NULL when out of memory */
void wr_sha256_add(wr_sha256 *hash, const void *bytes, size_t n);
void wr_sha256_finish(wr_sha256 *hash, char hex[WR_SHA256_HEX]); /* frees hash */

void wr_sha256_bytes(const void *bytes, size_t n, char hex[WR_SHA256_HEX]);
wr_status wr_sha256_file(const char *path, char hex[WR_SHA256_HEX], wr_err *err);

/* Checksums of a file are per block of 1 MiB: small enough to verify a part, large enough to be few. */
#define WR_BLOCK_BYTES ((size_t)1 << 20)

uint64_t wr_checksum(const void *bytes, size_t n); /* XXH3-64, seed 0 */

#endif
