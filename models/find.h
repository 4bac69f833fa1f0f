/* Where models are that are named without a path: the default ones, and whatever else lies beside them. A model is a
 * folder, or a file NAME.gguf, whose name is NAME or NAME.gguf; of a folder and a file of one name the folder is meant.
 *
 *     place 0   $WEIR_MODELS, one folder
 *     place 1   PREFIX/share/weir/models, where `make install` puts them
 *     place 2   models/ of the source tree that the program was built in: weir-dense, weir-sparse, weir-cross
 *     place 3   build/models of the same tree, where tools/setup puts what it fetches
 *
 * The source tree is found from the program's own path (build/release/weir), so an installed program has none. The
 * current directory is no place: what lies there must not stand in for a default model.
 */
#ifndef WR_MODELS_FIND_H
#define WR_MODELS_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "data/status.h"

/* What commands use where no model is named: weir index for vectors and learned sparse postings, everybody else for
 * cross stages. */
#define WR_DEFAULT_DENSE "weir-dense"
#define WR_DEFAULT_SPARSE "weir-sparse"
#define WR_DEFAULT_CROSS "weir-cross"

#define WR_MODEL_PLACES 4
#define WR_MAX_PATH 4096 /* Linux's PATH_MAX */

/* Whether `name` is in that place; the path of its folder or file into out[WR_MAX_PATH]. A name is one component: with a
 * '/' in it, empty, "." or ".." it is nowhere. */
bool wr_model_in_place(const char *name, size_t place, char *out);

/* The first place that has it. WR_ENOTFOUND says where was looked. */
wr_status wr_model_find(const char *name, char *out, wr_err *err);

#endif
