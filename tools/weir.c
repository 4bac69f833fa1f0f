/* The program: finds the subcommand and runs it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "data/command.h"
#include "data/version.h"

/* In the order in which somebody new needs them. */
static const struct wr_command *const commands[] = {
    &wr_cmd_index, &wr_cmd_search, &wr_cmd_serve, &wr_cmd_eval, &wr_cmd_encode, &wr_cmd_rerank,
    &wr_cmd_model, &wr_cmd_pull,  &wr_cmd_stats, &wr_cmd_fsck,
    NULL,
};

static void print_help(FILE *out)
{
    fputs("weir: neural search and ranking\n\nUsage: weir <command> [options]\n\nCommands:\n", out);
    for (size_t i = 0; commands[i]; i++) fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nweir <command> --help describes one command; weir --version prints the version.\n", out);
}

/* Runs the command; an answer that could not be written whole (a full disk) is a failure too. */
static int run(const struct wr_command *command, int argc, char **argv)
{
    int status = command->run(argc, argv);
    if ((fflush(stdout) == 0 && !ferror(stdout)) || status) return status;
    wr_err err;
    wr_fail(&err, WR_EIO, "cannot write standard output: %s", strerror(errno));
    return wr_command_fail(command, WR_EIO, &err);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        print_help(stderr);
        return 2;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help(stdout);
        return 0;
    }
    if (!strcmp(name, "--version")) {
        puts("weir " WR_VERSION);
        return 0;
    }
    for (size_t i = 0; commands[i]; i++)
        if (!strcmp(name, commands[i]->name)) return run(commands[i], argc - 1, argv + 1);
    wr_err err;
    wr_fail(&err, WR_EARG, "%s: no such command (see weir --help)", name);
    fprintf(stderr, "weir: %s\n", err.text);
    return 2;
}
