/* The writing half of models/safetensors.h: one file of named tensors, and a model directory made from another.
 *
 * What is written depends on names, dtypes, shapes and data alone: the same tensors give the same bytes. The file's
 * header is padded with spaces so that data starts on a cache line; tensors follow by size of element descending, then
 * by name, so that each is aligned for its dtype with nothing in between (Hugging Face's reader allows no gaps).
 *
 *     wr_tensor t = {.name = "x.weight", .dtype = WR_I8, .ndim = 2, .dim = {384, 1536}, .data = q, .bytes = 384 *
 * 1536}; wr_status st = wr_model_dir_write(from, to, &t, 1, err);
 */
#ifndef WR_MODELS_SAFETENSORS_WRITE_H
#define WR_MODELS_SAFETENSORS_WRITE_H

#include <stddef.h>

#include "data/status.h"
#include "models/safetensors.h"

/* Writes n tensors, in any order, to path: by way of path.tmp, fsync, rename. WR_EARG for a name that is empty, there
 * twice or no UTF-8, and for data whose length is not its shape's; WR_EUNSUPPORTED for WR_OTHER_DTYPE. */
wr_status wr_safetensors_write(const char *path, const wr_tensor *tensor, size_t n, wr_err *err);

/* Whether a model may be written to dir: it does not exist, or is an empty folder. Else WR_EARG. */
wr_status wr_model_dir_vacant(const char *dir, wr_err *err);

/* Writes model directory `to`, which must be vacant: copies of what `from` holds beside its weights (configuration,
 * tokenizer, sentence-transformers' modules and pooling, a sparse model's query weights, licence; byte for byte), and
 * at last model.safetensors with these tensors, in the place where `from` has its weights. Tensors may be borrowed from
 * `from`. A certificate is not copied: it speaks of other weights. After a failure nothing is left in `to`. */
wr_status wr_model_dir_write(const char *from, const char *to, const wr_tensor *tensor, size_t n, wr_err *err);

#endif
