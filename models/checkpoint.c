#include <stdbool.h>
#include <string.h>

#include "models/pickle.h"
#include "models/safetensors.h"

/* Where the raw bytes of a storage are. */
typedef struct storage {
    const unsigned char *bytes;
    size_t n;
} storage;

typedef struct checkpoint {
    const unsigned char *bytes;
    size_t n;
    const char *path;
    wr_err *err;
    wr_pickle pickle;
    /* zip: the central directory, and the folder in the archive that data.pkl lies in */
    size_t directory, directory_end;
    const char *folder;
    size_t folder_len;
    /* stream: the keys in the order of their storages, and where these begin */
    wr_pickle keys;
    size_t storages;
} checkpoint;

static wr_status bad(const checkpoint *c, const char *what)
{
    return wr_fail(c->err, WR_EFORMAT, "%s: %s", c->path, what);
}

static uint64_t number(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}

/* ---- zip ----
 * Read from its end: the end record names the central directory, which has for each member its name, sizes and the
 * place of its local header; the data follows that header. PyTorch stores without compression, zip64 where needed. */

enum {
    END_BYTES = 22,     /* PK\5\6: 12 size and 16 offset of the directory, 20 length of a comment   */
    END64_LOCATOR = 20, /* PK\6\7: 8 offset of the zip64 end record                                 */
    END64_BYTES = 56,   /* PK\6\6: 40 size and 48 offset of the directory                           */
    MEMBER_BYTES = 46,  /* PK\1\2: 10 method, 20 and 24 sizes, 28 30 32 lengths, 42 local header    */
    LOCAL_BYTES = 30    /* PK\3\4: 26 and 28 lengths of name and extra field                        */
};

/* A comment behind the end record may be this long, so the record begins no further from the end. */
#define MAX_COMMENT 65535

static bool find_end(const checkpoint *c, size_t *at)
{
    if (c->n < END_BYTES) return false;
    size_t lowest = c->n > END_BYTES + MAX_COMMENT ? c->n - END_BYTES - MAX_COMMENT : 0;
    for (size_t i = c->n - END_BYTES + 1; i-- > lowest;) {
        if (memcmp(c->bytes + i, "PK\5\6", 4)) continue;
        *at = i;
        return true;
    }
    return false;
}

static wr_status find_directory(checkpoint *c)
{
    size_t end;
    if (!find_end(c, &end)) return bad(c, "no end of a zip archive; the file is cut short or no checkpoint");
    uint64_t size = number(c->bytes + end + 12, 4), offset = number(c->bytes + end + 16, 4);
    if (end >= END64_LOCATOR && !memcmp(c->bytes + end - END64_LOCATOR, "PK\6\7", 4)) {
        uint64_t record = number(c->bytes + end - END64_LOCATOR + 8, 8);
        if (record > end || end - record < END64_BYTES || memcmp(c->bytes + record, "PK\6\6", 4))
            return bad(c, "the zip64 end record is not where it is said to be");
        size = number(c->bytes + record + 40, 8);
        offset = number(c->bytes + record + 48, 8);
    }
    if (offset > end || size > end - offset) return bad(c, "the zip directory lies outside the file");
    c->directory = (size_t)offset;
    c->directory_end = (size_t)(offset + size);
    return WR_OK;
}

typedef struct member {
    const char *name;
    size_t name_len;
    unsigned method;
    uint64_t size, stored, local; /* size in all, size in the archive, place of the local header */
} member;

/* Values that do not fit 32 bits are in the zip64 extra field, in this order, only those that are needed. */
static wr_status read_zip64(const checkpoint *c, const unsigned char *extra, size_t n, member *m)
{
    uint64_t *field[] = {&m->size, &m->stored, &m->local};
    while (n >= 4) {
        size_t id = (size_t)number(extra, 2), length = (size_t)number(extra + 2, 2);
        if (length > n - 4) return bad(c, "a zip extra field is longer than its record");
        if (id == 1) {
            for (size_t i = 0, at = 0; i < 3; i++) {
                if (*field[i] != UINT32_MAX) continue;
                if (length < at + 8) return bad(c, "a zip64 extra field is too short");
                *field[i] = number(extra + 4 + at, 8);
                at += 8;
            }
            return WR_OK;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return WR_OK;
}

/* The member at *at of the directory; moves *at behind it. */
static wr_status next_member(const checkpoint *c, size_t *at, member *m)
{
    size_t left = c->directory_end - *at;
    const unsigned char *p = c->bytes + *at;
    if (left < MEMBER_BYTES || memcmp(p, "PK\1\2", 4)) return bad(c, "the zip directory is damaged");
    size_t name = (size_t)number(p + 28, 2), extra = (size_t)number(p + 30, 2), comment = (size_t)number(p + 32, 2);
    if (left - MEMBER_BYTES < name + extra + comment) return bad(c, "the zip directory is cut short");
    *m = (member){.name = (const char *)p + MEMBER_BYTES,
                  .name_len = name,
                  .method = (unsigned)number(p + 10, 2),
                  .stored = number(p + 20, 4),
                  .size = number(p + 24, 4),
                  .local = number(p + 42, 4)};
    *at += MEMBER_BYTES + name + extra + comment;
    return read_zip64(c, p + MEMBER_BYTES + name, extra, m);
}

static wr_status member_bytes(const checkpoint *c, const member *m, storage *out)
{
    if (m->method) return wr_fail(c->err, WR_EUNSUPPORTED, "%s: %.*s is compressed, expected stored as is", c->path,
                                  (int)(m->name_len < 100 ? m->name_len : 100), m->name);
    if (m->size != m->stored) return bad(c, "a stored zip member has two sizes");
    if (m->local > c->n || c->n - m->local < LOCAL_BYTES || memcmp(c->bytes + m->local, "PK\3\4", 4))
        return bad(c, "a zip member is not where the directory says");
    const unsigned char *p = c->bytes + m->local;
    uint64_t begin = m->local + LOCAL_BYTES + number(p + 26, 2) + number(p + 28, 2);
    if (begin > c->n || m->size > c->n - begin) return bad(c, "a zip member reaches beyond the file");
    *out = (storage){c->bytes + begin, (size_t)m->size};
    return WR_OK;
}

/* Finds "FOLDER/" "data/" KEY, or with folder NULL the one that ends in "/data.pkl" (then c->folder is set). */
static wr_status find_member(checkpoint *c, const char *prefix, const char *key, size_t key_len, storage *out)
{
    size_t at = c->directory, prefix_len = strlen(prefix), wanted = c->folder_len + prefix_len + key_len;
    while (at < c->directory_end) {
        member m;
        wr_status st = next_member(c, &at, &m);
        if (st) return st;
        if (!c->folder && m.name_len >= key_len && !memcmp(m.name + m.name_len - key_len, key, key_len)) {
            c->folder = m.name;
            c->folder_len = m.name_len - key_len + 1; /* with its slash */
            return member_bytes(c, &m, out);
        }
        if (c->folder && m.name_len == wanted && !memcmp(m.name, c->folder, c->folder_len) &&
            !memcmp(m.name + c->folder_len, prefix, prefix_len) &&
            !memcmp(m.name + c->folder_len + prefix_len, key, key_len))
            return member_bytes(c, &m, out);
    }
    return WR_ENOTFOUND;
}

static wr_status open_zip(checkpoint *c)
{
    static const char pickle[] = "/data.pkl";
    storage bytes;
    size_t used;
    wr_status st = find_directory(c);
    if (!st) st = find_member(c, "", pickle, sizeof pickle - 1, &bytes);
    if (st == WR_ENOTFOUND) return bad(c, "a zip archive without data.pkl is no PyTorch checkpoint");
    if (st) return st;
    storage order;
    st = find_member(c, "byteorder", "", 0, &order);
    if (!st && (order.n < 6 || memcmp(order.bytes, "little", 6)))
        return wr_fail(c->err, WR_EUNSUPPORTED, "%s: byteorder is not little", c->path);
    if (st && st != WR_ENOTFOUND) return st;
    return wr_pickle_read(&c->pickle, bytes.bytes, bytes.n, &used, c->path, c->err);
}

/* ---- stream ---- */

/* The first pickle of a stream: protocol 2, the magic number 0x1950a86a20f9469cfc6c as a long of ten bytes, stop. */
static const unsigned char stream_magic[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                             0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

static wr_status open_stream(checkpoint *c)
{
    size_t at = sizeof stream_magic, used;
    wr_pickle skipped;
    for (int i = 0; i < 2; i++) { /* the protocol's version, and what kind of machine wrote it */
        wr_status st = wr_pickle_read(&skipped, c->bytes + at, c->n - at, &used, c->path, c->err);
        if (st) return st;
        wr_pickle_release(&skipped);
        at += used;
    }
    wr_status st = wr_pickle_read(&c->pickle, c->bytes + at, c->n - at, &used, c->path, c->err);
    if (st) return st;
    at += used;
    st = wr_pickle_read(&c->keys, c->bytes + at, c->n - at, &used, c->path, c->err);
    if (st) return st;
    if (c->keys.node[c->keys.root].kind != WR_PICKLE_LIST) return bad(c, "no list of storages behind the tensors");
    c->storages = at + used;
    return WR_OK;
}

/* The bytes of a stream's storage do not say how wide an element is; the tensors that use it do. */
static const wr_pickle_node *storage_named(const checkpoint *c, const char *key, uint32_t key_len)
{
    for (uint32_t i = 0; i < c->pickle.nnodes; i++) {
        const wr_pickle_node *node = &c->pickle.node[i];
        if (node->kind == WR_PICKLE_STORAGE && node->n == key_len && !memcmp(node->text, key, key_len)) return node;
    }
    return NULL;
}

static wr_status find_in_stream(const checkpoint *c, const wr_pickle_node *wanted, storage *out)
{
    size_t at = c->storages;
    const wr_pickle *keys = &c->keys;
    for (uint32_t i = keys->node[keys->root].first; i != WR_PICKLE_END; i = keys->link[i].next) {
        const wr_pickle_node *key = &keys->node[keys->link[i].value], *known;
        if (key->kind != WR_PICKLE_STRING || !(known = storage_named(c, key->text, key->n)))
            return bad(c, "the list of storages names one that no tensor uses");
        uint64_t elements, bytes;
        if (c->n - at < 8) return bad(c, "cut short before a storage");
        elements = number(c->bytes + at, 8);
        at += 8;
        if (__builtin_mul_overflow(elements, (uint64_t)known->bytes, &bytes) || bytes > c->n - at)
            return bad(c, "a storage reaches beyond the file");
        *out = (storage){c->bytes + at, (size_t)bytes};
        if (key->n == wanted->n && !memcmp(key->text, wanted->text, key->n)) return WR_OK;
        at += (size_t)bytes;
    }
    return WR_ENOTFOUND;
}

/* ---- tensors ---- */

static wr_status find_storage(checkpoint *c, const wr_pickle_node *wanted, storage *out)
{
    wr_status st = c->folder ? find_member(c, "data/", wanted->text, wanted->n, out) : find_in_stream(c, wanted, out);
    return st == WR_ENOTFOUND ? bad(c, "a tensor's storage is missing") : st;
}

/* Shape and stride of a tensor, which must be contiguous (a stride does not matter where the dimension is 1 or the
 * tensor is empty). */
static wr_status read_shape(const checkpoint *c, const wr_pickle_node *node, wr_tensor *t, size_t *elements)
{
    const wr_pickle *p = &c->pickle;
    const wr_pickle_node *shape = &p->node[node->shape], *stride = &p->node[node->stride];
    if (shape->n > WR_MAX_DIMS || shape->n != stride->n) return bad(c, "a tensor with too many dimensions");
    size_t step[WR_MAX_DIMS], i = 0;
    uint32_t a = shape->first, b = stride->first;
    for (; a != WR_PICKLE_END && b != WR_PICKLE_END; a = p->link[a].next, b = p->link[b].next, i++) {
        const wr_pickle_node *size = &p->node[p->link[a].value], *by = &p->node[p->link[b].value];
        if (size->kind != WR_PICKLE_INT || by->kind != WR_PICKLE_INT || size->number < 0 || by->number < 0)
            return bad(c, "a tensor's shape is not made of sizes");
        t->dim[i] = (size_t)size->number;
        step[i] = (size_t)by->number;
    }
    t->ndim = i;
    *elements = 1;
    bool contiguous = true;
    while (i-- > 0) {
        contiguous &= t->dim[i] == 1 || step[i] == *elements;
        if (__builtin_mul_overflow(*elements, t->dim[i], elements)) return bad(c, "a tensor's shape is out of range");
    }
    if (!contiguous && *elements) return WR_EUNSUPPORTED;
    return WR_OK;
}

static wr_status add_tensor(checkpoint *c, const wr_pickle_node *key, const wr_pickle_node *node, wr_tensor_list *list)
{
    const wr_pickle_node *storage_node = &c->pickle.node[node->storage];
    wr_tensor t = {.dtype = storage_node->dtype};
    storage from;
    size_t elements = 0, bytes, offset, end;
    wr_status st = read_shape(c, node, &t, &elements);
    if (st == WR_EUNSUPPORTED)
        return wr_fail(c->err, st, "%s: tensor %.*s is not contiguous", c->path, (int)(key->n < 100 ? key->n : 100),
                       key->text);
    if (st || (st = find_storage(c, storage_node, &from))) return st;
    if (__builtin_mul_overflow(elements, (size_t)storage_node->bytes, &bytes) ||
        __builtin_mul_overflow((size_t)node->number, (size_t)storage_node->bytes, &offset) ||
        __builtin_add_overflow(offset, bytes, &end) || end > from.n)
        return wr_fail(c->err, WR_EFORMAT, "%s: tensor %.*s reaches beyond its storage of %zu bytes", c->path,
                       (int)(key->n < 100 ? key->n : 100), key->text, from.n);
    t.data = from.bytes + offset;
    t.bytes = bytes;
    st = wr_tensor_list_add(list, &t, key->text, key->n);
    return st ? wr_fail(c->err, st, "%s: out of memory", c->path) : WR_OK;
}

/* The tensors of the outermost dict; what else it holds (epochs, settings) is passed over. */
static wr_status add_tensors(checkpoint *c, wr_tensor_list *list)
{
    const wr_pickle *p = &c->pickle;
    if (p->node[p->root].kind != WR_PICKLE_DICT) return bad(c, "the pickle is of something else than a dict");
    for (uint32_t i = p->node[p->root].first; i != WR_PICKLE_END; i = p->link[i].next) {
        const wr_pickle_node *key = &p->node[p->link[i].key], *value = &p->node[p->link[i].value];
        if (value->kind != WR_PICKLE_TENSOR) continue;
        if (key->kind != WR_PICKLE_STRING || memchr(key->text, 0, key->n)) return bad(c, "a tensor without a name");
        wr_status st = add_tensor(c, key, value, list);
        if (st) return st;
    }
    return WR_OK;
}

wr_status wr_checkpoint_read(const unsigned char *bytes, size_t n, const char *path, wr_tensor_list *list, wr_err *err)
{
    checkpoint c = {.bytes = bytes, .n = n, .path = path, .err = err};
    wr_status st;
    if (n > sizeof stream_magic && !memcmp(bytes, stream_magic, sizeof stream_magic))
        st = open_stream(&c);
    else if (n >= 4 && !memcmp(bytes, "PK\3\4", 4))
        st = open_zip(&c);
    else
        st = wr_fail(err, WR_EFORMAT, "%s: neither a zip archive nor a stream of pickles, as PyTorch writes", path);
    if (!st) st = add_tensors(&c, list);
    wr_pickle_release(&c.pickle);
    wr_pickle_release(&c.keys);
    return st;
}
