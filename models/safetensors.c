#include "models/safetensors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "data/json.h"
#include "data/mapfile.h"

/* Hugging Face's own readers refuse larger headers; a real one has some 100 bytes a tensor. */
#define MAX_HEADER ((size_t)100 << 20)
/* weight_map of the largest sharded models has a few thousand lines. */
#define MAX_INDEX ((size_t)64 << 20)
/* Bytes that may lie unused between two tensors: alignment to a cache line leaves fewer. */
#define MAX_PADDING 64
#define MAX_FILES 1024
#define MAX_PATH 4096

typedef struct source {
    char *name; /* inside the folder */
    wr_map map;
} source;

struct wr_tensors {
    wr_tensor_list list; /* by name */
    source *file;        /* [nfiles] */
    size_t nfiles;
};

/* ---- the list ---- */

wr_status wr_tensor_list_add(wr_tensor_list *list, const wr_tensor *tensor, const char *name, size_t name_len)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 128;
        wr_tensor *more = realloc(list->tensor, cap * sizeof *more);
        if (!more) return WR_ENOMEM;
        list->tensor = more;
        list->cap = cap;
    }
    char *copy = malloc(name_len + 1);
    if (!copy) return WR_ENOMEM;
    memcpy(copy, name, name_len);
    copy[name_len] = 0;
    list->tensor[list->n] = *tensor;
    list->tensor[list->n++].name = copy;
    return WR_OK;
}

void wr_tensor_list_release(wr_tensor_list *list)
{
    for (size_t i = 0; i < list->n; i++) free((char *)(uintptr_t)list->tensor[i].name);
    free(list->tensor);
    *list = (wr_tensor_list){0};
}

/* ---- dtypes ---- */

static const struct {
    const char *name;
    wr_dtype dtype;
    size_t bytes;
} dtypes[] = {
    {"F32", WR_F32, 4},         {"F16", WR_F16, 2},         {"BF16", WR_BF16, 2},       {"I8", WR_I8, 1},
    {"I64", WR_I64, 8},         {"I32", WR_I32, 4},         {"U8", WR_U8, 1},           {"BOOL", WR_OTHER_DTYPE, 1},
    {"I16", WR_OTHER_DTYPE, 2}, {"U16", WR_OTHER_DTYPE, 2}, {"U32", WR_OTHER_DTYPE, 4}, {"F64", WR_OTHER_DTYPE, 8},
    {"U64", WR_OTHER_DTYPE, 8}, {"F8_E4M3", WR_OTHER_DTYPE, 1}, {"F8_E5M2", WR_OTHER_DTYPE, 1},
};

enum { NDTYPES = sizeof dtypes / sizeof *dtypes };

const char *wr_dtype_name(wr_dtype dtype)
{
    for (size_t i = 0; i < NDTYPES && dtype != WR_OTHER_DTYPE; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    return "other";
}

size_t wr_dtype_bytes(wr_dtype dtype)
{
    for (size_t i = 0; i < NDTYPES && dtype != WR_OTHER_DTYPE; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].bytes;
    return 0;
}

size_t wr_tensor_elements(const wr_tensor *tensor)
{
    size_t n = 1;
    for (size_t i = 0; i < tensor->ndim; i++) n *= tensor->dim[i];
    return n;
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Subnormals are mantissa * 2^-24, exact in fp32. */
static float from_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu, mantissa = h & 0x3ffu;
    if (exponent == 0) return from_bits(sign | 0x3f800000u) * ((float)mantissa * 0x1p-24f);
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

wr_status wr_tensor_to_f32(const wr_tensor *tensor, float *out, size_t n, wr_err *err)
{
    const unsigned char *p = tensor->data;
    if (wr_tensor_elements(tensor) != n)
        return wr_fail(err, WR_EARG, "%s: %zu elements, expected %zu", tensor->name, wr_tensor_elements(tensor), n);
    if (tensor->dtype == WR_F32) {
        memcpy(out, p, n * sizeof *out);
    } else if (tensor->dtype == WR_F16 || tensor->dtype == WR_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, p + 2 * i, sizeof half);
            out[i] = tensor->dtype == WR_F16 ? from_half(half) : from_bits((uint32_t)half << 16);
        }
    } else if (tensor->dtype == WR_I8) {
        for (size_t i = 0; i < n; i++) out[i] = (float)(int8_t)p[i];
    } else {
        return wr_fail(err, WR_EUNSUPPORTED, "%s: dtype %s, expected F32, F16, BF16 or I8", tensor->name,
                       wr_dtype_name(tensor->dtype));
    }
    return WR_OK;
}

/* ---- one safetensors file ---- */

/* What every error says first. */
typedef struct place {
    const char *path, *name;
    wr_err *err;
} place;

static wr_status read_dtype(const place *at, const json_t *entry, wr_tensor *t, size_t *element)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name) return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: no dtype", at->path, at->name);
    for (size_t i = 0; i < NDTYPES; i++) {
        if (strcmp(dtypes[i].name, name)) continue;
        t->dtype = dtypes[i].dtype;
        *element = dtypes[i].bytes;
        return WR_OK;
    }
    return wr_fail(at->err, WR_EUNSUPPORTED, "%s: tensor %s: dtype %s is not known", at->path, at->name, name);
}

/* Non-negative integer members only; jansson's integers are signed 64 bits. */
static bool read_size(const json_t *value, size_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static wr_status read_shape(const place *at, const json_t *entry, wr_tensor *t, size_t *elements)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: no shape", at->path, at->name);
    t->ndim = json_array_size(shape);
    if (t->ndim > WR_MAX_DIMS)
        return wr_fail(at->err, WR_EUNSUPPORTED, "%s: tensor %s: %zu dimensions, at most %d", at->path, at->name,
                       t->ndim, WR_MAX_DIMS);
    *elements = 1;
    for (size_t i = 0; i < t->ndim; i++) {
        if (!read_size(json_array_get(shape, i), &t->dim[i]) || __builtin_mul_overflow(*elements, t->dim[i], elements))
            return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: dimension %zu is out of range", at->path, at->name, i);
    }
    return WR_OK;
}

static wr_status read_entry(const place *at, const json_t *entry, const unsigned char *data, size_t size, wr_tensor *t)
{
    size_t element = 0, elements = 0, bytes, begin, end;
    wr_status st;
    if (!json_is_object(entry))
        return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: expected an object", at->path, at->name);
    if ((st = read_dtype(at, entry, t, &element)) || (st = read_shape(at, entry, t, &elements))) return st;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &begin) ||
        !read_size(json_array_get(offsets, 1), &end))
        return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: data_offsets is not a pair of sizes", at->path, at->name);
    if (begin > end || end > size)
        return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: bytes %zu..%zu, but the file's data ends at %zu", at->path,
                       at->name, begin, end, size);
    if (__builtin_mul_overflow(elements, element, &bytes) || bytes != end - begin)
        return wr_fail(at->err, WR_EFORMAT, "%s: tensor %s: %zu bytes of data do not fit its shape", at->path,
                       at->name, end - begin);
    t->data = data + begin;
    t->bytes = bytes;
    return WR_OK;
}

static int by_position(const void *a, const void *b)
{
    const wr_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Sorts the file's own tensors by position; they follow each other with little between them, up to the end. */
static wr_status check_layout(wr_tensor *t, size_t n, const unsigned char *data, size_t size, const char *path,
                              wr_err *err)
{
    size_t at = 0;
    if (n) qsort(t, n, sizeof *t, by_position);
    for (size_t i = 0; i < n; i++) {
        size_t begin = (size_t)((const unsigned char *)t[i].data - data);
        if (begin < at) return wr_fail(err, WR_EFORMAT, "%s: tensor %s overlaps another one", path, t[i].name);
        if (begin - at >= MAX_PADDING)
            return wr_fail(err, WR_EFORMAT, "%s: %zu bytes before tensor %s belong to none", path, begin - at,
                           t[i].name);
        at = begin + t[i].bytes;
    }
    if (size - at >= MAX_PADDING)
        return wr_fail(err, WR_EFORMAT, "%s: tensors end at byte %zu of the data, the file at %zu", path, at, size);
    return WR_OK;
}

static wr_status read_header(const json_t *header, const unsigned char *data, size_t size, const char *path,
                             wr_tensor_list *list, wr_err *err)
{
    const char *name;
    json_t *entry;
    size_t first = list->n;
    json_object_foreach((json_t *)(uintptr_t)header, name, entry)
    {
        wr_tensor t = {0};
        place at = {path, name, err};
        if (!strcmp(name, "__metadata__")) continue;
        wr_status st = read_entry(&at, entry, data, size, &t);
        if (!st && (st = wr_tensor_list_add(list, &t, name, strlen(name))))
            wr_fail(err, st, "%s: out of memory", path);
        if (st) return st;
    }
    return check_layout(list->n ? list->tensor + first : NULL, list->n - first, data, size, path, err);
}

wr_status wr_safetensors_read(const unsigned char *bytes, size_t n, const char *path, wr_tensor_list *list,
                              wr_err *err)
{
    uint64_t length;
    if (n < sizeof length) return wr_fail(err, WR_EFORMAT, "%s: %zu bytes are no safetensors file", path, n);
    memcpy(&length, bytes, sizeof length);
    size_t left = n - sizeof length;
    if (length > left || length > MAX_HEADER)
        return wr_fail(err, WR_EFORMAT, "%s: header of %" PRIu64 " bytes, %zu are left in the file, at most %zu",
                       path, length, left, MAX_HEADER);
    json_t *header;
    wr_status st = wr_json_parse(&header, (const char *)bytes + sizeof length, (size_t)length, path, err);
    if (st) return st;
    if (json_is_object(header))
        st = read_header(header, bytes + sizeof length + length, left - (size_t)length, path, list, err);
    else
        st = wr_fail(err, WR_EFORMAT, "%s: header is no JSON object", path);
    json_decref(header);
    return st;
}

/* ---- a folder ---- */

static wr_status add_file(wr_tensors *t, const char *dir, const char *name, const source **added, wr_err *err)
{
    char path[MAX_PATH];
    wr_map map;
    source *more = realloc(t->file, (t->nfiles + 1) * sizeof *more);
    if (!more) return wr_fail(err, WR_ENOMEM, "%s: out of memory", dir);
    t->file = more;
    wr_status st = wr_path_join(path, sizeof path, dir, name);
    if (st) return wr_fail(err, st, "%s/%s: the path is too long", dir, name);
    if ((st = wr_map_open(&map, path, err))) return st;
    char *copy = strdup(name);
    if (!copy) {
        wr_map_close(&map);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    t->file[t->nfiles] = (source){copy, map};
    *added = &t->file[t->nfiles++];
    return WR_OK;
}

static wr_status add_tensors(wr_tensors *t, const char *dir, const char *name, wr_err *err)
{
    char path[MAX_PATH];
    const source *file;
    wr_status st = add_file(t, dir, name, &file, err);
    if (st) return st;
    wr_path_join(path, sizeof path, dir, name);
    size_t suffix = strlen(".safetensors"), n = strlen(name);
    bool safe = n > suffix && !strcmp(name + n - suffix, ".safetensors");
    return (safe ? wr_safetensors_read : wr_checkpoint_read)(file->map.bytes, file->map.size, path, &t->list, err);
}

static bool has_file(const wr_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->nfiles; i++)
        if (!strcmp(t->file[i].name, name)) return true;
    return false;
}

static wr_status add_shards(wr_tensors *t, const char *dir, const char *index, wr_err *err)
{
    const source *file;
    const char *name;
    json_t *root = NULL, *shard;
    wr_status st = add_file(t, dir, index, &file, err);
    if (!st && file->map.size > MAX_INDEX)
        st = wr_fail(err, WR_EFORMAT, "%s/%s: %zu bytes, at most %zu", dir, index, file->map.size, MAX_INDEX);
    if (!st) st = wr_json_parse(&root, (const char *)file->map.bytes, file->map.size, index, err);
    json_t *map = json_object_get(root, "weight_map");
    if (!st && !json_is_object(map)) st = wr_fail(err, WR_EFORMAT, "%s/%s: no weight_map", dir, index);
    if (st) goto done;
    json_object_foreach(map, name, shard)
    {
        const char *shard_name = json_string_value(shard);
        if (!shard_name || !shard_name[0] || shard_name[0] == '.' || strchr(shard_name, '/'))
            st = wr_fail(err, WR_EFORMAT, "%s/%s: tensor %s: expected a file name", dir, index, name);
        else if (!has_file(t, shard_name) && t->nfiles >= MAX_FILES)
            st = wr_fail(err, WR_EFORMAT, "%s/%s: more than %d files", dir, index, MAX_FILES);
        else if (!has_file(t, shard_name))
            st = add_tensors(t, dir, shard_name, err);
        if (st) break;
    }
done:
    json_decref(root);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wr_tensor *)a)->name, ((const wr_tensor *)b)->name);
}

static wr_status sort_names(wr_tensors *t, const char *dir, wr_err *err)
{
    wr_tensor *tensor = t->list.tensor;
    if (!t->list.n) return wr_fail(err, WR_EFORMAT, "%s: no tensor in its weights", dir);
    qsort(tensor, t->list.n, sizeof *tensor, by_name);
    for (size_t i = 1; i < t->list.n; i++)
        if (!strcmp(tensor[i - 1].name, tensor[i].name))
            return wr_fail(err, WR_EFORMAT, "%s: tensor %s is there twice", dir, tensor[i].name);
    return WR_OK;
}

static bool exists(const char *dir, const char *name)
{
    char path[MAX_PATH];
    return !wr_path_join(path, sizeof path, dir, name) && wr_path_exists(path);
}

wr_status wr_tensors_open(wr_tensors **tensors, const char *dir, wr_err *err)
{
    static const char single[] = "model.safetensors", sharded[] = "model.safetensors.index.json",
                      pickled[] = "pytorch_model.bin";
    wr_status st;
    *tensors = NULL;
    wr_tensors *t = calloc(1, sizeof *t);
    if (!t) return wr_fail(err, WR_ENOMEM, "%s: out of memory", dir);
    if (exists(dir, single))
        st = add_tensors(t, dir, single, err);
    else if (exists(dir, sharded))
        st = add_shards(t, dir, sharded, err);
    else if (exists(dir, pickled))
        st = add_tensors(t, dir, pickled, err);
    else
        st = wr_fail(err, WR_ENOTFOUND, "%s: no %s, %s or %s", dir, single, sharded, pickled);
    if (!st) st = sort_names(t, dir, err);
    if (st) {
        wr_tensors_close(t);
        return st;
    }
    *tensors = t;
    return WR_OK;
}

void wr_tensors_close(wr_tensors *tensors)
{
    if (!tensors) return;
    wr_tensor_list_release(&tensors->list);
    for (size_t i = 0; i < tensors->nfiles; i++) {
        wr_map_close(&tensors->file[i].map);
        free(tensors->file[i].name);
    }
    free(tensors->file);
    free(tensors);
}

size_t wr_tensors_count(const wr_tensors *tensors)
{
    return tensors->list.n;
}

const wr_tensor *wr_tensors_at(const wr_tensors *tensors, size_t i)
{
    return &tensors->list.tensor[i];
}

const wr_tensor *wr_tensors_find(const wr_tensors *tensors, const char *name)
{
    wr_tensor key = {.name = name};
    return bsearch(&key, tensors->list.tensor, tensors->list.n, sizeof key, by_name);
}

size_t wr_tensors_nfiles(const wr_tensors *tensors)
{
    return tensors->nfiles;
}

const char *wr_tensors_file(const wr_tensors *tensors, size_t i, const void **bytes, size_t *n)
{
    *bytes = tensors->file[i].map.bytes;
    *n = tensors->file[i].map.size;
    return tensors->file[i].name;
}

void wr_tensors_give_back(const wr_tensors *tensors)
{
    for (size_t i = 0; i < tensors->nfiles; i++)
        if (tensors->file[i].map.bytes)
            madvise((void *)(uintptr_t)tensors->file[i].map.bytes, tensors->file[i].map.size, MADV_DONTNEED);
}
