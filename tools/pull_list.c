#include "tools/pull.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"

/* A repository of models has tens of files, a sharded one hundreds; a longer list is not a model. */
enum { MAX_FILES = 20000, MAX_NAME = 1024 };

/* What weir reads beside the weights, wherever a module keeps it. */
static const char *const wanted_names[] = {"config.json",
                                           "tokenizer*.json",
                                           "vocab.txt",
                                           "vocab.json",
                                           "merges.txt",
                                           "added_tokens.json",
                                           "modules.json",
                                           "special_tokens_map.json",
                                           "sentence_*_config.json",
                                           "config_sentence_transformers.json",
                                           "router_config.json",
                                           "generation_config.json",
                                           "idf.json",
                                           "query_token_weights.txt",
                                           "chat_template.jinja",
                                           "chat_template.json",
                                           "certificate.json",
                                           "README.md",
                                           "LICENSE*"};

/* sentence-transformers' module folders: 1_Pooling, 2_Dense, query_0_SparseStaticEmbedding, document_0_MLMTransformer.
 */
static const char *const module_folders[] = {"[0-9]_*", "[0-9][0-9]_*", "query_[0-9]_*", "document_[0-9]_*"};

static bool matches_any(const char *name, const char *const *pattern, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!fnmatch(pattern[i], name, 0)) return true;
    return false;
}

bool wr_pull_name_is_safe(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > MAX_NAME || name[0] == '/') return false;
    if (n >= 5 && !strcmp(name + n - 5, ".part")) return false;
    for (const char *part = name;;) {
        size_t len = strcspn(part, "/");
        if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.')) return false;
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f || part[i] == '\\') return false;
        if (!part[len]) return true;
        part += len + 1;
    }
}

/* The part of a name behind its folder; the folder's length, without the slash, goes to *folder. */
static const char *base_name(const char *name, size_t *folder)
{
    const char *slash = strrchr(name, '/');
    *folder = slash ? (size_t)(slash - name) : 0;
    return slash ? slash + 1 : name;
}

static bool in_module(const char *name)
{
    size_t len;
    base_name(name, &len);
    if (len == 0) return true;
    char folder[MAX_NAME + 1];
    memcpy(folder, name, len);
    folder[len] = '\0';
    return !strchr(folder, '/') && matches_any(folder, module_folders, sizeof module_folders / sizeof *module_folders);
}

/* Is there a file in the same folder as name whose own name matches pattern? */
static bool beside(const wr_pull_list *all, const char *name, const char *pattern)
{
    size_t folder, other;
    base_name(name, &folder);
    for (size_t i = 0; i < all->n; i++) {
        const char *base = base_name(all->file[i].name, &other);
        if (other == folder && !memcmp(all->file[i].name, name, folder) && !fnmatch(pattern, base, 0)) return true;
    }
    return false;
}

static size_t count(const wr_pull_list *all, const char *pattern)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) n += !fnmatch(pattern, all->file[i].name, 0);
    return n;
}

static bool is_wanted(const wr_pull_list *all, const char *name)
{
    size_t folder;
    const char *base = base_name(name, &folder);
    if (!in_module(name)) return false;
    if (matches_any(base, wanted_names, sizeof wanted_names / sizeof *wanted_names)) return true;
    if (!fnmatch("*.safetensors", base, 0) || !fnmatch("*.safetensors.index.json", base, 0))
        return !fnmatch("model*", base, 0) || !beside(all, name, "model*.safetensors");
    if (!fnmatch("pytorch_model*.bin", base, 0) || !strcmp("pytorch_model.bin.index.json", base))
        return !beside(all, name, "*.safetensors");
    if (!fnmatch("*.gguf", base, 0))
        return count(all, "*.gguf") == 1 && !count(all, "*.safetensors") && !count(all, "pytorch_model*.bin");
    return false;
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

/* Copies object[key] to hex when it is a string of n lower-case hex digits, else leaves it empty. */
static void read_hex(char hex[WR_PULL_HASH_HEX], const json_t *object, const char *key, size_t n)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text && is_hex(text, n)) memcpy(hex, text, n + 1);
}

static wr_status read_file(wr_pull_file *file, const json_t *entry, const char *where, wr_err *err)
{
    const json_t *name = json_object_get(entry, "rfilename"), *lfs = json_object_get(entry, "lfs");
    const json_t *size = json_object_get(lfs, "size") ? json_object_get(lfs, "size") : json_object_get(entry, "size");
    if (!json_is_string(name)) return wr_fail(err, WR_EFORMAT, "%s: a file without rfilename", where);
    if (strlen(json_string_value(name)) != json_string_length(name) || !wr_pull_name_is_safe(json_string_value(name)))
        return wr_fail(err, WR_EFORMAT, "%s: unsafe file name \"%.200s\", expected a path below the model's folder",
                       where, json_string_value(name));
    if (size && !json_is_null(size) && (!json_is_integer(size) || json_integer_value(size) < 0))
        return wr_fail(err, WR_EFORMAT, "%s: %.200s: size is not a number >= 0", where, json_string_value(name));
    file->size = json_is_integer(size) ? (int64_t)json_integer_value(size) : -1;
    read_hex(file->sha256, lfs, "sha256", 64);
    if (!file->sha256[0]) read_hex(file->sha256, lfs, "oid", 64);
    if (!json_is_object(lfs)) read_hex(file->blob, entry, "blobId", 40);
    file->name = strdup(json_string_value(name));
    return file->name ? WR_OK : wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
}

/* All files that the answer lists, wanted or not. */
static wr_status read_all(wr_pull_list *all, const json_t *root, const char *where, wr_err *err)
{
    const json_t *siblings = json_object_get(root, "siblings");
    size_t n = json_array_size(siblings);
    if (!json_is_array(siblings)) return wr_fail(err, WR_EFORMAT, "%s: no array \"siblings\" (the files)", where);
    if (n > MAX_FILES) return wr_fail(err, WR_EFORMAT, "%s: %zu files, at most %d", where, n, MAX_FILES);
    read_hex(all->commit, root, "sha", 40);
    all->file = calloc(n ? n : 1, sizeof *all->file);
    if (!all->file) return wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
    wr_status st = WR_OK;
    while (!st && all->n < n) {
        st = read_file(&all->file[all->n], json_array_get(siblings, all->n), where, err);
        if (!st) all->n++;
    }
    return st;
}

/* Two passes: a file's fate depends on its neighbours, so all are judged before the first one goes. */
static void drop_unwanted(wr_pull_list *all, const bool *keep)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (keep[i])
            all->file[kept++] = all->file[i];
        else
            free(all->file[i].name);
    }
    all->n = kept;
}

wr_status wr_pull_list_read(wr_pull_list *out, const char *json, size_t n, const char *where,
                            const char *const *pattern, size_t npatterns, wr_err *err)
{
    json_t *root = NULL;
    bool *keep = NULL;
    *out = (wr_pull_list){0};
    wr_status st = wr_json_parse(&root, json, n, where, err);
    if (!st) st = read_all(out, root, where, err);
    if (st) goto done;
    keep = calloc(out->n + 1, sizeof *keep);
    if (!keep) {
        st = wr_fail(err, WR_ENOMEM, "%s: out of memory", where);
        goto done;
    }
    for (size_t i = 0; i < out->n; i++) {
        const char *name = out->file[i].name;
        keep[i] = npatterns ? matches_any(name, pattern, npatterns) : is_wanted(out, name);
    }
    drop_unwanted(out, keep);
    if (out->n == 0) st = wr_fail(err, WR_ENOTFOUND, "%s: no file of a model that weir can read", where);
done:
    free(keep);
    json_decref(root);
    if (st) wr_pull_list_release(out);
    return st;
}

void wr_pull_list_release(wr_pull_list *list)
{
    for (size_t i = 0; i < list->n; i++) free(list->file[i].name);
    free(list->file);
    *list = (wr_pull_list){0};
}
