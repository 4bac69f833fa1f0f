/* The subcommands that tools/weir.c gathers; each is defined by one cmd_*.c in the room it belongs to. */
#ifndef WR_TOOLS_COMMAND_H
#define WR_TOOLS_COMMAND_H

#include "data/command.h"

extern const struct wr_command wr_cmd_index, wr_cmd_search, wr_cmd_serve, wr_cmd_eval, wr_cmd_rerank, wr_cmd_encode,
    wr_cmd_model, wr_cmd_pull, wr_cmd_stats, wr_cmd_fsck;

#endif
