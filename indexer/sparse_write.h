/* The writer's state, shared by sparse_write.c (documents to runs) and sparse_commit.c (runs to the file). */
#ifndef WR_INDEXER_SPARSE_WRITE_H
#define WR_INDEXER_SPARSE_WRITE_H

#include <stdint.h>
#include <stdio.h>

#include "data/arena.h"
#include "indexer/sparse.h"
#include "indexer/sparse_runs.h"

/* Runs of one level are merged when they are MAX_FANIN, so that of each level fewer are open. Twelve levels are more
 * runs of 64 KiB than a disk can hold. */
#define MAX_RUNS (12 * MAX_FANIN)

struct term;

struct wr_sparse_writer {
    char *dir;
    size_t budget;
    wr_arena arena;
    unsigned char *piece; /* free part of the arena's last block */
    size_t piece_left;
    struct term **table; /* [places], open addressing, at most half full */
    size_t places, nterms;
    struct run {
        FILE *file;
        unsigned level;
    } run[MAX_RUNS];
    size_t nruns;
    uint32_t ndocs;
    uint32_t *length; /* [room], terms of each document */
    size_t room;
    uint64_t total_length;
    wr_sparse_kind kind; /* 0 until the first document */
    float most;          /* the largest weight         */
};

/* What is in memory becomes a run, runs are merged until at most MAX_FANIN are left, and the memory is given back. */
wr_status wr_sparse_writer_finish(wr_sparse_writer *writer, wr_err *err);

#endif
