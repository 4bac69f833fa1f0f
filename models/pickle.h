/* A safe unpickler: reads the few things a PyTorch state dict is made of, and executes nothing.
 *
 * A pickle is a program for a stack machine. Real ones can call any Python function; this machine knows dicts, lists,
 * tuples, strings, numbers, and of all functions only collections.OrderedDict, torch._utils._rebuild_tensor_v2,
 * _rebuild_tensor and _rebuild_parameter, which it treats as records. Any other global is refused by name.
 *
 * Checkpoints come in two shapes (both read by wr_checkpoint_read, models/checkpoint.c):
 *   zip      since PyTorch 1.6: NAME/data.pkl and NAME/data/KEY, one raw storage each, stored without compression
 *   stream   before: five pickles (magic, protocol, system, state dict, list of keys), then the storages in that order,
 *            each a u64 number of elements and its bytes
 */
#ifndef WR_MODELS_PICKLE_H
#define WR_MODELS_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"
#include "models/safetensors.h"

/* What stood in the pickle; strings are borrowed from its bytes and not NUL-terminated. */
typedef enum wr_pickle_kind {
    WR_PICKLE_NONE,
    WR_PICKLE_BOOL,
    WR_PICKLE_INT,
    WR_PICKLE_FLOAT,
    WR_PICKLE_STRING,
    WR_PICKLE_TUPLE,
    WR_PICKLE_LIST,
    WR_PICKLE_DICT,
    WR_PICKLE_GLOBAL,
    WR_PICKLE_STORAGE, /* a persistent id: which storage, of what dtype */
    WR_PICKLE_TENSOR
} wr_pickle_kind;

#define WR_PICKLE_END UINT32_MAX

/* One value; others are named by their index in wr_pickle.node. */
typedef struct wr_pickle_node {
    wr_pickle_kind kind;
    wr_dtype dtype;         /* STORAGE; a global that names a storage class     */
    uint32_t bytes;         /* size of its elements in bytes                    */
    int64_t number;         /* BOOL, INT; GLOBAL: which; STORAGE: elements; TENSOR: offset in elements */
    uint32_t first, last;   /* TUPLE, LIST, DICT: its links, END when empty     */
    uint32_t n;             /* TUPLE, LIST, DICT: how many; STRING: bytes       */
    const char *text;       /* STRING; STORAGE: its key (n bytes)               */
    uint32_t storage;       /* TENSOR                                           */
    uint32_t shape, stride; /* TENSOR: tuples                                 */
} wr_pickle_node;

/* An item of a tuple or list (key unused) or a pair of a dict. */
typedef struct wr_pickle_link {
    uint32_t key, value, next;
} wr_pickle_link;

typedef struct wr_pickle {
    wr_pickle_node *node;
    wr_pickle_link *link;
    uint32_t nnodes, nlinks;
    uint32_t root; /* what the pickle was of */
} wr_pickle;

/* Reads one pickle from the start of bytes[0..n); *used tells how many bytes it took. Node, link and memo tables hold
 * no more entries than n. WR_EFORMAT for damage, WR_EUNSUPPORTED for what is refused. */
wr_status wr_pickle_read(wr_pickle *pickle, const unsigned char *bytes, size_t n, size_t *used, const char *path,
                         wr_err *err);
void wr_pickle_release(wr_pickle *pickle);

#endif
