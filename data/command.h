/* What a subcommand is and how its options are read; on the ground floor so that a cmd_*.c can live in any room.
 *
 * Options are written "--name value" or "--name=value", flags have no value, "--" ends them, what is left over are
 * operands. Every option with a value may also come from the environment as WEIR_NAME (dashes become underscores):
 * flag > environment > default. An unknown option, a missing value and a value that does not parse are usage errors
 * (exit status 2) with one sentence on standard error.
 *
 *     const struct wr_option options[] = {
 *         {"index", "DIR", "the index directory", WR_OPT_TEXT, &args.index},
 *         {"k", "N", "hits to print (10)", WR_OPT_SIZE, &args.k},
 *         {0}};
 */
#ifndef WR_DATA_COMMAND_H
#define WR_DATA_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"

enum wr_option_kind {
    WR_OPT_FLAG,   /* bool *: set to true                                  */
    WR_OPT_NOFLAG, /* bool *: set to false                                 */
    WR_OPT_TEXT,   /* const char **: borrowed from argv or the environment */
    WR_OPT_SIZE,   /* size_t *: decimal, no sign                           */
    WR_OPT_DOUBLE, /* double *: finite                                     */
    WR_OPT_LIST    /* struct wr_option_list *: may repeat, in order        */
};

#define WR_OPTION_LIST_MAX 64 /* repeats of one option: more than any table of pipelines and budgets needs */

struct wr_option_list {
    const char *item[WR_OPTION_LIST_MAX];
    size_t n;
};

struct wr_option {
    const char *name; /* without dashes; one letter is also read as "-x", its value attached or apart */
    const char *arg;  /* placeholder in the help, NULL for a flag                                          */
    const char *help; /* one line                                                                          */
    enum wr_option_kind kind;
    void *value;
};

struct wr_command {
    const char *name;                  /* "index"                                           */
    const char *usage;                 /* "weir index --corpus PATH --out DIR [options]"    */
    const char *summary;               /* one line for weir --help                          */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

/* Reads argv[1..]; operands go to operand[0..max) and *noperands (more than max is a usage error). Returns WR_OK;
 * WR_STOPPED when --help was given (already printed, exit 0); WR_EARG with the sentence printed. */
wr_status wr_options_parse(const struct wr_command *command, const struct wr_option *options, int argc, char **argv,
                           const char **operand, size_t max, size_t *noperands);

/* Prints "weir NAME: sentence" on standard error; returns wr_exit_status(code). */
int wr_command_fail(const struct wr_command *command, wr_status code, const wr_err *err);

/* The subcommands, each defined by one cmd_*.c in the room it belongs to; tools/weir.c gathers them. */
extern const struct wr_command wr_cmd_index, wr_cmd_search, wr_cmd_serve, wr_cmd_eval, wr_cmd_rerank, wr_cmd_encode,
    wr_cmd_model, wr_cmd_pull, wr_cmd_stats, wr_cmd_fsck;

#endif
