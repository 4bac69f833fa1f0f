#include "indexer/docstore.h"

#include <errno.h>
#include <lmdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "indexer/docnos.h"

/* The file: LMDB (MDB_NOSUBDIR) with two named tables, or three.
 *
 *   "docs"   u32 docid (MDB_INTEGERKEY) -> record:
 *               0  u32 docno length    8  u32 text length
 *               4  u32 title length   12  u32 metadata length
 *              16  docno NUL title NUL text NUL metadata NUL
 *   "names"  docno -> u32 docid
 *   "tokens" u32 docid (MDB_INTEGERKEY) -> u16 flags (1: the text had more tokens, 2: ids are u32), then the ids, u16 or
 *            u32. A table of its own: a rerank stage reads ids alone, twenty records to a page, and no text.
 *
 * All are filled in key order (MDB_APPEND), so pages are full and written once. Text is stored as it is: a hit's text
 * is then a pointer into the map, and the page cache holds what is asked for. Records beyond half a page (2 KB) take
 * pages of their own; on passages the waste is a third, which text dominates either way.
 *
 * The bytes depend on the documents alone: one thread writes, transactions end at fixed sizes, the map grows by fixed
 * steps, and LMDB clears the pages that it allocates (no MDB_NOMEMINIT, no MDB_WRITEMAP). */

/* A transaction's dirty pages stay in memory until it ends: 16 MiB costs little and makes the few pages that every
 * transaction copies (the rightmost path) invisible. */
#define TXN_BYTES ((size_t)16 << 20)

/* The map grows by this at least: address space only, the file grows by pages that are written. */
#define MAP_STEP ((size_t)64 << 20)

#define TABLES 3
#define IDS_CUT 1
#define IDS_WIDE 2
#define IDS_HEADER sizeof(uint16_t)

#define RECORD_HEADER 16
#define RECORD_MAX ((size_t)1 << 30) /* one document; far below LMDB's limit of 4 GB */
#define FILE_MODE 0644

/* The writer's tables. */
enum { DOCS, NAMES, TOKENS };

struct wr_docstore_writer {
    char *path;
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor[TABLES]; /* by table, opened when the transaction first writes there */
    MDB_dbi table[TABLES];
    size_t page, map_bytes, room; /* room: bytes that the open transaction may still add */
    unsigned char *record;
    size_t cap;
    uint32_t count, ntokens; /* documents, and how many of them have ids */
    wr_docnos *docnos;
};

struct wr_docstore {
    char *path;
    MDB_env *env;
    MDB_dbi docs, names, tokens;
    uint32_t count;
    uint64_t token_bytes; /* 0 without ids */
};

struct wr_docreader {
    const wr_docstore *store;
    MDB_txn *txn;
};

static wr_status fail_lmdb(wr_err *err, const char *path, const char *what, int rc)
{
    wr_status code = rc == ENOMEM ? WR_ENOMEM : rc == MDB_CORRUPTED || rc == MDB_INVALID ? WR_EFORMAT : WR_EIO;
    /* LMDB reports a write that a full disk cut short as EIO. */
    return wr_fail(err, code, "%s: %s: %s%s", path, what, mdb_strerror(rc), rc == EIO ? " (or the disk is full)" : "");
}

/* ---- writing ---- */

static void close_cursors(wr_docstore_writer *w)
{
    for (size_t i = 0; i < TABLES; i++)
        if (w->cursor[i]) mdb_cursor_close(w->cursor[i]);
    memset(w->cursor, 0, sizeof w->cursor);
}

static void writer_free(wr_docstore_writer *w)
{
    close_cursors(w);
    if (w->txn) mdb_txn_abort(w->txn);
    if (w->env) mdb_env_close(w->env);
    wr_docnos_close(w->docnos);
    free(w->record);
    free(w->path);
    free(w);
}

void wr_docstore_writer_abort(wr_docstore_writer *w)
{
    if (!w) return;
    unlink(w->path);
    writer_free(w);
}

static int txn_end(wr_docstore_writer *w)
{
    close_cursors(w);
    if (!w->txn) return 0;
    int rc = mdb_txn_commit(w->txn);
    w->txn = NULL;
    return rc;
}

/* Begins a transaction in a map with room for TXN_BYTES or `bytes`, whichever is more. */
static int txn_begin(wr_docstore_writer *w, size_t bytes)
{
    MDB_envinfo info;
    int rc = mdb_env_info(w->env, &info);
    if (rc) return rc;
    if (bytes < TXN_BYTES) bytes = TXN_BYTES;
    /* Three times: pages are at least half full, and the rest is branches and copies of pages that change. */
    size_t need = (info.me_last_pgno + 1) * w->page + 3 * bytes;
    if (need > w->map_bytes) {
        w->map_bytes = (need + need / 4) / MAP_STEP * MAP_STEP + MAP_STEP;
        if ((rc = mdb_env_set_mapsize(w->env, w->map_bytes))) return rc;
    }
    w->room = bytes;
    return mdb_txn_begin(w->env, NULL, 0, &w->txn);
}

/* Appends one pair to `table`; ends the transaction first when the pair does not fit into it any more. */
static int append(wr_docstore_writer *w, int table, MDB_val *key, MDB_val *value)
{
    size_t cost = value->mv_size + key->mv_size + 2 * w->page; /* at most: pages of its own, and a share of the tree */
    if (w->txn && cost > w->room) {
        int rc = txn_end(w);
        if (rc) return rc;
    }
    if (!w->txn) {
        int rc = txn_begin(w, cost);
        if (rc) return rc;
    }
    if (!w->cursor[table]) {
        int rc = mdb_cursor_open(w->txn, w->table[table], &w->cursor[table]);
        if (rc) return rc;
    }
    /* Small records share pages: count what they fill, or transactions would end a hundred times too often. */
    w->room -= value->mv_size > w->page / 2 ? cost : value->mv_size + key->mv_size + 16;
    return mdb_cursor_put(w->cursor[table], key, value, MDB_APPEND);
}

static int writer_start(wr_docstore_writer *w)
{
    int rc;
    MDB_stat stat;
    if ((rc = mdb_env_create(&w->env))) return rc;
    w->map_bytes = MAP_STEP;
    if ((rc = mdb_env_set_maxdbs(w->env, TABLES)) || (rc = mdb_env_set_mapsize(w->env, w->map_bytes))) return rc;
    /* Nobody reads before the commit, which syncs once; a crash leaves a file that no manifest names. */
    unsigned flags = MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NOMETASYNC;
    if ((rc = mdb_env_open(w->env, w->path, flags, FILE_MODE)) || (rc = mdb_env_stat(w->env, &stat))) return rc;
    w->page = stat.ms_psize;
    if ((rc = mdb_txn_begin(w->env, NULL, 0, &w->txn))) return rc;
    if ((rc = mdb_dbi_open(w->txn, "docs", MDB_CREATE | MDB_INTEGERKEY, &w->table[DOCS]))) return rc;
    if ((rc = mdb_dbi_open(w->txn, "names", MDB_CREATE, &w->table[NAMES]))) return rc;
    return txn_end(w);
}

wr_status wr_docstore_writer_open(wr_docstore_writer **writer, const char *path, wr_err *err)
{
    *writer = NULL;
    wr_docstore_writer *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        free(w);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    unlink(path); /* LMDB would add to what is there */
    wr_status st = wr_docnos_open(&w->docnos, path, 0, err);
    int rc = st ? 0 : writer_start(w);
    if (rc) st = fail_lmdb(err, path, "cannot make the document store", rc);
    if (st) {
        wr_docstore_writer_abort(w);
        return st;
    }
    *writer = w;
    return WR_OK;
}

static unsigned char *put_text(unsigned char *p, const char *text, size_t n)
{
    if (n) memcpy(p, text, n);
    p[n] = 0;
    return p + n + 1;
}

/* Room for `bytes` in w->record. */
static wr_status reserve(wr_docstore_writer *w, size_t bytes, wr_err *err)
{
    if (bytes <= w->cap) return WR_OK;
    unsigned char *record = realloc(w->record, 2 * bytes);
    if (!record) return wr_fail(err, WR_ENOMEM, "%s: out of memory", w->path);
    w->record = record;
    w->cap = 2 * bytes;
    return WR_OK;
}

/* Lays doc out in w->record; its length goes to *bytes. */
static wr_status record_fill(wr_docstore_writer *w, const wr_doc *doc, size_t *bytes, wr_err *err)
{
    const size_t len[4] = {doc->docno_len, doc->title_len, doc->text_len, doc->metadata_len};
    size_t total = RECORD_HEADER + 4;
    for (int i = 0; i < 4; i++) {
        if (len[i] > RECORD_MAX || (total += len[i]) > RECORD_MAX)
            return wr_fail(err, WR_EFORMAT, "document %.*s: longer than %zu bytes", (int)doc->docno_len, doc->docno,
                           RECORD_MAX);
    }
    wr_status st = reserve(w, total, err);
    if (st) return st;
    unsigned char *p = w->record;
    for (int i = 0; i < 4; i++, p += 4) memcpy(p, &(uint32_t){(uint32_t)len[i]}, 4);
    p = put_text(p, doc->docno, len[0]);
    p = put_text(p, doc->title, len[1]);
    p = put_text(p, doc->text, len[2]);
    put_text(p, doc->metadata, len[3]);
    *bytes = total;
    return WR_OK;
}

wr_status wr_docstore_writer_add(wr_docstore_writer *w, const wr_doc *doc, wr_err *err)
{
    if (w->count == UINT32_MAX) return wr_fail(err, WR_EFULL, "%s: more than %u documents", w->path, UINT32_MAX);
    wr_status st = wr_docnos_add(w->docnos, doc->docno, doc->docno_len, w->count, err);
    if (st) return st;
    size_t bytes = 0;
    if ((st = record_fill(w, doc, &bytes, err))) return st;
    MDB_val key = {sizeof w->count, &w->count}, value = {bytes, w->record};
    int rc = append(w, DOCS, &key, &value);
    if (rc) return fail_lmdb(err, w->path, "cannot add a document", rc);
    w->count++;
    return WR_OK;
}

/* Made with the first document's ids: an index without them looks as before. */
static int make_tokens(wr_docstore_writer *w)
{
    int rc = txn_end(w);
    if (!rc) rc = txn_begin(w, TXN_BYTES);
    if (!rc) rc = mdb_dbi_open(w->txn, "tokens", MDB_CREATE | MDB_INTEGERKEY, &w->table[TOKENS]);
    return rc ? rc : txn_end(w);
}

static size_t ids_fill(unsigned char *p, const wr_tokens *ids)
{
    uint16_t flags = ids->cut ? IDS_CUT : 0;
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] > UINT16_MAX) flags |= IDS_WIDE;
    size_t width = flags & IDS_WIDE ? sizeof(uint32_t) : sizeof(uint16_t);
    memcpy(p, &flags, sizeof flags);
    for (size_t i = 0; i < ids->n; i++) {
        uint16_t narrow = (uint16_t)ids->id[i];
        memcpy(p + IDS_HEADER + i * width, width == sizeof narrow ? (void *)&narrow : (void *)&ids->id[i], width);
    }
    return IDS_HEADER + ids->n * width;
}

wr_status wr_docstore_writer_add_tokens(wr_docstore_writer *w, const wr_tokens *ids, wr_err *err)
{
    if (w->count == 0 || w->ntokens + 1 != w->count)
        return wr_fail(err, WR_EARG, "%s: ids of %u documents and no more for document %u", w->path, w->ntokens, w->count);
    int rc = w->ntokens ? 0 : make_tokens(w);
    if (rc) return fail_lmdb(err, w->path, "cannot make the table of tokens", rc);
    wr_status st = ids->n > RECORD_MAX / sizeof *ids->id
                       ? wr_fail(err, WR_EARG, "%s: %zu tokens of one document", w->path, ids->n)
                       : reserve(w, IDS_HEADER + ids->n * sizeof *ids->id, err);
    if (st) return st;
    uint32_t docid = w->ntokens;
    MDB_val key = {sizeof docid, &docid}, value = {ids_fill(w->record, ids), w->record};
    if ((rc = append(w, TOKENS, &key, &value))) return fail_lmdb(err, w->path, "cannot add tokens", rc);
    w->ntokens++;
    return WR_OK;
}

static wr_status append_names(wr_docstore_writer *w, wr_err *err)
{
    int rc = txn_end(w);
    if (rc) return fail_lmdb(err, w->path, "cannot write", rc);
    for (;;) {
        const char *docno;
        size_t len;
        uint32_t docid;
        wr_status st = wr_docnos_next(w->docnos, &docno, &len, &docid, err);
        if (st || !docno) return st;
        MDB_val key = {len, (void *)(uintptr_t)docno}, value = {sizeof docid, &docid};
        if ((rc = append(w, NAMES, &key, &value))) return fail_lmdb(err, w->path, "cannot add a docno", rc);
    }
}

wr_status wr_docstore_writer_commit(wr_docstore_writer *w, wr_err *err)
{
    wr_status st = WR_OK;
    int rc = 0;
    if (w->ntokens && w->ntokens != w->count)
        st = wr_fail(err, WR_EARG, "%s: token ids of %u documents of %u", w->path, w->ntokens, w->count);
    if (!st) st = append_names(w, err);
    if (!st && !(rc = txn_end(w))) rc = mdb_env_sync(w->env, 1);
    if (rc) st = fail_lmdb(err, w->path, "cannot write", rc);
    if (st) {
        wr_docstore_writer_abort(w);
        return st;
    }
    writer_free(w);
    return WR_OK;
}

/* ---- reading ---- */

void wr_docstore_close(wr_docstore *s)
{
    if (!s) return;
    if (s->env) mdb_env_close(s->env);
    free(s->path);
    free(s);
}

/* The table of ids, where there is one; *entries as many as documents then. */
static int open_tokens(wr_docstore *s, MDB_txn *txn, size_t docs, size_t *entries)
{
    MDB_stat stat;
    *entries = docs;
    int rc = mdb_dbi_open(txn, "tokens", MDB_INTEGERKEY, &s->tokens);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc || (rc = mdb_stat(txn, s->tokens, &stat))) return rc;
    *entries = stat.ms_entries;
    s->token_bytes = stat.ms_psize * (uint64_t)(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
    return 0;
}

static int open_tables(wr_docstore *s, size_t *docs, size_t *names, size_t *tokens)
{
    MDB_txn *txn;
    MDB_stat stat;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc) return rc;
    if ((rc = mdb_dbi_open(txn, "docs", MDB_INTEGERKEY, &s->docs))) goto done;
    if ((rc = mdb_dbi_open(txn, "names", 0, &s->names))) goto done;
    if ((rc = mdb_stat(txn, s->docs, &stat))) goto done;
    *docs = stat.ms_entries;
    if ((rc = mdb_stat(txn, s->names, &stat))) goto done;
    *names = stat.ms_entries;
    rc = open_tokens(s, txn, *docs, tokens);
done:
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* keeps the handles */
}

static int open_env(wr_docstore *s, size_t bytes)
{
    int rc = mdb_env_create(&s->env);
    if (!rc) rc = mdb_env_set_maxdbs(s->env, TABLES);
    if (!rc) rc = mdb_env_set_mapsize(s->env, bytes); /* not the slack that the writer had reserved */
    /* No read-ahead: hits lie anywhere, and a page read for each is enough. */
    if (!rc) rc = mdb_env_open(s->env, s->path, MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR | MDB_NORDAHEAD, FILE_MODE);
    return rc;
}

wr_status wr_docstore_open(wr_docstore **store, const char *path, wr_err *err)
{
    *store = NULL;
    struct stat file;
    if (stat(path, &file)) return wr_fail(err, WR_ENOTFOUND, "%s: no such document store", path);
    if (!S_ISREG(file.st_mode) || file.st_size < 1) return wr_fail(err, WR_EFORMAT, "%s: not a document store", path);
    wr_docstore *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    }
    wr_status st = WR_OK;
    size_t docs = 0, names = 0, tokens = 0;
    int rc = open_env(s, (size_t)file.st_size);
    if (!rc) rc = open_tables(s, &docs, &names, &tokens);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE || rc == MDB_VERSION_MISMATCH || rc == EINVAL)
        st = wr_fail(err, WR_EFORMAT, "%s: not a document store: %s", path, mdb_strerror(rc));
    else if (rc)
        st = fail_lmdb(err, path, "cannot open", rc);
    else if (docs != names || docs > UINT32_MAX)
        st = wr_fail(err, WR_EFORMAT, "%s: %zu documents but %zu names", path, docs, names);
    else if (tokens != docs)
        st = wr_fail(err, WR_EFORMAT, "%s: %zu documents but token ids of %zu", path, docs, tokens);
    if (st) {
        wr_docstore_close(s);
        return st;
    }
    s->count = (uint32_t)docs;
    *store = s;
    return WR_OK;
}

uint32_t wr_docstore_count(const wr_docstore *s)
{
    return s->count;
}

bool wr_docstore_has_tokens(const wr_docstore *s)
{
    return s->token_bytes > 0;
}

uint64_t wr_docstore_token_bytes(const wr_docstore *s)
{
    return s->token_bytes;
}

/* One transaction for the reader's whole life: the file never changes, so there is nothing to renew it for. */
wr_status wr_docreader_open(wr_docreader **reader, const wr_docstore *store, wr_err *err)
{
    *reader = NULL;
    wr_docreader *r = calloc(1, sizeof *r);
    if (!r) return wr_fail(err, WR_ENOMEM, "%s: out of memory", store->path);
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &r->txn);
    if (rc) {
        free(r);
        return fail_lmdb(err, store->path, "cannot begin reading", rc);
    }
    r->store = store;
    *reader = r;
    return WR_OK;
}

void wr_docreader_close(wr_docreader *r)
{
    if (!r) return;
    mdb_txn_abort(r->txn);
    free(r);
}

/* A record's four texts, every length checked against the record's and every text against its NUL. */
static wr_status record_parse(const MDB_val *value, wr_doc *doc)
{
    const unsigned char *bytes = value->mv_data;
    if (value->mv_size < RECORD_HEADER + 4) return WR_EFORMAT;
    const char *text[4];
    size_t len[4], at = RECORD_HEADER;
    for (int i = 0; i < 4; i++) {
        uint32_t n;
        memcpy(&n, bytes + 4 * i, sizeof n);
        if (n >= value->mv_size - at || bytes[at + n]) return WR_EFORMAT;
        text[i] = (const char *)bytes + at;
        len[i] = n;
        at += (size_t)n + 1;
    }
    if (at != value->mv_size || len[0] < 1) return WR_EFORMAT;
    *doc = (wr_doc){.docno = text[0],
                    .docno_len = len[0],
                    .title = text[1],
                    .title_len = len[1],
                    .text = text[2],
                    .text_len = len[2],
                    .metadata = text[3],
                    .metadata_len = len[3]};
    return WR_OK;
}

static wr_status status_of(int rc)
{
    return !rc ? WR_OK : rc == MDB_NOTFOUND ? WR_ENOTFOUND : rc == MDB_CORRUPTED ? WR_EFORMAT : WR_EIO;
}

wr_status wr_docreader_get(wr_docreader *r, uint32_t docid, wr_doc *doc)
{
    MDB_val key = {sizeof docid, &docid}, value;
    memset(doc, 0, sizeof *doc);
    int rc = mdb_get(r->txn, r->store->docs, &key, &value);
    return rc ? status_of(rc) : record_parse(&value, doc);
}

/* The record of a document's ids; its flags and their number are checked. */
static wr_status get_ids(wr_docreader *r, uint32_t docid, MDB_val *value, uint16_t *flags, size_t *n)
{
    MDB_val key = {sizeof docid, &docid};
    if (!r->store->token_bytes) return WR_ENOTFOUND;
    int rc = mdb_get(r->txn, r->store->tokens, &key, value);
    if (rc) return status_of(rc);
    if (value->mv_size < IDS_HEADER) return WR_EFORMAT;
    memcpy(flags, value->mv_data, sizeof *flags);
    size_t width = *flags & IDS_WIDE ? sizeof(uint32_t) : sizeof(uint16_t), bytes = value->mv_size - IDS_HEADER;
    *n = bytes / width;
    return bytes % width || *flags & ~(IDS_CUT | IDS_WIDE) ? WR_EFORMAT : WR_OK;
}

wr_status wr_docreader_ntokens(wr_docreader *r, uint32_t docid, size_t *n)
{
    MDB_val value;
    uint16_t flags;
    *n = 0;
    return get_ids(r, docid, &value, &flags, n);
}

wr_status wr_docreader_tokens(wr_docreader *r, uint32_t docid, size_t max, wr_arena *arena, wr_tokens *out)
{
    MDB_val value;
    uint16_t flags;
    size_t n;
    *out = (wr_tokens){0};
    wr_status st = get_ids(r, docid, &value, &flags, &n);
    if (st) return st;
    if (flags & IDS_CUT && n < max) return WR_ENOTFOUND;
    size_t kept = n < max ? n : max;
    uint32_t *id = wr_arena_alloc(arena, (kept + 1) * sizeof *id);
    if (!id) return WR_ENOMEM;
    const unsigned char *from = (const unsigned char *)value.mv_data + IDS_HEADER;
    for (size_t i = 0; i < kept && !(flags & IDS_WIDE); i++) {
        uint16_t narrow;
        memcpy(&narrow, from + i * sizeof narrow, sizeof narrow);
        id[i] = narrow;
    }
    if (flags & IDS_WIDE) memcpy(id, from, kept * sizeof *id);
    *out = (wr_tokens){id, kept, flags & IDS_CUT || n > max};
    return WR_OK;
}

wr_status wr_docreader_find(wr_docreader *r, const char *docno, size_t len, uint32_t *docid)
{
    if (len < 1 || len > WR_MAX_DOCNO) return WR_ENOTFOUND;
    MDB_val key = {len, (void *)(uintptr_t)docno}, value;
    int rc = mdb_get(r->txn, r->store->names, &key, &value);
    if (rc) return status_of(rc);
    if (value.mv_size != sizeof *docid) return WR_EFORMAT;
    memcpy(docid, value.mv_data, sizeof *docid);
    return *docid < r->store->count ? WR_OK : WR_EFORMAT;
}

wr_status wr_docstore_verify(const wr_docstore *s, wr_err *err)
{
    wr_docreader *r;
    wr_status st = wr_docreader_open(&r, s, err);
    if (st) return st;
    /* As many names as documents, and each document is found by its own: then the names are exactly these. */
    for (uint32_t docid = 0; docid < s->count && !st; docid++) {
        wr_doc doc;
        uint32_t back;
        size_t n;
        if (wr_docreader_get(r, docid, &doc))
            st = wr_fail(err, WR_EFORMAT, "%s: the record of document %u is damaged", s->path, docid);
        else if (wr_docreader_find(r, doc.docno, doc.docno_len, &back) || back != docid)
            st = wr_fail(err, WR_EFORMAT, "%s: document %u is not found by its id", s->path, docid);
        else if (s->token_bytes && wr_docreader_ntokens(r, docid, &n))
            st = wr_fail(err, WR_EFORMAT, "%s: the token ids of document %u are damaged", s->path, docid);
    }
    wr_docreader_close(r);
    return st;
}
