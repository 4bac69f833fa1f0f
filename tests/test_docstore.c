/* The document store and the external sort of docnos beneath it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hash.h"
#include "data/mapfile.h"
#include "indexer/docnos.h"
#include "indexer/docstore.h"
#include "tests/testlib.h"

static wr_doc doc_of(const char *docno, const char *title, const char *text, const char *metadata)
{
    return (wr_doc){.docno = docno,
                    .docno_len = strlen(docno),
                    .title = title,
                    .title_len = strlen(title),
                    .text = text,
                    .text_len = strlen(text),
                    .metadata = metadata,
                    .metadata_len = strlen(metadata)};
}

static void write_store(const char *path, const wr_doc *docs, size_t n)
{
    wr_err err;
    wr_docstore_writer *w;
    cr_assert_eq(wr_docstore_writer_open(&w, path, &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < n; i++) cr_assert_eq(wr_docstore_writer_add(w, &docs[i], &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docstore_writer_commit(w, &err), WR_OK, "%s", err.text);
}

/* n documents of varied lengths, some of them far beyond a page. */
static void write_random(const char *path, size_t n, uint64_t seed)
{
    wr_err err;
    wr_docstore_writer *w;
    wr_test_random random = {seed};
    static char text[70000];
    memset(text, 'x', sizeof text - 1);
    cr_assert_eq(wr_docstore_writer_open(&w, path, &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < n; i++) {
        char docno[48];
        snprintf(docno, sizeof docno, "doc-%016llx-%zu", (unsigned long long)wr_test_u64(&random), i);
        wr_doc doc = doc_of(docno, "a title", "", "{\"n\":1}");
        doc.text = text;
        doc.text_len = wr_test_below(&random, i % 100 == 0 ? sizeof text : 3000);
        cr_assert_eq(wr_docstore_writer_add(w, &doc, &err), WR_OK, "%s", err.text);
    }
    cr_assert_eq(wr_docstore_writer_commit(w, &err), WR_OK, "%s", err.text);
}

Test(docstore, gives_back_what_was_written)
{
    const wr_doc docs[] = {doc_of("b", "Title", "some text", "{\"a\":1}"), doc_of("a", "", "x", ""),
                           doc_of("Ünïcode", "t", "", "")};
    const char *path = wr_test_path("docs.mdb");
    write_store(path, docs, 3);
    wr_err err;
    wr_docstore *s;
    wr_docreader *r;
    cr_assert_eq(wr_docstore_open(&s, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docstore_count(s), 3);
    cr_assert_eq(wr_docreader_open(&r, s, &err), WR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        wr_doc got;
        uint32_t docid = 99;
        cr_assert_eq(wr_docreader_get(r, i, &got), WR_OK);
        cr_assert_str_eq(got.docno, docs[i].docno);
        cr_assert_str_eq(got.title, docs[i].title);
        cr_assert_str_eq(got.text, docs[i].text);
        cr_assert_str_eq(got.metadata, docs[i].metadata);
        cr_assert_eq(got.text_len, docs[i].text_len);
        cr_assert_eq(wr_docreader_find(r, docs[i].docno, docs[i].docno_len, &docid), WR_OK);
        cr_assert_eq(docid, i);
    }
    wr_docreader_close(r);
    wr_docstore_close(s);
}

Test(docstore, what_is_not_there_is_not_found)
{
    const wr_doc docs[] = {doc_of("a", "", "x", "")};
    const char *path = wr_test_path("docs.mdb");
    write_store(path, docs, 1);
    wr_err err;
    wr_docstore *s;
    wr_docreader *r;
    cr_assert_eq(wr_docstore_open(&s, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docreader_open(&r, s, &err), WR_OK);
    wr_doc doc;
    uint32_t docid;
    char longest[WR_MAX_DOCNO + 1];
    memset(longest, 'a', sizeof longest);
    cr_assert_eq(wr_docreader_get(r, 1, &doc), WR_ENOTFOUND);
    cr_assert_eq(wr_docreader_find(r, "b", 1, &docid), WR_ENOTFOUND);
    cr_assert_eq(wr_docreader_find(r, "", 0, &docid), WR_ENOTFOUND);
    cr_assert_eq(wr_docreader_find(r, longest, sizeof longest, &docid), WR_ENOTFOUND);
    wr_docreader_close(r);
    wr_docstore_close(s);
    cr_assert_eq(wr_docstore_open(&s, wr_test_path("none.mdb"), &err), WR_ENOTFOUND);
    cr_assert_null(s);
}

Test(docstore, a_repeated_docno_is_refused_by_name)
{
    wr_err err;
    wr_docstore_writer *w;
    const wr_doc doc = doc_of("twice", "", "x", "");
    cr_assert_eq(wr_docstore_writer_open(&w, wr_test_path("docs.mdb"), &err), WR_OK);
    cr_assert_eq(wr_docstore_writer_add(w, &doc, &err), WR_OK);
    cr_assert_eq(wr_docstore_writer_add(w, &doc, &err), WR_EFORMAT);
    cr_assert_str_eq(err.text, "document twice appears twice: as number 1 and number 2 of the corpus");
    wr_docstore_writer_abort(w);
    cr_assert_not(wr_path_exists(wr_test_path("docs.mdb")));
}

Test(docstore, the_longest_docno_and_a_document_of_megabytes_are_kept)
{
    char docno[WR_MAX_DOCNO + 1];
    memset(docno, 'n', WR_MAX_DOCNO);
    docno[WR_MAX_DOCNO] = 0;
    size_t n = (size_t)40 << 20; /* more than a transaction's share */
    char *text = malloc(n + 1);
    memset(text, 't', n);
    text[n] = 0;
    const wr_doc docs[] = {doc_of("a", "", "x", ""), doc_of(docno, "", text, ""), doc_of("z", "", text, "")};
    const char *path = wr_test_path("docs.mdb");
    write_store(path, docs, 3);
    wr_err err;
    wr_docstore *s;
    wr_docreader *r;
    wr_doc got;
    cr_assert_eq(wr_docstore_open(&s, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docreader_open(&r, s, &err), WR_OK);
    cr_assert_eq(wr_docreader_get(r, 1, &got), WR_OK);
    cr_assert_eq(got.text_len, n);
    cr_assert_eq(memcmp(got.text, text, n), 0);
    cr_assert_eq(wr_docstore_verify(s, &err), WR_OK, "%s", err.text);
    wr_docreader_close(r);
    wr_docstore_close(s);
    free(text);
}

Test(docstore, an_empty_store_opens)
{
    wr_err err;
    wr_docstore *s;
    const char *path = wr_test_path("docs.mdb");
    write_store(path, NULL, 0);
    cr_assert_eq(wr_docstore_open(&s, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docstore_count(s), 0);
    cr_assert_eq(wr_docstore_verify(s, &err), WR_OK);
    wr_docstore_close(s);
}

Test(docstore, the_same_documents_give_the_same_bytes)
{
    wr_err err;
    char a[WR_SHA256_HEX], b[WR_SHA256_HEX];
    write_random(wr_test_path("a.mdb"), 20000, 1);
    write_random(wr_test_path("b.mdb"), 20000, 1);
    cr_assert_eq(wr_sha256_file(wr_test_path("a.mdb"), a, &err), WR_OK);
    cr_assert_eq(wr_sha256_file(wr_test_path("b.mdb"), b, &err), WR_OK);
    cr_assert_str_eq(a, b);
    wr_docstore *s;
    cr_assert_eq(wr_docstore_open(&s, wr_test_path("a.mdb"), &err), WR_OK);
    cr_assert_eq(wr_docstore_count(s), 20000);
    cr_assert_eq(wr_docstore_verify(s, &err), WR_OK, "%s", err.text);
    wr_docstore_close(s);
}

Test(docstore, a_file_that_is_no_store_is_refused)
{
    wr_err err;
    wr_docstore *s;
    char zero[8192] = {0};
    cr_assert_eq(wr_docstore_open(&s, wr_test_file("empty", "", 0), &err), WR_EFORMAT);
    cr_assert_eq(wr_docstore_open(&s, wr_test_file("zero", zero, sizeof zero), &err), WR_EFORMAT);
    cr_assert_eq(wr_docstore_open(&s, wr_test_dir(), &err), WR_EFORMAT);
    cr_assert_null(s);
}

/* ---- docnos ---- */

Test(docnos, come_out_sorted_whatever_the_number_of_runs)
{
    const size_t per_run[] = {1, 7, 100, 0};
    for (size_t p = 0; p < 4; p++) {
        wr_err err;
        wr_docnos *names;
        wr_test_random random = {7};
        size_t n = p == 0 ? 300 : 5000;
        cr_assert_eq(wr_docnos_open(&names, wr_test_path("names"), per_run[p], &err), WR_OK);
        char(*want)[24] = calloc(n, 24);
        for (uint32_t i = 0; i < n; i++) {
            snprintf(want[i], 24, "%llx", (unsigned long long)wr_test_u64(&random));
            cr_assert_eq(wr_docnos_add(names, want[i], strlen(want[i]), i, &err), WR_OK, "%s", err.text);
        }
        char last[32] = "";
        size_t count = 0;
        for (;;) {
            const char *docno;
            size_t len;
            uint32_t docid;
            cr_assert_eq(wr_docnos_next(names, &docno, &len, &docid, &err), WR_OK, "%s", err.text);
            if (!docno) break;
            char now[32];
            snprintf(now, sizeof now, "%.*s", (int)len, docno);
            cr_assert_lt(strcmp(last, now), 0);
            cr_assert_str_eq(now, want[docid]);
            strcpy(last, now);
            count++;
        }
        cr_assert_eq(count, n);
        free(want);
        wr_docnos_close(names);
        cr_assert_not(wr_path_exists(wr_test_path("names.run")));
    }
}

Test(docnos, a_repeat_in_an_earlier_run_is_found_while_merging)
{
    wr_err err;
    wr_docnos *names;
    cr_assert_eq(wr_docnos_open(&names, wr_test_path("names"), 2, &err), WR_OK);
    const char *docno[] = {"q", "a", "z", "b", "a", "c"};
    for (uint32_t i = 0; i < 6; i++) cr_assert_eq(wr_docnos_add(names, docno[i], 1, i, &err), WR_OK);
    wr_status st;
    const char *got;
    do {
        size_t len;
        uint32_t docid;
        st = wr_docnos_next(names, &got, &len, &docid, &err);
    } while (!st && got);
    cr_assert_eq(st, WR_EFORMAT);
    cr_assert_str_eq(err.text, "document a appears twice: as number 2 and number 5 of the corpus");
    wr_docnos_close(names);
}

/* ---- token ids ---- */

static void add_ids(wr_docstore_writer *w, const char *docno, uint32_t first, size_t n, bool cut)
{
    static uint32_t id[5000];
    wr_err err;
    wr_doc doc = doc_of(docno, "", "text", "");
    for (size_t i = 0; i < n; i++) id[i] = first + (uint32_t)i;
    cr_assert_eq(wr_docstore_writer_add(w, &doc, &err), WR_OK, "%s", err.text);
    wr_tokens ids = {id, n, cut};
    cr_assert_eq(wr_docstore_writer_add_tokens(w, &ids, &err), WR_OK, "%s", err.text);
}

Test(docstore, token_ids_come_back_cut_where_asked)
{
    static const struct {
        uint32_t first;
        size_t n;
        bool cut;
    } doc[] = {{100, 80, false}, {0, 0, false}, {65530, 20, false}, {7, 512, true}, {1u << 20, 5000, false}};
    const char *path = wr_test_path("docs.mdb");
    wr_err err;
    wr_docstore_writer *w;
    wr_docstore *s;
    wr_docreader *r;
    wr_arena arena;
    cr_assert_eq(wr_docstore_writer_open(&w, path, &err), WR_OK);
    for (size_t i = 0; i < 5; i++) {
        char docno[8];
        snprintf(docno, sizeof docno, "d%zu", i);
        add_ids(w, docno, doc[i].first, doc[i].n, doc[i].cut);
    }
    cr_assert_eq(wr_docstore_writer_commit(w, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_docstore_open(&s, path, &err), WR_OK, "%s", err.text);
    cr_assert(wr_docstore_has_tokens(s));
    cr_assert_eq(wr_docreader_open(&r, s, &err), WR_OK);
    cr_assert_eq(wr_arena_init(&arena, 1 << 24), WR_OK);
    for (uint32_t i = 0; i < 5; i++) {
        const size_t max[] = {0, 1, 79, 80, 511, 512, 513, 6000};
        size_t n;
        cr_assert_eq(wr_docreader_ntokens(r, i, &n), WR_OK);
        cr_assert_eq(n, doc[i].n);
        for (size_t m = 0; m < 8; m++) {
            wr_tokens got;
            wr_status st = wr_docreader_tokens(r, i, max[m], &arena, &got);
            if (doc[i].cut && max[m] > doc[i].n) { /* the text had more than were kept */
                cr_assert_eq(st, WR_ENOTFOUND);
                continue;
            }
            cr_assert_eq(st, WR_OK);
            cr_assert_eq(got.n, doc[i].n < max[m] ? doc[i].n : max[m]);
            cr_assert_eq(got.cut, doc[i].cut || doc[i].n > max[m]);
            for (size_t t = 0; t < got.n; t++) cr_assert_eq(got.id[t], doc[i].first + t);
        }
    }
    cr_assert_eq(wr_docstore_verify(s, &err), WR_OK, "%s", err.text);
    wr_arena_release(&arena);
    wr_docreader_close(r);
    wr_docstore_close(s);
}

Test(docstore, token_ids_of_some_documents_alone_are_refused)
{
    const char *path = wr_test_path("docs.mdb");
    wr_err err;
    wr_docstore_writer *w;
    wr_doc more = doc_of("b", "", "", "");
    cr_assert_eq(wr_docstore_writer_open(&w, path, &err), WR_OK);
    add_ids(w, "a", 1, 10, false);
    cr_assert_eq(wr_docstore_writer_add(w, &more, &err), WR_OK);
    cr_assert_eq(wr_docstore_writer_commit(w, &err), WR_EARG);
}
