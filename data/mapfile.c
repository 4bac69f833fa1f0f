#include "data/mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hash.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and mapped as they are");

wr_status wr_map_open(wr_map *map, const char *path, wr_err *err)
{
    wr_status st = WR_OK;
    struct stat info;
    *map = (wr_map){0};
    /* Not blocking: opening a FIFO that nobody writes to must not hang before fstat can refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return wr_fail(err, errno == ENOENT ? WR_ENOTFOUND : WR_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        st = wr_fail(err, WR_EIO, "%s: cannot stat: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        st = wr_fail(err, WR_EFORMAT, "%s: not a regular file", path);
        goto done;
    }
    if (info.st_size == 0) goto done;
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) {
        st = wr_fail(err, WR_EIO, "%s: cannot map %zu bytes: %s", path, (size_t)info.st_size, strerror(errno));
        goto done;
    }
    map->bytes = bytes;
    map->size = (size_t)info.st_size;
done:
    close(fd);
    return st;
}

void wr_map_close(wr_map *map)
{
    if (map->bytes) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (wr_map){0};
}

/* The header as it lies in the file; every field is naturally aligned. */
struct header {
    char magic[8];
    uint32_t version, bytes;
    uint64_t length, checksum;
};
_Static_assert(sizeof(struct header) == WR_CHECKED_HEADER, "no padding");

static wr_status check_header(const wr_map *map, const char *path, const char magic[8], uint32_t version, wr_err *err)
{
    struct header h;
    if (map->size < sizeof h)
        return wr_fail(err, WR_EFORMAT, "%s: %zu bytes, shorter than its header of %zu", path, map->size, sizeof h);
    memcpy(&h, map->bytes, sizeof h);
    if (memcmp(h.magic, magic, sizeof h.magic) != 0)
        return wr_fail(err, WR_EFORMAT, "%s: starts with \"%.8s\", expected \"%.8s\"", path, h.magic, magic);
    if (h.checksum != wr_checksum(&h, offsetof(struct header, checksum)))
        return wr_fail(err, WR_EFORMAT, "%s: the header's checksum does not match its bytes", path);
    if (h.version != version)
        return wr_fail(err, WR_EFORMAT, "%s: version %" PRIu32 ", expected %" PRIu32, path, h.version, version);
    if (h.bytes != sizeof h)
        return wr_fail(err, WR_EFORMAT, "%s: header of %" PRIu32 " bytes, expected %zu", path, h.bytes, sizeof h);
    if (h.length != map->size - sizeof h)
        return wr_fail(err, WR_EFORMAT, "%s: header says %" PRIu64 " bytes of payload, the file has %zu", path,
                       h.length, map->size - sizeof h);
    return WR_OK;
}

wr_status wr_map_open_checked(wr_map *map, const char *path, const char magic[8], uint32_t version,
                              const unsigned char **payload, size_t *size, wr_err *err)
{
    *payload = NULL;
    *size = 0;
    wr_status st = wr_map_open(map, path, err);
    if (st) return st;
    if ((st = check_header(map, path, magic, version, err))) {
        wr_map_close(map);
        return st;
    }
    *payload = map->bytes + WR_CHECKED_HEADER;
    *size = map->size - WR_CHECKED_HEADER;
    return WR_OK;
}
