#include "models/safetensors_write.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/model_config.h"

/* Data starts on a cache line. */
#define ALIGN 64

/* ---- one file ---- */

static int by_place(const void *a, const void *b)
{
    const wr_tensor *x = a, *y = b;
    size_t m = wr_dtype_bytes(x->dtype), n = wr_dtype_bytes(y->dtype);
    return m != n ? (m < n ? 1 : -1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const wr_tensor *)a)->name, ((const wr_tensor *)b)->name);
}

static wr_status check(const char *path, const wr_tensor *t, wr_err *err)
{
    size_t bytes = wr_dtype_bytes(t->dtype);
    if (!t->name || !*t->name || !strcmp(t->name, "__metadata__"))
        return wr_fail(err, WR_EARG, "%s: a tensor without a name, or called __metadata__", path);
    if (!bytes)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: tensor %s: dtype %s cannot be written", path, t->name,
                       wr_dtype_name(t->dtype));
    if (t->ndim > WR_MAX_DIMS)
        return wr_fail(err, WR_EARG, "%s: tensor %s: %zu dimensions, at most %d", path, t->name, t->ndim, WR_MAX_DIMS);
    for (size_t i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(bytes, t->dim[i], &bytes))
            return wr_fail(err, WR_EARG, "%s: tensor %s: dimension %zu is out of range", path, t->name, i);
    if (bytes != t->bytes)
        return wr_fail(err, WR_EARG, "%s: tensor %s: %zu bytes of data, its shape needs %zu", path, t->name, t->bytes,
                       bytes);
    return WR_OK;
}

/* The tensors in the order of their data. Owned by the caller (free). */
static wr_status arrange(const char *path, const wr_tensor *tensor, size_t n, wr_tensor **out, wr_err *err)
{
    wr_status st = WR_OK;
    *out = NULL;
    wr_tensor *sorted = calloc(n ? n : 1, sizeof *sorted);
    if (!sorted) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n && !st; i++) {
        st = check(path, &tensor[i], err);
        sorted[i] = tensor[i];
    }
    if (!st) qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n && !st; i++)
        if (!strcmp(sorted[i - 1].name, sorted[i].name))
            st = wr_fail(err, WR_EARG, "%s: tensor %s is there twice", path, sorted[i].name);
    if (st) {
        free(sorted);
        return st;
    }
    qsort(sorted, n, sizeof *sorted, by_place);
    *out = sorted;
    return WR_OK;
}

static json_t *entry(const wr_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < t->ndim; i++) json_array_append_new(shape, json_integer((json_int_t)t->dim[i]));
    return json_pack("{s:s,s:o,s:[I,I]}", "dtype", wr_dtype_name(t->dtype), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + t->bytes));
}

/* The header as text; NULL when memory is short or a name is no UTF-8. transformers wants to know that tensors are
 * PyTorch's, [out, in]. */
static char *header(const wr_tensor *tensor, size_t n)
{
    json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    bool good = root != NULL;
    for (size_t i = 0, at = 0; i < n && good; at += tensor[i++].bytes)
        good = json_object_set_new(root, tensor[i].name, entry(&tensor[i], at)) == 0;
    char *text = good ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static void put(wr_file *file, const char *text, const wr_tensor *tensor, size_t n)
{
    size_t length = strlen(text), padded = (8 + length + ALIGN - 1) / ALIGN * ALIGN - 8;
    unsigned char first[8];
    for (size_t i = 0; i < 8; i++) first[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    wr_file_write(file, first, sizeof first);
    wr_file_write(file, text, length);
    for (; length < padded; length++) wr_file_write(file, " ", 1);
    for (size_t i = 0; i < n; i++) wr_file_write(file, tensor[i].data, tensor[i].bytes);
}

wr_status wr_safetensors_write(const char *path, const wr_tensor *tensor, size_t n, wr_err *err)
{
    char tmp[WR_MAX_PATH];
    wr_tensor *sorted;
    wr_file *file;
    char *text = NULL;
    int len = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof tmp) return wr_fail(err, WR_EARG, "%s: path is too long", path);
    wr_status st = arrange(path, tensor, n, &sorted, err);
    if (st) return st;
    if (!(text = header(sorted, n))) st = wr_fail(err, WR_EARG, "%s: out of memory, or a name is no UTF-8", path);
    if (!st) st = wr_file_create(&file, tmp, NULL, 0, err);
    if (!st) {
        put(file, text, sorted, n);
        st = wr_file_publish(file, path, err);
    }
    free(text);
    free(sorted);
    return st;
}

/* ---- a model directory ---- */

/* What stands beside the weights. */
static const char *const beside[] = {"config.json",
                                     "config_sentence_transformers.json",
                                     "modules.json",
                                     "router_config.json",
                                     "sentence_*_config.json",
                                     "tokenizer*",
                                     "vocab.*",
                                     "merges.txt",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "idf.json",
                                     "query_token_weights.txt",
                                     "LICENSE*"};

static bool is_beside(const char *name)
{
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (!fnmatch(beside[i], name, 0)) return true;
    return false;
}

/* sentence-transformers' modules: 0_Transformer, 1_Pooling, 2_Normalize; a router's query_0_SparseStaticEmbedding. */
static bool is_module(const char *name)
{
    static const char *const routes[] = {"query_", "document_"};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (!strncmp(name, routes[i], strlen(routes[i]))) name += strlen(routes[i]);
    size_t digits = strspn(name, "0123456789");
    return digits && name[digits] == '_';
}

/* Of a module other than the transformer, whose tensors are written anew. */
static bool is_weights(const char *name)
{
    return !strcmp(name, "model.safetensors") || !strcmp(name, "pytorch_model.bin");
}

wr_status wr_model_dir_vacant(const char *dir, wr_err *err)
{
    DIR *open = opendir(dir);
    bool empty = true;
    if (!open && errno == ENOENT) return WR_OK;
    if (!open) return wr_fail(err, WR_EARG, "%s: %s, a new or an empty folder was expected", dir, strerror(errno));
    for (struct dirent *e; empty && (e = readdir(open));) empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(open);
    return empty ? WR_OK : wr_fail(err, WR_EARG, "%s: is not empty, a new or an empty folder was expected", dir);
}

static wr_status copy_file(const char *from, const char *to, wr_err *err)
{
    wr_map map;
    wr_status st = wr_map_open(&map, from, err);
    if (st) return st;
    st = wr_file_replace(to, map.bytes, map.size, err);
    wr_map_close(&map);
    return st;
}

/* The files beside the weights, and with `base`, the transformer's folder, those of modules too, whole but for it. */
static wr_status copy_folder(const char *from, const char *to, const char *base, bool whole, wr_err *err)
{
    wr_status st = wr_dir_make(to, err);
    if (st) return st;
    DIR *dir = opendir(from);
    if (!dir) return wr_fail(err, WR_EIO, "%s: cannot open the folder: %s", from, strerror(errno));
    for (struct dirent *e; !st && (e = readdir(dir));) {
        char source[WR_MAX_PATH], target[WR_MAX_PATH];
        bool module = base && is_module(e->d_name);
        if (!module && !is_beside(e->d_name) && !(whole && is_weights(e->d_name))) continue;
        if (wr_path_join(source, sizeof source, from, e->d_name) || wr_path_join(target, sizeof target, to, e->d_name))
            st = wr_fail(err, WR_EARG, "%s/%s: the path is too long", to, e->d_name);
        else if (!wr_path_is_dir(source))
            st = copy_file(source, target, err);
        else if (module)
            st = copy_folder(source, target, NULL, strcmp(source, base) != 0, err);
    }
    closedir(dir);
    return st;
}

wr_status wr_model_dir_write(const char *from, const char *to, const wr_tensor *tensor, size_t n, wr_err *err)
{
    char folder[WR_MAX_PATH], path[WR_MAX_PATH];
    wr_model_config config;
    bool existed = wr_path_is_dir(to);
    wr_status st = wr_model_dir_vacant(to, err);
    if (st || (st = wr_model_config_read(&config, from, err))) return st;
    const char *inside = config.base + strlen(from); /* the transformer's folder, "" for `from` itself */
    while (*inside == '/') inside++;
    if (wr_path_join(folder, sizeof folder, to, inside) || wr_path_join(path, sizeof path, folder, "model.safetensors"))
        return wr_fail(err, WR_EARG, "%s/%s: the path is too long", to, inside);
    if (!(st = copy_folder(from, to, config.base, false, err)) && *inside)
        st = copy_folder(config.base, folder, NULL, false, err);
    if (!st) st = wr_safetensors_write(path, tensor, n, err);
    if (st) {
        wr_dir_remove(to, NULL);
        if (existed) wr_dir_make(to, NULL);
    }
    return st;
}
