#include "server/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/pool.h"

/* Some 4,000 lines: a second or two of a busy server. */
#define RING_BYTES ((size_t)1 << 20)

struct wr_log {
    pthread_mutex_t lock; /* guards all below but fd and thread */
    pthread_cond_t filled;
    char *waiting, *writing; /* [RING_BYTES] two buffers that change places */
    size_t n;                /* bytes in waiting */
    unsigned long long dropped;
    bool ended;
    int fd;
    wr_thread *thread;
};

static void write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return; /* nobody reads: there is nobody to tell either */
        bytes += done;
        n -= (size_t)done;
    }
}

static void write_lines(void *arg)
{
    wr_log *log = arg;
    pthread_mutex_lock(&log->lock);
    for (;;) {
        while (log->n == 0 && !log->ended) pthread_cond_wait(&log->filled, &log->lock);
        if (log->n == 0) break;
        char *bytes = log->waiting, note[80] = "";
        size_t n = log->n;
        if (log->dropped) snprintf(note, sizeof note, "{\"log_lines_dropped\":%llu}\n", log->dropped);
        log->waiting = log->writing;
        log->writing = bytes;
        log->n = 0;
        log->dropped = 0;
        pthread_mutex_unlock(&log->lock);
        write_all(log->fd, bytes, n);
        write_all(log->fd, note, strlen(note));
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
}

wr_status wr_log_open(wr_log **out, int fd, wr_err *err)
{
    *out = NULL;
    wr_log *log = calloc(1, sizeof *log);
    if (!log) return wr_fail(err, WR_ENOMEM, "log: out of memory");
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->filled, NULL);
    log->fd = fd;
    log->waiting = malloc(RING_BYTES);
    log->writing = malloc(RING_BYTES);
    wr_status st = log->waiting && log->writing ? WR_OK : wr_fail(err, WR_ENOMEM, "log: out of memory");
    if (!st) st = wr_thread_start(&log->thread, write_lines, log, err);
    if (st) wr_log_close(log);
    else *out = log;
    return st;
}

void wr_log_close(wr_log *log)
{
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    log->ended = true;
    pthread_cond_signal(&log->filled);
    pthread_mutex_unlock(&log->lock);
    wr_thread_join(log->thread);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->lock);
    free(log->waiting);
    free(log->writing);
    free(log);
}

void wr_log_line(wr_log *log, const char *line, size_t n)
{
    pthread_mutex_lock(&log->lock);
    if (n + 1 > RING_BYTES - log->n) {
        log->dropped++;
    } else {
        memcpy(log->waiting + log->n, line, n);
        log->waiting[log->n + n] = '\n';
        log->n += n + 1;
        pthread_cond_signal(&log->filled);
    }
    pthread_mutex_unlock(&log->lock);
}
