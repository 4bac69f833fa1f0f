/* Named tensors with shapes, borrowed from mapped files: safetensors (one file or sharded by
 * model.safetensors.index.json) and old pytorch_model.bin checkpoints (zip of a pickle and raw storages; only tensors
 * are read, nothing is executed).
 *
 * The files are untrusted: header length, JSON, dtypes, shapes and offsets are checked before anything is used; two
 * tensors may not overlap and the data section is exactly covered or padded.
 *
 *     0  u64   header bytes N, little-endian
 *     8  JSON  {"name": {"dtype": "F32", "shape": [384, 1536], "data_offsets": [begin, end]}, "__metadata__": {..}}
 *   8+N  data, offsets count from here
 */
#ifndef WR_MODELS_SAFETENSORS_H
#define WR_MODELS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef enum wr_dtype { WR_F32, WR_F16, WR_BF16, WR_I8, WR_I64, WR_I32, WR_U8, WR_OTHER_DTYPE } wr_dtype;

#define WR_MAX_DIMS 8

/* A tensor in the map. data may be unaligned for its dtype only in files not written by weir; readers copy. */
typedef struct wr_tensor {
    const char *name;
    wr_dtype dtype;
    size_t ndim;
    size_t dim[WR_MAX_DIMS]; /* row-major, [out, in] for weights */
    const void *data;        /* borrowed until wr_tensors_close() */
    size_t bytes;
} wr_tensor;

typedef struct wr_tensors wr_tensors;

/* Opens what dir holds: model.safetensors, model.safetensors.index.json, else pytorch_model.bin. */
wr_status wr_tensors_open(wr_tensors **tensors, const char *dir, wr_err *err);
void wr_tensors_close(wr_tensors *tensors);

size_t wr_tensors_count(const wr_tensors *tensors);
const wr_tensor *wr_tensors_at(const wr_tensors *tensors, size_t i);           /* by name ascending */
const wr_tensor *wr_tensors_find(const wr_tensors *tensors, const char *name); /* NULL when absent; O(log n) */

/* The files that were opened (an index first), for hashing: name inside dir and bytes, borrowed. */
size_t wr_tensors_nfiles(const wr_tensors *tensors);
const char *wr_tensors_file(const wr_tensors *tensors, size_t i, const void **bytes, size_t *n);

/* Gives the pages read so far back to the system: what is used again (word embeddings) is read again, what was packed or
 * converted is not. */
void wr_tensors_give_back(const wr_tensors *tensors);

/* Converts a whole tensor to fp32 into out[n]; n must be its number of elements. F32, F16, BF16 exactly; I8 as
 * integers. */
wr_status wr_tensor_to_f32(const wr_tensor *tensor, float *out, size_t n, wr_err *err);

size_t wr_tensor_elements(const wr_tensor *tensor); /* product of its dimensions; 1 for a scalar */

const char *wr_dtype_name(wr_dtype dtype);
size_t wr_dtype_bytes(wr_dtype dtype); /* of an element; 0 for WR_OTHER_DTYPE */

/* ---- the formats, one file's bytes at a time (also for the fuzzers) ---- */

/* Tensors being gathered. Names are owned by the list; data is borrowed from the bytes that were read. */
typedef struct wr_tensor_list {
    wr_tensor *tensor; /* [n] */
    size_t n, cap;
} wr_tensor_list;

/* Appends a copy of tensor with its own copy of the name. */
wr_status wr_tensor_list_add(wr_tensor_list *list, const wr_tensor *tensor, const char *name, size_t name_len);
void wr_tensor_list_release(wr_tensor_list *list);

/* Appends the tensors of one safetensors file; path is for the error's sentence. */
wr_status wr_safetensors_read(const unsigned char *bytes, size_t n, const char *path, wr_tensor_list *list,
                              wr_err *err);

/* Appends the tensors of one PyTorch checkpoint: see models/pickle.h. */
wr_status wr_checkpoint_read(const unsigned char *bytes, size_t n, const char *path, wr_tensor_list *list, wr_err *err);

#endif
