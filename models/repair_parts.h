/* Inside text repair (models/repair.h). */
#ifndef WR_MODELS_REPAIR_PARTS_H
#define WR_MODELS_REPAIR_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/arena.h"

/* The character of a byte of Windows-1252, the five unassigned ones as themselves. */
uint32_t wr_repair_windows_1252(uint8_t byte);

/* ftfy.fix_encoding() of s[0..n): in place or in the arena's memory. WR_ENOMEM. */
wr_status wr_repair_encoding(uint32_t **s, size_t *n, wr_arena *arena);

#endif
