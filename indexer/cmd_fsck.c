#include <inttypes.h>
#include <stdio.h>

#include "data/command.h"
#include "indexer/index.h"

static void passed(void *arg, const char *file, uint64_t bytes)
{
    (void)arg;
    printf("ok  %-24s %14" PRIu64 " bytes\n", file, bytes);
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    const struct wr_option options[] = {{0}};
    wr_err err = {0};
    size_t n = 0;
    wr_status st = wr_options_parse(&wr_cmd_fsck, options, argc, argv, &dir, 1, &n);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = n == 1 ? wr_index_fsck(dir, passed, NULL, &err) : wr_fail(&err, WR_EARG, "no index named, expected DIR");
    fflush(stdout); /* what passed stands above the sentence about what did not */
    if (st) return wr_command_fail(&wr_cmd_fsck, st, &err);
    printf("%s: every byte is as it was written\n", dir);
    return 0;
}

const struct wr_command wr_cmd_fsck = {
    .name = "fsck",
    .usage = "weir fsck DIR",
    .summary = "verifies every byte of an index",
    .run = run,
};
