#include "models/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "data/mapfile.h"
#include "models/blocks.h"

#define MAGIC "GGUF"
#define MAX_KEY 65535    /* what the format allows                                                     */
#define MAX_NAME 64      /* likewise, of a tensor                                                      */
#define MAX_DIMS 4       /* likewise                                                                   */
#define MAX_NESTING 8    /* arrays of arrays: no published file has any                                */
#define MAX_ALIGN 65536u /* files in use have 32; a page is the most that a map can keep               */
#define LEAST_ENTRY 13   /* an empty key, a type, a value of one byte: 8 + 4 + 1                       */
#define LEAST_TENSOR 24  /* an empty name, no dimensions, type and offset: 8 + 4 + 4 + 8               */

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, NTYPES };
static const uint8_t width_of[NTYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct entry {
    wr_text key;
    uint32_t type, element;  /* element: of an array */
    const unsigned char *at; /* its value; an array's first element */
    size_t n;                /* elements of an array                */
    wr_text *text;           /* [n] of an array of strings, NULL else */
    double *real;            /* [n] of an array of numbers, NULL else */
} entry;

typedef struct tensor {
    char name[MAX_NAME + 1];
    uint32_t type;
    bool known;   /* blocks are what we multiply, and the shape is a matrix's */
    size_t bytes; /* 0 for types whose size is not known here                 */
    uint64_t offset;
    wr_blocks blocks;
} tensor;

struct wr_gguf {
    wr_map map; /* zero when the bytes are the caller's */
    const unsigned char *bytes;
    size_t size, data_at;
    entry *entry; /* [nentries] by key */
    size_t nentries;
    tensor *tensor; /* [ntensors] by name */
    size_t ntensors;
};

/* What is being read: bytes at..end are left. */
typedef struct reader {
    const unsigned char *begin, *at, *end;
    const char *path;
    wr_err *err;
} reader;

static size_t left(const reader *r)
{
    return (size_t)(r->end - r->at);
}

static wr_status ends(const reader *r, const char *what)
{
    return wr_fail(r->err, WR_EFORMAT, "%s: the file ends inside %s at byte %zu", r->path, what,
                   (size_t)(r->at - r->begin));
}

static wr_status take_u32(reader *r, const char *what, uint32_t *out)
{
    *out = 0;
    if (left(r) < sizeof *out) return ends(r, what);
    memcpy(out, r->at, sizeof *out);
    r->at += sizeof *out;
    return WR_OK;
}

static wr_status take_u64(reader *r, const char *what, uint64_t *out)
{
    *out = 0;
    if (left(r) < sizeof *out) return ends(r, what);
    memcpy(out, r->at, sizeof *out);
    r->at += sizeof *out;
    return WR_OK;
}

static wr_status take_text(reader *r, const char *what, wr_text *out)
{
    uint64_t n;
    wr_status st = take_u64(r, what, &n);
    if (st) return st;
    if (n > left(r))
        return wr_fail(r->err, WR_EFORMAT, "%s: %s of %" PRIu64 " bytes, %zu are left in the file", r->path, what, n,
                       left(r));
    *out = (wr_text){(const char *)r->at, (size_t)n};
    r->at += n;
    return WR_OK;
}

/* ---- metadata ---- */

static double real_of(uint32_t type, const unsigned char *at)
{
    union {
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v = {0};
    memcpy(&v, at, width_of[type]);
    switch (type) {
    case U8:
    case BOOL:
        return at[0];
    case I8:
        return (signed char)at[0];
    case U16:
        return v.u16;
    case I16:
        return v.i16;
    case U32:
        return v.u32;
    case I32:
        return v.i32;
    case F32:
        return (double)v.f32;
    case U64:
        return (double)v.u64;
    case I64:
        return (double)v.i64;
    default:
        return v.f64;
    }
}

static wr_status take_value(reader *r, uint32_t type, entry *e, unsigned depth);

static wr_status no_memory(const reader *r)
{
    return wr_fail(r->err, WR_ENOMEM, "%s: out of memory", r->path);
}

static wr_status take_texts(reader *r, entry *e)
{
    if (e->n > left(r) / sizeof(uint64_t)) return ends(r, "an array of strings");
    if (!(e->text = calloc(e->n ? e->n : 1, sizeof *e->text))) return no_memory(r);
    for (size_t i = 0; i < e->n; i++) {
        wr_status st = take_text(r, "a string of an array", &e->text[i]);
        if (st) return st;
    }
    return WR_OK;
}

static wr_status take_reals(reader *r, entry *e)
{
    size_t width = width_of[e->element];
    if (e->n > left(r) / width) return ends(r, "an array of numbers");
    if (!(e->real = malloc((e->n ? e->n : 1) * sizeof *e->real))) return no_memory(r);
    for (size_t i = 0; i < e->n; i++) e->real[i] = real_of(e->element, r->at + i * width);
    r->at += e->n * width;
    return WR_OK;
}

/* Nested ones are walked for their end and kept nowhere. */
static wr_status skip_arrays(reader *r, size_t n, unsigned depth)
{
    if (depth >= MAX_NESTING)
        return wr_fail(r->err, WR_EUNSUPPORTED, "%s: arrays nested deeper than %d", r->path, MAX_NESTING);
    if (n > left(r) / 12) return ends(r, "an array of arrays");
    for (size_t i = 0; i < n; i++) {
        entry inner = {0};
        wr_status st = take_value(r, ARRAY, &inner, depth + 1);
        free(inner.text);
        free(inner.real);
        if (st) return st;
    }
    return WR_OK;
}

static wr_status take_array(reader *r, entry *e, unsigned depth)
{
    uint64_t n;
    wr_status st = take_u32(r, "an array", &e->element);
    if (st || (st = take_u64(r, "an array", &n))) return st;
    if (e->element >= NTYPES)
        return wr_fail(r->err, WR_EFORMAT, "%s: an array of type %" PRIu32 ", which is none", r->path, e->element);
    if (n > left(r))
        return wr_fail(r->err, WR_EFORMAT, "%s: an array of %" PRIu64 " elements, %zu bytes are left in the file",
                       r->path, n, left(r));
    e->at = r->at;
    e->n = (size_t)n;
    if (e->element == ARRAY) return skip_arrays(r, e->n, depth);
    return e->element == STRING ? take_texts(r, e) : take_reals(r, e);
}

static wr_status take_value(reader *r, uint32_t type, entry *e, unsigned depth)
{
    wr_text text;
    e->at = r->at;
    if (type == ARRAY) return take_array(r, e, depth);
    if (type == STRING) return take_text(r, "a string", &text);
    if (type >= NTYPES)
        return wr_fail(r->err, WR_EFORMAT, "%s: a value of type %" PRIu32 ", which is none", r->path, type);
    if (left(r) < width_of[type]) return ends(r, "a number");
    r->at += width_of[type];
    return WR_OK;
}

static int compare_text(wr_text a, wr_text b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int way = n ? memcmp(a.bytes, b.bytes, n) : 0;
    return way ? way : (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    return compare_text(((const entry *)a)->key, ((const entry *)b)->key);
}

static wr_status read_entries(wr_gguf *g, reader *r, uint64_t n)
{
    if (n > left(r) / LEAST_ENTRY)
        return wr_fail(r->err, WR_EFORMAT, "%s: %" PRIu64 " metadata entries, %zu bytes are left in the file", r->path,
                       n, left(r));
    if (!(g->entry = calloc(n ? (size_t)n : 1, sizeof *g->entry))) return no_memory(r);
    for (; g->nentries < n;) {
        entry *e = &g->entry[g->nentries++]; /* counted first: what it holds when it fails is released */
        wr_status st = take_text(r, "a key", &e->key);
        if (!st && (e->key.n == 0 || e->key.n > MAX_KEY))
            st = wr_fail(r->err, WR_EFORMAT, "%s: a key of %zu bytes, expected 1 to %d", r->path, e->key.n, MAX_KEY);
        if (!st) st = take_u32(r, "an entry", &e->type);
        if (!st && (st = take_value(r, e->type, e, 0)))
            wr_fail_prefix(r->err, "key %.*s", e->key.n < 80 ? (int)e->key.n : 80, e->key.bytes);
        if (st) return st;
    }
    qsort(g->entry, g->nentries, sizeof *g->entry, by_key);
    for (size_t i = 1; i < g->nentries; i++)
        if (!by_key(&g->entry[i - 1], &g->entry[i]))
            return wr_fail(r->err, WR_EFORMAT, "%s: key %.*s is there twice", r->path,
                           g->entry[i].key.n < 80 ? (int)g->entry[i].key.n : 80, g->entry[i].key.bytes);
    return WR_OK;
}

static const entry *find(const wr_gguf *g, const char *key)
{
    entry wanted = {.key = {key, strlen(key)}};
    return bsearch(&wanted, g->entry, g->nentries, sizeof wanted, by_key);
}

bool wr_gguf_text(const wr_gguf *g, const char *key, wr_text *out)
{
    const entry *e = find(g, key);
    uint64_t n;
    if (!e || e->type != STRING) return false;
    memcpy(&n, e->at, sizeof n);
    *out = (wr_text){(const char *)e->at + sizeof n, (size_t)n};
    return true;
}

bool wr_gguf_unsigned(const wr_gguf *g, const char *key, uint64_t *out)
{
    const entry *e = find(g, key);
    uint64_t v = 0;
    if (!e || e->type >= NTYPES || e->type == F32 || e->type == F64 || e->type == STRING || e->type == ARRAY)
        return false;
    bool is_signed = e->type == I8 || e->type == I16 || e->type == I32 || e->type == I64;
    if (is_signed && e->at[width_of[e->type] - 1] & 0x80) return false;
    memcpy(&v, e->at, width_of[e->type]);
    *out = e->type == BOOL ? v != 0 : v;
    return true;
}

bool wr_gguf_real(const wr_gguf *g, const char *key, double *out)
{
    const entry *e = find(g, key);
    if (!e || e->type == STRING || e->type == ARRAY || e->type == BOOL) return false;
    *out = real_of(e->type, e->at);
    return true;
}

bool wr_gguf_texts(const wr_gguf *g, const char *key, const wr_text **out, size_t *n)
{
    const entry *e = find(g, key);
    if (!e || !e->text) return false;
    *out = e->text;
    *n = e->n;
    return true;
}

bool wr_gguf_reals(const wr_gguf *g, const char *key, const double **out, size_t *n)
{
    const entry *e = find(g, key);
    if (!e || !e->real) return false;
    *out = e->real;
    *n = e->n;
    return true;
}

/* ---- tensors ---- */

/* ggml's types (ggml.h); values and bytes of a block tell a tensor's extent even where nothing here multiplies it. */
static const struct {
    const char *name;
    uint16_t values, bytes;
} types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},      [3] = {"Q4_1", 32, 20},
    [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},      [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},
    [10] = {"Q2_K", 256, 84},    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66}, [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},   [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},   [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},        [29] = {"IQ1_M", 256, 56},
    [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},   [35] = {"TQ2_0", 256, 66},
};

static bool block_type(uint32_t type, wr_block_type *out)
{
    static const struct {
        uint32_t ggml;
        wr_block_type ours;
    } known[] = {{0, WR_BLOCK_F32},  {1, WR_BLOCK_F16},   {30, WR_BLOCK_BF16}, {8, WR_BLOCK_Q8_0},
                 {2, WR_BLOCK_Q4_0}, {12, WR_BLOCK_Q4_K}, {13, WR_BLOCK_Q5_K}, {14, WR_BLOCK_Q6_K}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].ggml == type) return *out = known[i].ours, true;
    return false;
}

static const char *type_name(uint32_t type)
{
    return type < sizeof types / sizeof *types && types[type].name ? types[type].name : "unknown";
}

static wr_status out_of_range(const reader *r, const tensor *t, const char *what)
{
    return wr_fail(r->err, WR_EFORMAT, "%s: tensor %s: %s", r->path, t->name, what);
}

/* Its extent in bytes from dimensions and type. dim[] has MAX_DIMS, missing ones are 1. */
static wr_status measure(const reader *r, tensor *t, const uint64_t *dim)
{
    size_t in, out, blocks;
    wr_block_type ours;
    if (t->type >= sizeof types / sizeof *types || !types[t->type].name)
        return wr_fail(r->err, WR_EUNSUPPORTED, "%s: tensor %s: type %" PRIu32 " is not known", r->path, t->name,
                       t->type);
    if (__builtin_mul_overflow(dim[1], dim[2], &out) || __builtin_mul_overflow(out, dim[3], &out) ||
        __builtin_add_overflow(dim[0], 0u, &in))
        return out_of_range(r, t, "its dimensions are out of range");
    if (in == 0 || out == 0) return out_of_range(r, t, "a dimension is 0");
    if (in % types[t->type].values) {
        return wr_fail(r->err, WR_EFORMAT, "%s: tensor %s: rows of %zu values, expected whole blocks of %u for %s",
                       r->path, t->name, in, types[t->type].values, types[t->type].name);
    }
    if (__builtin_mul_overflow(in / types[t->type].values, out, &blocks) ||
        __builtin_mul_overflow(blocks, (size_t)types[t->type].bytes, &t->bytes))
        return out_of_range(r, t, "its dimensions are out of range");
    t->known = block_type(t->type, &ours) && dim[2] == 1 && dim[3] == 1;
    if (t->known) t->blocks = (wr_blocks){.type = ours, .out = out, .in = in};
    return WR_OK;
}

static wr_status read_tensor(reader *r, tensor *t)
{
    wr_text name;
    uint32_t ndims;
    uint64_t dim[MAX_DIMS] = {1, 1, 1, 1};
    wr_status st = take_text(r, "a tensor's name", &name);
    if (st) return st;
    if (name.n == 0 || name.n > MAX_NAME || memchr(name.bytes, 0, name.n))
        return wr_fail(r->err, WR_EFORMAT, "%s: a tensor's name of %zu bytes, expected 1 to %d without NUL", r->path,
                       name.n, MAX_NAME);
    memcpy(t->name, name.bytes, name.n);
    if ((st = take_u32(r, "a tensor", &ndims))) return st;
    if (ndims > MAX_DIMS)
        return wr_fail(r->err, WR_EFORMAT, "%s: tensor %s: %" PRIu32 " dimensions, at most %d", r->path, t->name, ndims,
                       MAX_DIMS);
    for (uint32_t i = 0; i < ndims; i++)
        if ((st = take_u64(r, "a tensor", &dim[i]))) return st;
    if ((st = take_u32(r, "a tensor", &t->type)) || (st = take_u64(r, "a tensor", &t->offset))) return st;
    return measure(r, t, dim);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static wr_status alignment_of(const wr_gguf *g, const reader *r, uint64_t *align)
{
    *align = 32;
    if (!find(g, "general.alignment")) return WR_OK;
    if (!wr_gguf_unsigned(g, "general.alignment", align) || *align < 8 || *align > MAX_ALIGN || (*align & (*align - 1)))
        return wr_fail(r->err, WR_EFORMAT, "%s: general.alignment: expected a power of two from 8 to %u", r->path,
                       MAX_ALIGN);
    return WR_OK;
}

/* Every tensor lies inside the data, aligned, and behind the one before it. */
static wr_status place(wr_gguf *g, const reader *r)
{
    uint64_t align;
    wr_status st = alignment_of(g, r, &align);
    if (st) return st;
    size_t at = (size_t)(r->at - r->begin), pad = (size_t)(-(uint64_t)at & (align - 1));
    if (g->ntensors && pad > left(r)) return ends(r, "the padding before the data");
    g->data_at = at + (pad < left(r) ? pad : left(r));
    size_t size = g->size - g->data_at, end = 0;
    qsort(g->tensor, g->ntensors, sizeof *g->tensor, by_offset);
    for (size_t i = 0; i < g->ntensors; i++) {
        tensor *t = &g->tensor[i];
        if (t->offset & (align - 1)) return out_of_range(r, t, "its offset is not aligned");
        if (t->offset > size || t->bytes > size - t->offset)
            return wr_fail(r->err, WR_EFORMAT,
                           "%s: tensor %s: %zu bytes at %" PRIu64 ", but the file's data ends at %zu", r->path, t->name,
                           t->bytes, t->offset, size);
        if (t->offset < end) return out_of_range(r, t, "it overlaps another one");
        end = (size_t)t->offset + t->bytes;
        t->blocks.data = g->bytes + g->data_at + t->offset;
    }
    return WR_OK;
}

static wr_status read_tensors(wr_gguf *g, reader *r, uint64_t n)
{
    if (n > left(r) / LEAST_TENSOR)
        return wr_fail(r->err, WR_EFORMAT, "%s: %" PRIu64 " tensors, %zu bytes are left in the file", r->path, n,
                       left(r));
    if (!(g->tensor = calloc(n ? (size_t)n : 1, sizeof *g->tensor))) return no_memory(r);
    for (; g->ntensors < n; g->ntensors++) {
        wr_status st = read_tensor(r, &g->tensor[g->ntensors]);
        if (st) return st;
    }
    wr_status st = place(g, r);
    if (st) return st;
    qsort(g->tensor, g->ntensors, sizeof *g->tensor, by_name);
    for (size_t i = 1; i < g->ntensors; i++)
        if (!by_name(&g->tensor[i - 1], &g->tensor[i])) return out_of_range(r, &g->tensor[i], "it is there twice");
    return WR_OK;
}

static const tensor *find_tensor(const wr_gguf *g, const char *name)
{
    tensor wanted;
    size_t n = strlen(name);
    if (n > MAX_NAME) return NULL;
    memcpy(wanted.name, name, n + 1);
    return bsearch(&wanted, g->tensor, g->ntensors, sizeof wanted, by_name);
}

const wr_blocks *wr_gguf_tensor(const wr_gguf *g, const char *name)
{
    const tensor *t = find_tensor(g, name);
    return t && t->known ? &t->blocks : NULL;
}

const char *wr_gguf_tensor_type(const wr_gguf *g, const char *name)
{
    const tensor *t = find_tensor(g, name);
    return t ? type_name(t->type) : NULL;
}

size_t wr_gguf_ntensors(const wr_gguf *g)
{
    return g->ntensors;
}

const char *wr_gguf_tensor_name(const wr_gguf *g, size_t i)
{
    return g->tensor[i].name;
}

/* ---- the file ---- */

static wr_status read_file(wr_gguf *g, const char *path, wr_err *err)
{
    reader r = {g->bytes, g->bytes, g->bytes + g->size, path, err};
    uint32_t version;
    uint64_t tensors, entries;
    if (g->size < 4 || memcmp(g->bytes, MAGIC, 4)) return wr_fail(err, WR_EFORMAT, "%s: no GGUF file", path);
    r.at += 4;
    wr_status st = take_u32(&r, "its header", &version);
    if (!st && version != 2 && version != 3)
        st = wr_fail(err, WR_EUNSUPPORTED, "%s: GGUF version %" PRIu32 ", expected 2 or 3, little-endian", path,
                     version);
    if (!st) st = take_u64(&r, "its header", &tensors);
    if (!st) st = take_u64(&r, "its header", &entries);
    if (!st) st = read_entries(g, &r, entries);
    return st ? st : read_tensors(g, &r, tensors);
}

wr_status wr_gguf_read(wr_gguf **gguf, const unsigned char *bytes, size_t n, const char *path, wr_err *err)
{
    *gguf = NULL;
    wr_gguf *g = calloc(1, sizeof *g);
    if (!g) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    g->bytes = bytes;
    g->size = n;
    wr_status st = read_file(g, path, err);
    if (st) {
        wr_gguf_close(g);
        return st;
    }
    *gguf = g;
    return WR_OK;
}

wr_status wr_gguf_open(wr_gguf **gguf, const char *path, wr_err *err)
{
    wr_map map;
    *gguf = NULL;
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    if ((st = wr_gguf_read(gguf, map.bytes, map.size, path, err)))
        wr_map_close(&map);
    else
        (*gguf)->map = map;
    return st;
}

void wr_gguf_close(wr_gguf *gguf)
{
    if (!gguf) return;
    for (size_t i = 0; i < gguf->nentries; i++) {
        free(gguf->entry[i].text);
        free(gguf->entry[i].real);
    }
    free(gguf->entry);
    free(gguf->tensor);
    wr_map_close(&gguf->map);
    free(gguf);
}

bool wr_gguf_is(const char *path)
{
    wr_map map;
    if (wr_map_open(&map, path, NULL)) return false;
    bool is = map.size >= 4 && !memcmp(map.bytes, MAGIC, 4);
    wr_map_close(&map);
    return is;
}

const unsigned char *wr_gguf_bytes(const wr_gguf *g, size_t *n, size_t *data_at)
{
    *n = g->size;
    *data_at = g->data_at;
    return g->bytes;
}

void wr_gguf_give_back(const wr_gguf *g)
{
    if (g->map.bytes) madvise((void *)(uintptr_t)g->map.bytes, g->map.size, MADV_DONTNEED);
}
