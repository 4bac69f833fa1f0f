#include "indexer/manifest.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "data/hash.h"
#include "data/json.h"
#include "data/mapfile.h"
#include "indexer/factory.h"
#include "indexer/lexical.h"

#define FORMAT 1

/* A block's checksum takes 28 bytes of text: enough for 9 TB of index. */
#define MANIFEST_MAX ((size_t)256 << 20)
#define FILE_MAX ((uint64_t)1 << 43)

/* 15 digits: 0.9 is written as 0.9 and read back as the same number. */
#define DUMP (JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15))

const char *const wr_index_file_name[WR_FILE_COUNT] = {"docs.mdb",    "passages.bin", "bm25.bin", "vectors.bin",
                                                       "dense.faiss", "sparse.bin",   "query.bin", "clusters.bin"};

bool wr_generation_parse(const char *name, uint32_t *number)
{
    if (strncmp(name, "gen-", 4)) return false;
    size_t n = strspn(name + 4, "0123456789");
    if (n < 6 || n > 9 || name[4 + n]) return false;
    *number = (uint32_t)strtoul(name + 4, NULL, 10);
    return *number > 0;
}

/* ---- the checksum of the text ---- */

static bool starts(const char *line, size_t n, const char *with)
{
    return n >= strlen(with) && !memcmp(line, with, strlen(with));
}

/* XXH3-64 of the text without its lines "created" (builds of the same input are then the same) and "xxh3" (itself). */
static wr_status text_checksum(const char *text, size_t n, uint64_t *sum)
{
    char *kept = malloc(n + 1);
    size_t nkept = 0;
    if (!kept) return WR_ENOMEM;
    for (const char *line = text, *end = text + n, *next; line < end; line = next) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        next = lf ? lf + 1 : end;
        size_t len = (size_t)(next - line);
        if (starts(line, len, "  \"created\":") || starts(line, len, "  \"xxh3\":")) continue;
        memcpy(kept + nkept, line, len);
        nkept += len;
    }
    *sum = wr_checksum(kept, nkept);
    free(kept);
    return WR_OK;
}

/* ---- reading ---- */

/* The object that is being read; the first wrong field is remembered in st and err, later ones are passed over. */
typedef struct fields {
    const char *where, *path; /* path: "dense.model." in front of a key */
    wr_err *err;
    wr_status st;
} fields;

static void wrong(fields *f, const char *key, const char *expected)
{
    if (!f->st) f->st = wr_fail(f->err, WR_EFORMAT, "%s: %s%s: expected %s", f->where, f->path, key, expected);
}

static const json_t *member(fields *f, const json_t *object, const char *key, json_type type, const char *expected)
{
    const json_t *value = json_object_get(object, key);
    bool is = value && (type == JSON_TRUE   ? json_is_boolean(value)
                        : type == JSON_REAL ? json_is_number(value)
                                            : json_typeof(value) == type);
    if (!is) wrong(f, key, expected);
    return is ? value : NULL;
}

static const char *text_of(fields *f, const json_t *object, const char *key, size_t max)
{
    const json_t *value = member(f, object, key, JSON_STRING, "a string");
    if (!value) return "";
    const char *s = json_string_value(value);
    size_t n = json_string_length(value);
    bool plain = n <= max && strlen(s) == n;
    for (size_t i = 0; i < n && plain; i++) plain = (unsigned char)s[i] >= 32 && s[i] != 127;
    if (!plain) wrong(f, key, "a shorter string without control characters");
    return plain ? s : "";
}

static uint64_t number_of(fields *f, const json_t *object, const char *key, uint64_t min, uint64_t max)
{
    const json_t *value = member(f, object, key, JSON_INTEGER, "an integer");
    json_int_t n = value ? json_integer_value(value) : 0;
    char expected[80];
    snprintf(expected, sizeof expected, "an integer from %" PRIu64 " to %" PRIu64, min, max);
    if (value && (n < 0 || (uint64_t)n < min || (uint64_t)n > max)) {
        wrong(f, key, expected);
        return min;
    }
    return (uint64_t)n;
}

static double real_of(fields *f, const json_t *object, const char *key, double max)
{
    const json_t *value = member(f, object, key, JSON_REAL, "a number");
    double x = value ? json_number_value(value) : 0;
    if (!(x >= 0 && x <= max)) wrong(f, key, "a number that BM25 has a use for");
    return x;
}

static bool flag_of(fields *f, const json_t *object, const char *key)
{
    return json_is_true(member(f, object, key, JSON_TRUE, "true or false"));
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static const char *sha256_of(fields *f, const json_t *object, const char *key)
{
    const char *s = text_of(f, object, key, 64);
    if (!is_hex(s, 64)) wrong(f, key, "64 hexadecimal digits");
    return s;
}

/* "2026-11-24T12:00:00Z" */
static bool is_time(const char *s)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    for (size_t i = 0; i < sizeof shape; i++)
        if (shape[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i]) return false;
    return true;
}

static void read_dense(fields *f, const json_t *root, wr_index_info *info)
{
    const json_t *dense = json_object_get(root, "dense");
    info->dense_model_path = info->dense_model_sha256 = info->dense_model_name = "";
    info->dense_factory = info->dense_pooling = "";
    if (json_is_null(dense)) return;
    dense = member(f, root, "dense", JSON_OBJECT, "an object or null");
    info->has_dense = true;
    f->path = "dense.";
    info->dense_dim = number_of(f, dense, "dim", 1, WR_MAX_DIM);
    info->dense_pooling = text_of(f, dense, "pooling", 16);
    info->dense_normalize = flag_of(f, dense, "normalize");
    info->dense_max_doc_tokens = number_of(f, dense, "max_doc_tokens", 1, 1u << 20);
    info->dense_max_query_tokens = number_of(f, dense, "max_query_tokens", 1, 1u << 20);
    info->dense_factory = text_of(f, dense, "factory", WR_MAX_FACTORY);
    info->dense_fast_build = flag_of(f, dense, "fast_build");
    info->documents_cut = number_of(f, dense, "documents_cut", 0, UINT32_MAX);
    const json_t *model = member(f, dense, "model", JSON_OBJECT, "an object");
    f->path = "dense.model.";
    info->dense_model_path = text_of(f, model, "path", 4096);
    info->dense_model_sha256 = sha256_of(f, model, "sha256");
    info->dense_model_name = text_of(f, model, "name", 255);
    f->path = "";
}

static const char *choice_of(fields *f, const json_t *object, const char *key, const char *const *choice, size_t n)
{
    const char *text = text_of(f, object, key, 16);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text, choice[i])) return choice[i];
    wrong(f, key, "one of the words that weir writes there");
    return choice[0];
}

static void read_sparse_model(fields *f, const json_t *sparse, wr_index_info *info)
{
    if (json_is_null(json_object_get(sparse, "model"))) return;
    const json_t *model = member(f, sparse, "model", JSON_OBJECT, "an object or null");
    f->path = "sparse.model.";
    info->sparse_model_path = text_of(f, model, "path", 4096);
    info->sparse_model_sha256 = sha256_of(f, model, "sha256");
    info->sparse_model_name = text_of(f, model, "name", 255);
    f->path = "sparse.";
    info->sparse_max_doc_tokens = number_of(f, sparse, "max_doc_tokens", 1, 1u << 20);
    info->sparse_max_query_tokens = number_of(f, sparse, "max_query_tokens", 1, 1u << 20);
}

/* Absent in manifests that were written before there was anything to say. */
static void read_sparse(fields *f, const json_t *root, wr_index_info *info)
{
    static const char *const documents[] = {"model", "vectors"}, *const query[] = {"idf", "model", "none"},
                             *const idf[] = {"model", "corpus", "both", "file", "none"}, *const tf[] = {"set", "sqrt"};
    const json_t *sparse = json_object_get(root, "sparse");
    info->sparse_model_path = info->sparse_model_sha256 = info->sparse_model_name = "";
    info->sparse_documents = info->sparse_query = info->sparse_idf = "";
    if (!sparse || json_is_null(sparse)) return;
    sparse = member(f, root, "sparse", JSON_OBJECT, "an object or null");
    info->has_sparse = true;
    f->path = "sparse.";
    info->sparse_documents = choice_of(f, sparse, "documents", documents, 2);
    info->sparse_query = choice_of(f, sparse, "query", query, 3);
    info->sparse_idf = choice_of(f, sparse, "idf", idf, 5);
    info->sparse_clusters = flag_of(f, sparse, "clusters");
    info->sparse_prune_ratio = real_of(f, sparse, "prune_ratio", 1);
    if (json_object_get(sparse, "density")) /* since there is a limit to set */
        info->sparse_density = number_of(f, sparse, "density", 0, WR_MAX_DENSITY);
    if (json_object_get(sparse, "lexical")) /* since there are such weights */
        info->sparse_lexical = real_of(f, sparse, "lexical", WR_MAX_LEXICAL);
    if (json_object_get(sparse, "query_tf"))
        info->sparse_query_tf = strcmp(choice_of(f, sparse, "query_tf", tf, 2), "sqrt") ? WR_QUERY_SET : WR_QUERY_ROOT;
    info->sparse_documents_cut = number_of(f, sparse, "documents_cut", 0, UINT32_MAX);
    read_sparse_model(f, sparse, info);
    if (!*info->sparse_model_sha256 && strcmp(info->sparse_query, "none"))
        wrong(f, "query", "\"none\" where there is no model");
    f->path = "";
}

/* Absent in manifests that were written before there was anything to say. */
static void read_tokens(fields *f, const json_t *root, wr_index_info *info)
{
    const json_t *tokens = json_object_get(root, "tokens");
    info->tokenizer_sha256 = "";
    if (!tokens || json_is_null(tokens)) return;
    tokens = member(f, root, "tokens", JSON_OBJECT, "an object or null");
    f->path = "tokens.";
    info->tokenizer_sha256 = sha256_of(f, tokens, "tokenizer");
    info->max_ids = number_of(f, tokens, "max", 1, 1u << 20);
    f->path = "";
}

void wr_manifest_expects(const wr_index_info *info, bool expected[WR_FILE_COUNT])
{
    for (size_t i = 0; i < WR_FILE_COUNT; i++) expected[i] = i <= WR_FILE_BM25;
    expected[WR_FILE_SPARSE] = info->has_sparse;
    expected[WR_FILE_QUERY] = info->has_sparse && !strcmp(info->sparse_query, "idf");
    expected[WR_FILE_CLUSTERS] = info->has_sparse && info->sparse_clusters;
    expected[WR_FILE_VECTORS] = info->has_dense;
    expected[WR_FILE_FAISS] = info->has_dense && strcmp(info->dense_factory, "Flat");
}

static void read_blocks(fields *f, const json_t *entry, wr_manifest_file *file)
{
    const json_t *sums = member(f, entry, "xxh3", JSON_ARRAY, "an array");
    file->nblocks = (size_t)((file->bytes + WR_BLOCK_BYTES - 1) / WR_BLOCK_BYTES);
    if (json_array_size(sums) != file->nblocks) wrong(f, "xxh3", "a checksum for every block");
    if (f->st) return;
    if (!(file->xxh3 = malloc(file->nblocks * sizeof *file->xxh3))) {
        f->st = wr_fail(f->err, WR_ENOMEM, "%s: out of memory", f->where);
        return;
    }
    for (size_t i = 0; i < file->nblocks; i++) {
        const char *hex = json_string_value(json_array_get(sums, i));
        if (!hex || !is_hex(hex, 16))
            wrong(f, "xxh3", "16 hexadecimal digits for every block");
        else
            file->xxh3[i] = strtoull(hex, NULL, 16);
    }
}

static void read_file(fields *f, const json_t *entry, wr_manifest *m)
{
    const char *name = text_of(f, entry, "name", 32);
    size_t which = 0;
    while (which < WR_FILE_COUNT && strcmp(name, wr_index_file_name[which])) which++;
    if (which == WR_FILE_COUNT) {
        wrong(f, "name", "the name of an index's file");
        return;
    }
    wr_manifest_file *file = &m->file[which];
    if (file->present) wrong(f, "name", "each file once");
    if (f->st) return;
    file->present = true;
    file->bytes = number_of(f, entry, "bytes", 1, FILE_MAX);
    number_of(f, entry, "block_bytes", WR_BLOCK_BYTES, WR_BLOCK_BYTES);
    if (!f->st) read_blocks(f, entry, file);
}

static void read_segment(fields *f, const json_t *root, wr_manifest *m)
{
    const json_t *segments = member(f, root, "segments", JSON_ARRAY, "an array");
    if (json_array_size(segments) != 1) wrong(f, "segments", "one segment");
    const json_t *segment = json_array_get(segments, 0);
    f->path = "segments.0.";
    number_of(f, segment, "base", 0, 0);
    m->info.passages = number_of(f, segment, "passages", 1, UINT32_MAX);
    m->info.documents = number_of(f, segment, "documents", 1, m->info.passages);
    const json_t *files = member(f, segment, "files", JSON_ARRAY, "an array");
    f->path = "segments.0.files.";
    for (size_t i = 0; i < json_array_size(files) && !f->st; i++) read_file(f, json_array_get(files, i), m);
    bool expected[WR_FILE_COUNT];
    wr_manifest_expects(&m->info, expected);
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        if (m->file[i].present != expected[i])
            wrong(f, wr_index_file_name[i], expected[i] ? "the file to be listed" : "no such file in this index");
    }
    f->path = "";
}

static void read_fields(fields *f, const json_t *root, wr_manifest *m)
{
    static const wr_factory flat = {0};
    wr_index_info *info = &m->info;
    uint32_t number;
    wr_factory factory = flat;
    info->generation = text_of(f, root, "generation", WR_GENERATION_CAP - 1);
    if (!wr_generation_parse(info->generation, &number)) wrong(f, "generation", "\"gen-\" and a number");
    info->created = text_of(f, root, "created", 20);
    if (!is_time(info->created)) wrong(f, "created", "a time such as 2026-11-24T12:00:00Z");
    info->version = text_of(f, root, "weir", 32);
    info->analyzer = text_of(f, root, "analyzer", 64);
    info->default_pipeline = text_of(f, root, "default_pipeline", 4096);
    const json_t *part = member(f, root, "bm25", JSON_OBJECT, "an object");
    f->path = "bm25.";
    info->k1 = real_of(f, part, "k1", WR_MAX_K1);
    info->b = real_of(f, part, "b", 1);
    f->path = "";
    part = member(f, root, "corpus", JSON_OBJECT, "an object");
    f->path = "corpus.";
    info->corpus_sha256 = sha256_of(f, part, "sha256");
    info->corpus_format = text_of(f, part, "format", 16);
    uint64_t documents = number_of(f, part, "documents", 1, UINT32_MAX);
    f->path = "";
    read_dense(f, root, info);
    read_sparse(f, root, info);
    read_tokens(f, root, info);
    if (info->has_dense && strcmp(info->dense_factory, "Flat") &&
        wr_factory_parse(&factory, info->dense_factory, info->dense_dim, 0, NULL))
        wrong(f, "dense.factory", "a factory string");
    read_segment(f, root, m);
    if (!f->st && documents != info->documents) wrong(f, "corpus.documents", "as many as the segment has");
    if (!f->st && info->documents_cut > documents) wrong(f, "dense.documents_cut", "no more than there are");
    if (!f->st && info->sparse_documents_cut > documents) wrong(f, "sparse.documents_cut", "no more than there are");
}

wr_status wr_manifest_parse(wr_manifest *m, const char *text, size_t n, const char *where, wr_err *err)
{
    *m = (wr_manifest){0};
    uint64_t sum = 0;
    wr_status st = wr_json_parse(&m->json, text, n, where, err);
    if (st) return st;
    fields f = {.where = where, .path = "", .err = err};
    const json_t *format = member(&f, m->json, "format", JSON_INTEGER, "an integer");
    if (format && json_integer_value(format) != FORMAT)
        return wr_fail(err, WR_EUNSUPPORTED, "%s: format %lld, this version reads format %d", where,
                       (long long)json_integer_value(format), FORMAT);
    const char *hex = text_of(&f, m->json, "xxh3", 16);
    if (!f.st && (st = text_checksum(text, n, &sum))) return wr_fail(err, st, "%s: out of memory", where);
    if (!f.st && (!is_hex(hex, 16) || strtoull(hex, NULL, 16) != sum))
        return wr_fail(err, WR_EFORMAT, "%s: its checksum does not match its text: damaged, or edited by hand", where);
    if (!f.st) read_fields(&f, m->json, m);
    return f.st;
}

wr_status wr_manifest_load(wr_manifest *m, const char *dir, wr_err *err)
{
    char path[4096];
    char *text;
    size_t n;
    *m = (wr_manifest){0};
    if (wr_path_join(path, sizeof path, dir, WR_MANIFEST_NAME)) return wr_fail(err, WR_EARG, "%s: too long", dir);
    wr_status st = wr_file_read(path, MANIFEST_MAX, &text, &n, err);
    if (st == WR_ENOTFOUND) return wr_fail(err, st, "%s: no index there (no %s)", dir, WR_MANIFEST_NAME);
    if (st) return st;
    st = wr_manifest_parse(m, text, n, path, err);
    free(text);
    return st;
}

void wr_manifest_release(wr_manifest *m)
{
    for (size_t i = 0; i < WR_FILE_COUNT; i++) free(m->file[i].xxh3);
    json_decref(m->json);
    *m = (wr_manifest){0};
}

/* ---- writing ---- */

static json_t *dense_json(const wr_index_info *i)
{
    if (!i->has_dense) return json_null();
    return json_pack("{s:{s:s,s:s,s:s}, s:I, s:s, s:b, s:I, s:I, s:s, s:b, s:I}", "model", "path", i->dense_model_path,
                     "sha256", i->dense_model_sha256, "name", i->dense_model_name, "dim", (json_int_t)i->dense_dim,
                     "pooling", i->dense_pooling, "normalize", (int)i->dense_normalize, "max_doc_tokens",
                     (json_int_t)i->dense_max_doc_tokens, "max_query_tokens", (json_int_t)i->dense_max_query_tokens,
                     "factory", i->dense_factory, "fast_build", (int)i->dense_fast_build, "documents_cut",
                     (json_int_t)i->documents_cut);
}

static json_t *sparse_json(const wr_index_info *i)
{
    if (!i->has_sparse) return json_null();
    json_t *sparse = json_pack("{s:s, s:s, s:s, s:b, s:f, s:I, s:f, s:s, s:I, s:n}", "documents", i->sparse_documents, "query",
                               i->sparse_query, "idf", i->sparse_idf, "clusters", (int)i->sparse_clusters,
                               "prune_ratio", i->sparse_prune_ratio, "density", (json_int_t)i->sparse_density,
                               "lexical", i->sparse_lexical, "query_tf",
                               i->sparse_query_tf == WR_QUERY_ROOT ? "sqrt" : "set", "documents_cut", (json_int_t)i->sparse_documents_cut, "model");
    if (!sparse || !i->sparse_model_sha256 || !*i->sparse_model_sha256) return sparse;
    json_t *model = json_pack("{s:s, s:s, s:s}", "path", i->sparse_model_path, "sha256", i->sparse_model_sha256, "name",
                              i->sparse_model_name);
    json_t *tokens = json_pack("{s:o, s:I, s:I}", "model", model, "max_doc_tokens", (json_int_t)i->sparse_max_doc_tokens,
                               "max_query_tokens", (json_int_t)i->sparse_max_query_tokens);
    if (json_object_update(sparse, tokens)) { /* a path that is not UTF-8 */
        json_decref(sparse);
        sparse = NULL;
    }
    json_decref(tokens);
    return sparse;
}

static json_t *tokens_json(const wr_index_info *i)
{
    if (!i->tokenizer_sha256 || !*i->tokenizer_sha256) return json_null();
    return json_pack("{s:s, s:I}", "tokenizer", i->tokenizer_sha256, "max", (json_int_t)i->max_ids);
}

static json_t *files_json(const wr_manifest *m)
{
    json_t *files = json_array();
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        const wr_manifest_file *file = &m->file[i];
        if (!file->present) continue;
        json_t *sums = json_array();
        for (size_t b = 0; b < file->nblocks; b++) {
            char hex[17];
            snprintf(hex, sizeof hex, "%016" PRIx64, file->xxh3[b]);
            json_array_append_new(sums, json_string(hex));
        }
        json_array_append_new(files, json_pack("{s:s, s:I, s:I, s:o}", "name", wr_index_file_name[i], "bytes",
                                               (json_int_t)file->bytes, "block_bytes", (json_int_t)WR_BLOCK_BYTES,
                                               "xxh3", sums));
    }
    return files;
}

static char *dump(const json_t *root, size_t *n)
{
    char *text = root ? json_dumps(root, DUMP) : NULL;
    if (!text) return NULL;
    *n = strlen(text);
    char *line = realloc(text, *n + 2);
    if (!line) {
        free(text);
        return NULL;
    }
    memcpy(line + (*n)++, "\n", 2);
    return line;
}

wr_status wr_manifest_text(const wr_manifest *m, char **text, size_t *n, wr_err *err)
{
    const wr_index_info *i = &m->info;
    uint64_t sum;
    char hex[17] = "0000000000000000";
    *text = NULL;
    json_t *root =
        json_pack("{s:i, s:s, s:s, s:s, s:{s:s,s:I,s:s}, s:s, s:{s:f,s:f}, s:s, s:o, s:o, s:o, s:[{s:i,s:I,s:I,s:o}], s:s}",
                  "format", FORMAT, "weir", i->version, "generation", i->generation, "created", i->created, "corpus",
                  "sha256", i->corpus_sha256, "documents", (json_int_t)i->documents, "format", i->corpus_format,
                  "analyzer", i->analyzer, "bm25", "k1", i->k1, "b", i->b, "default_pipeline", i->default_pipeline,
                  "dense", dense_json(i), "sparse", sparse_json(i), "tokens", tokens_json(i), "segments", "base", 0, "passages", (json_int_t)i->passages, "documents",
                  (json_int_t)i->documents, "files", files_json(m), "xxh3", hex);
    char *draft = dump(root, n);
    wr_status st = draft && !text_checksum(draft, *n, &sum) ? WR_OK : WR_EARG;
    if (!st) {
        snprintf(hex, sizeof hex, "%016" PRIx64, sum);
        json_object_set_new(root, "xxh3", json_string(hex));
        *text = dump(root, n);
    }
    free(draft);
    json_decref(root);
    if (*text) return WR_OK;
    return wr_fail(err, WR_EARG, "%s: a path or name in it is not UTF-8, or memory is exhausted", WR_MANIFEST_NAME);
}

/* ---- block checksums ---- */

typedef struct blocks {
    const wr_map *map;
    uint64_t *xxh3;       /* filled */
    const uint64_t *want; /* or compared */
    _Atomic size_t first_bad;
} blocks;

static void block_sum(void *arg, size_t b)
{
    blocks *job = arg;
    size_t from = b * WR_BLOCK_BYTES, left = job->map->size - from, n = left < WR_BLOCK_BYTES ? left : WR_BLOCK_BYTES;
    const unsigned char *bytes = job->map->bytes + from;
    uint64_t sum = wr_checksum(bytes, n);
    madvise((void *)(uintptr_t)bytes, n, MADV_DONTNEED); /* or the whole index would count as our memory */
    if (job->xxh3) job->xxh3[b] = sum;
    if (!job->want || job->want[b] == sum) return;
    size_t first = atomic_load(&job->first_bad);
    while (b < first && !atomic_compare_exchange_weak(&job->first_bad, &first, b)) continue;
}

wr_status wr_manifest_add(wr_manifest *m, enum wr_index_file which, const char *path, wr_pool *pool, wr_err *err)
{
    wr_map map;
    wr_manifest_file *file = &m->file[which];
    wr_status st = wr_map_open(&map, path, err);
    if (st) return st;
    size_t n = (map.size + WR_BLOCK_BYTES - 1) / WR_BLOCK_BYTES;
    if (!(file->xxh3 = malloc((n ? n : 1) * sizeof *file->xxh3))) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    } else {
        blocks job = {.map = &map, .xxh3 = file->xxh3};
        wr_pool_for(pool, n, block_sum, &job);
        file->nblocks = n;
        file->bytes = map.size;
        file->present = true;
    }
    wr_map_close(&map);
    return st;
}

void wr_manifest_drop(wr_manifest *m, enum wr_index_file which)
{
    free(m->file[which].xxh3);
    m->file[which] = (wr_manifest_file){0};
}

wr_status wr_manifest_verify(const wr_manifest *m, enum wr_index_file which, const char *path, size_t max_blocks,
                             wr_pool *pool, wr_err *err)
{
    wr_map map;
    const wr_manifest_file *file = &m->file[which];
    wr_status st = wr_map_open(&map, path, err);
    if (st == WR_ENOTFOUND) return wr_fail(err, WR_EFORMAT, "%s: missing, but listed in the manifest", path);
    if (st) return st;
    if (map.size != file->bytes) {
        st = wr_fail(err, WR_EFORMAT, "%s: %zu bytes, the manifest says %" PRIu64, path, map.size, file->bytes);
    } else {
        blocks job = {.map = &map, .want = file->xxh3, .first_bad = SIZE_MAX};
        wr_pool_for(pool, file->nblocks < max_blocks ? file->nblocks : max_blocks, block_sum, &job);
        size_t bad = atomic_load(&job.first_bad);
        if (bad != SIZE_MAX)
            st = wr_fail(err, WR_EFORMAT, "%s: block %zu (1 MiB from byte %" PRIu64 ") does not match its checksum",
                         path, bad, (uint64_t)bad * WR_BLOCK_BYTES);
    }
    wr_map_close(&map);
    return st;
}
