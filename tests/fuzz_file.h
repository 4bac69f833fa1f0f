/* The fuzzers' input as a file: the readers take paths. Kept in memory (memfd), so that no disk is worn out. */
#ifndef WR_TESTS_FUZZ_FILE_H
#define WR_TESTS_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Files that are open at the same time have slots of their own. */
enum { FUZZ_SLOTS = 2 };

static inline const char *fuzz_file_in(size_t slot, const uint8_t *bytes, size_t n)
{
    static int fd[FUZZ_SLOTS] = {-1, -1};
    static char path[FUZZ_SLOTS][64];
    if (fd[slot] < 0) {
        fd[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path[slot], sizeof path[slot], "/proc/self/fd/%d", fd[slot]);
    }
    if (fd[slot] < 0 || ftruncate(fd[slot], 0) != 0 || pwrite(fd[slot], bytes, n, 0) != (ssize_t)n) abort();
    return path[slot];
}

static inline const char *fuzz_file(const uint8_t *bytes, size_t n)
{
    return fuzz_file_in(0, bytes, n);
}

#endif
