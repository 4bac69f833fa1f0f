/* The writing half of data/mapfile.h, and the small helpers for folders and paths. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hash.h"
#include "data/mapfile.h"

#define BUFFER ((size_t)1 << 18) /* few system calls, and it still fits a level 2 cache */

struct wr_file {
    char *path;
    int fd;
    int failed; /* errno of the first failure, 0 for none; what follows it is not written */
    bool checked;
    char magic[8];
    uint32_t version;
    uint64_t flushed; /* payload bytes handed to the system */
    size_t n;         /* payload bytes in buffer            */
    unsigned char *buffer;
};

static off_t place(const wr_file *file, uint64_t offset)
{
    return (off_t)(offset + (file->checked ? WR_CHECKED_HEADER : 0));
}

static int write_at(int fd, const unsigned char *bytes, size_t n, off_t at)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, bytes, n, at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return put < 0 ? errno : ENOSPC;
        bytes += put;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

static wr_status flush(wr_file *file)
{
    if (!file->failed) file->failed = write_at(file->fd, file->buffer, file->n, place(file, file->flushed));
    file->flushed += file->n;
    file->n = 0;
    return file->failed ? WR_EIO : WR_OK;
}

static void file_free(wr_file *file)
{
    if (file->fd >= 0) close(file->fd);
    free(file->buffer);
    free(file->path);
    free(file);
}

wr_status wr_file_create(wr_file **out, const char *path, const char magic[8], uint32_t version, wr_err *err)
{
    *out = NULL;
    wr_file *file = calloc(1, sizeof *file);
    if (!file) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    file->fd = -1;
    file->path = strdup(path);
    file->buffer = malloc(BUFFER);
    if (!file->path || !file->buffer) {
        file_free(file);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    if (magic) {
        file->checked = true;
        memcpy(file->magic, magic, sizeof file->magic);
        file->version = version;
    }
    file->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->fd < 0) {
        int why = errno;
        file_free(file);
        return wr_fail(err, WR_EIO, "%s: cannot create: %s", path, strerror(why));
    }
    *out = file;
    return WR_OK;
}

wr_status wr_file_write(wr_file *file, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    while (n > 0) {
        size_t take = BUFFER - file->n < n ? BUFFER - file->n : n;
        memcpy(file->buffer + file->n, from, take);
        file->n += take;
        from += take;
        n -= take;
        if (file->n == BUFFER && flush(file)) return WR_EIO;
    }
    return file->failed ? WR_EIO : WR_OK;
}

uint64_t wr_file_offset(const wr_file *file)
{
    return file->flushed + file->n;
}

wr_status wr_file_rewrite(wr_file *file, uint64_t offset, const void *bytes, size_t n)
{
    uint64_t end;
    if (__builtin_add_overflow(offset, n, &end) || end > wr_file_offset(file)) return WR_EARG;
    if (flush(file)) return WR_EIO;
    file->failed = write_at(file->fd, bytes, n, place(file, offset));
    return file->failed ? WR_EIO : WR_OK;
}

static void write_header(wr_file *file)
{
    unsigned char h[WR_CHECKED_HEADER];
    uint32_t bytes = WR_CHECKED_HEADER;
    memcpy(h, file->magic, 8);
    memcpy(h + 8, &file->version, 4);
    memcpy(h + 12, &bytes, 4);
    memcpy(h + 16, &file->flushed, 8);
    uint64_t sum = wr_checksum(h, 24);
    memcpy(h + 24, &sum, 8);
    if (!file->failed) file->failed = write_at(file->fd, h, sizeof h, 0);
}

/* Takes a file away that is not whole; a device or pipe that was written to is left alone. */
static void discard(const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode)) unlink(path);
}

wr_status wr_file_commit(wr_file *file, wr_err *err)
{
    wr_status st = WR_OK;
    flush(file);
    if (file->checked) write_header(file);
    if (!file->failed && fsync(file->fd) != 0) file->failed = errno;
    if (close(file->fd) != 0 && !file->failed) file->failed = errno;
    file->fd = -1;
    if (file->failed) {
        st = wr_fail(err, WR_EIO, "%s: cannot write: %s", file->path, strerror(file->failed));
        discard(file->path);
    }
    file_free(file);
    return st;
}

void wr_file_abort(wr_file *file)
{
    if (!file) return;
    discard(file->path);
    file_free(file);
}

static wr_status sync_parent(const char *path, wr_err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return wr_dir_sync(".", err);
    char *dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!dir) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    wr_status st = wr_dir_sync(dir, err);
    free(dir);
    return st;
}

wr_status wr_file_publish(wr_file *file, const char *path, wr_err *err)
{
    char tmp[PATH_MAX];
    int len = snprintf(tmp, sizeof tmp, "%s", file->path);
    if (len < 0 || (size_t)len >= sizeof tmp) {
        wr_file_abort(file);
        return wr_fail(err, WR_EARG, "%s: path is too long", path);
    }
    wr_status st = wr_file_commit(file, err);
    if (st) return st;
    if (rename(tmp, path) != 0) {
        st = wr_fail(err, WR_EIO, "%s: cannot rename %s to it: %s", path, tmp, strerror(errno));
        unlink(tmp);
        return st;
    }
    return sync_parent(path, err);
}

wr_status wr_file_replace(const char *path, const void *bytes, size_t n, wr_err *err)
{
    char tmp[PATH_MAX];
    wr_file *file = NULL;
    int len = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof tmp) return wr_fail(err, WR_EARG, "%s: path is too long", path);
    wr_status st = wr_file_create(&file, tmp, NULL, 0, err);
    if (st) return st;
    wr_file_write(file, bytes, n);
    return wr_file_publish(file, path, err);
}

wr_status wr_dir_sync(const char *path, wr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return wr_fail(err, WR_EIO, "%s: cannot open the folder: %s", path, strerror(errno));
    int rc = fsync(fd), why = errno;
    close(fd);
    /* Some file systems cannot sync a folder and say EINVAL: their renames are as durable as they get. */
    if (rc != 0 && why != EINVAL) return wr_fail(err, WR_EIO, "%s: cannot sync the folder: %s", path, strerror(why));
    return WR_OK;
}

wr_status wr_dir_make(const char *path, wr_err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return wr_fail(err, WR_EARG, "%s: not a usable folder name", path);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char kept = part[i];
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return wr_fail(err, WR_EIO, "%s: cannot make the folder: %s", part, strerror(errno));
        part[i] = kept;
    }
    if (!wr_path_is_dir(path)) return wr_fail(err, WR_EIO, "%s: exists and is not a folder", path);
    return WR_OK;
}

/* Removes what the open folder fd holds; closes fd. Works by descriptors, so that no link can lead it elsewhere. */
static int remove_inside(int fd)
{
    DIR *dir = fdopendir(fd);
    if (!dir) return close(fd), -1;
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0) continue;
        int sub = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        rc = sub < 0 ? -1 : remove_inside(sub);
        if (rc == 0) rc = unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
    }
    int why = errno;
    closedir(dir);
    errno = why;
    return rc;
}

wr_status wr_dir_remove(const char *path, wr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return wr_fail(err, WR_ENOTFOUND, "%s: no such folder", path);
    if (fd < 0 || remove_inside(fd) != 0 || rmdir(path) != 0)
        return wr_fail(err, WR_EIO, "%s: cannot remove the folder: %s", path, strerror(errno));
    return WR_OK;
}

bool wr_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool wr_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

wr_status wr_path_join(char *out, size_t cap, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    int len = snprintf(out, cap, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    if (len >= 0 && (size_t)len < cap) return WR_OK;
    if (cap) out[0] = 0;
    return WR_EARG;
}

wr_status wr_file_read(const char *path, size_t max, char **bytes, size_t *n, wr_err *err)
{
    wr_map map;
    *bytes = NULL;
    *n = 0;
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    if (map.size > max) {
        st = wr_fail(err, WR_EFORMAT, "%s: %zu bytes, at most %zu expected", path, map.size, max);
    } else if (!(*bytes = malloc(map.size + 1))) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    } else {
        if (map.size) memcpy(*bytes, map.bytes, map.size);
        (*bytes)[map.size] = 0;
        *n = map.size;
    }
    wr_map_close(&map);
    return st;
}
