#include "data/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct wr_sha256 {
    EVP_MD_CTX *ctx;
};

wr_sha256 *wr_sha256_new(void)
{
    wr_sha256 *hash = malloc(sizeof *hash);
    if (!hash) return NULL;
    hash->ctx = EVP_MD_CTX_new();
    if (!hash->ctx || EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(hash->ctx);
        free(hash);
        return NULL;
    }
    return hash;
}

void wr_sha256_add(wr_sha256 *hash, const void *bytes, size_t n)
{
    EVP_DigestUpdate(hash->ctx, bytes, n);
}

static void to_hex(const unsigned char digest[32], char hex[WR_SHA256_HEX])
{
    for (size_t i = 0; i < 32; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[64] = 0;
}

void wr_sha256_finish(wr_sha256 *hash, char hex[WR_SHA256_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_DigestFinal_ex(hash->ctx, digest, NULL);
    EVP_MD_CTX_free(hash->ctx);
    free(hash);
    to_hex(digest, hex);
}

void wr_sha256_bytes(const void *bytes, size_t n, char hex[WR_SHA256_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL);
    to_hex(digest, hex);
}

wr_status wr_sha256_file(const char *path, char hex[WR_SHA256_HEX], wr_err *err)
{
    enum { CHUNK = 1 << 17 }; /* large enough that the system calls do not show */
    wr_status st = WR_OK;
    struct stat info;
    unsigned char *chunk = NULL;
    wr_sha256 *hash = NULL;
    hex[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return wr_fail(err, errno == ENOENT ? WR_ENOTFOUND : WR_EIO, "%s: cannot open: %s", path, strerror(errno));
    }
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        st = wr_fail(err, WR_EFORMAT, "%s: a folder, expected a file", path);
        goto done;
    }
    chunk = malloc(CHUNK);
    hash = wr_sha256_new();
    if (!chunk || !hash) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
        goto done;
    }
    ssize_t got;
    while ((got = read(fd, chunk, CHUNK)) != 0) {
        if (got > 0)
            wr_sha256_add(hash, chunk, (size_t)got);
        else if (errno != EINTR) {
            st = wr_fail(err, WR_EIO, "%s: cannot read: %s", path, strerror(errno));
            goto done;
        }
    }
done:
    if (hash) {
        char digest[WR_SHA256_HEX];
        wr_sha256_finish(hash, digest);
        if (!st) memcpy(hex, digest, sizeof digest);
    }
    free(chunk);
    close(fd);
    return st;
}

uint64_t wr_checksum(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}
