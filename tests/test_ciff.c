/* CIFF: documents come out as they went in, whatever the windows; damage is refused. Files are written here by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/bytes.h"
#include "data/ciff.h"
#include "data/mapfile.h"
#include "tests/testlib.h"

#define NDOCS 60
#define NTERMS 9

static const char *const terms[NTERMS] = {"##s", "alpha", "beta", "caf\xc3\xa9", "delta", "eta", "the", "weir", "zeta"};

/* The impact of a term in a document, 0 where it does not occur; document 0 has none at all. */
static unsigned impact(size_t d, size_t t)
{
    return d == 0 || (d * 7 + t * 3) % 4 == 0 ? 0 : (unsigned)((d * 31 + t * 17) % 300 + 1);
}

/* ---- writing ---- */

static void varint(wr_bytes *to, uint64_t n)
{
    for (; n > 127; n >>= 7) wr_bytes_add_char(to, (char)(n | 128));
    wr_bytes_add_char(to, (char)n);
}

static void number(wr_bytes *to, unsigned field, uint64_t n)
{
    if (n == 0) return; /* as proto3 writes it */
    varint(to, field << 3);
    varint(to, n);
}

static void text(wr_bytes *to, unsigned field, const char *s, size_t n)
{
    varint(to, field << 3 | 2);
    varint(to, n);
    wr_bytes_add(to, s, n);
}

static void message(wr_bytes *to, wr_bytes *from)
{
    varint(to, from->n);
    wr_bytes_add(to, from->at, from->n);
    wr_bytes_clear(from);
}

static void add_list(wr_bytes *file, size_t t)
{
    wr_bytes list = {0}, posting = {0};
    size_t last = 0, df = 0;
    for (size_t d = 0; d < NDOCS; d++) df += impact(d, t) > 0;
    text(&list, 1, terms[t], strlen(terms[t]));
    number(&list, 2, df);
    number(&list, 3, df * 2);
    for (size_t d = 0; d < NDOCS; d++) {
        if (!impact(d, t)) continue;
        wr_bytes_clear(&posting);
        wr_bytes_reserve(&posting, 0);
        number(&posting, 1, d - last);
        number(&posting, 2, impact(d, t));
        text(&list, 4, posting.at, posting.n);
        last = d;
    }
    message(file, &list);
    wr_bytes_release(&list);
    wr_bytes_release(&posting);
}

/* The whole file; owned by the caller. */
static wr_bytes make(size_t nlists, size_t ndocs, size_t records)
{
    wr_bytes file = {0}, part = {0};
    number(&part, 1, 1);
    number(&part, 2, nlists);
    number(&part, 3, ndocs);
    number(&part, 6, 1234567);
    varint(&part, 7 << 3 | 1); /* a double */
    wr_bytes_add(&part, "12345678", 8);
    text(&part, 8, "made by hand", 12);
    message(&file, &part);
    for (size_t t = 0; t < NTERMS; t++) add_list(&file, t);
    for (size_t d = 0; d < records; d++) {
        char docno[16];
        int n = snprintf(docno, sizeof docno, "doc-%zu", d);
        number(&part, 1, d);
        text(&part, 2, docno, (size_t)n);
        number(&part, 3, 10);
        message(&file, &part);
    }
    wr_bytes_release(&part);
    return file;
}

/* ---- reading ---- */

static void check_all(const char *path, uint64_t window)
{
    wr_ciff *ciff;
    wr_doc doc;
    wr_err err = {0};
    char docno[16];
    cr_assert_eq(wr_ciff_open(&ciff, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_ciff_ndocs(ciff), NDOCS);
    if (window) wr_ciff_set_window(ciff, window);
    for (size_t d = 0; d < NDOCS; d++) {
        size_t n = 0;
        cr_assert_eq(wr_ciff_next(ciff, &doc, &err), WR_OK, "%s", err.text);
        snprintf(docno, sizeof docno, "doc-%zu", d);
        cr_assert_str_eq(doc.docno, docno);
        for (size_t t = 0; t < NTERMS; t++) {
            if (!impact(d, t)) continue;
            cr_assert_str_eq(doc.token[n], terms[t]);
            cr_assert_eq(doc.weight[n++], (float)impact(d, t));
        }
        cr_assert_eq(doc.ntokens, n);
    }
    cr_assert_eq(wr_ciff_next(ciff, &doc, &err), WR_OK, "%s", err.text);
    cr_assert_null(doc.docno);
    wr_ciff_close(ciff);
}

Test(ciff, documents_come_out_as_they_went_in)
{
    wr_bytes file = make(NTERMS, NDOCS, NDOCS);
    const char *path = wr_test_file("index.ciff", file.at, file.n);
    check_all(path, 0);
    check_all(path, 1);
    check_all(path, 25);
    wr_bytes_release(&file);
}

Test(ciff, a_gzip_file_is_read_as_it_is)
{
    wr_bytes file = make(NTERMS, NDOCS, NDOCS);
    const char *path = wr_test_path("index.ciff.gz");
    gzFile f = gzopen(path, "wb");
    cr_assert_eq(gzwrite(f, file.at, (unsigned)file.n), (int)file.n);
    cr_assert_eq(gzclose(f), Z_OK);
    check_all(path, 0);
    check_all(path, 40);
    wr_bytes_release(&file);
}

Test(ciff, the_format_is_told_by_the_first_bytes)
{
    wr_bytes file = make(NTERMS, NDOCS, NDOCS);
    wr_corpus *corpus;
    wr_err err = {0};
    const char *path = wr_test_file("index", file.at, file.n);
    cr_assert(wr_ciff_is(path));
    cr_assert_eq(wr_corpus_open(&corpus, path, WR_CORPUS_AUTO, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_corpus_format_of(corpus), WR_CORPUS_CIFF);
    wr_corpus_close(corpus);
    cr_assert_not(wr_ciff_is(wr_test_text("lines", "{\"id\":\"a\",\"text\":\"b\"}\n")));
    cr_assert_not(wr_ciff_is(wr_test_text("empty", "")));
    cr_assert_not(wr_ciff_is(wr_test_path("nowhere")));
    wr_bytes_release(&file);
}

/* Reads to the end or to the first failure, whose sentence holds `want`. */
static void refused(const char *path, const char *want)
{
    wr_ciff *ciff;
    wr_doc doc;
    wr_err err = {0};
    wr_status st = wr_ciff_open(&ciff, path, &err);
    cr_assert((st != WR_OK) == (ciff == NULL));
    while (!st && !(st = wr_ciff_next(ciff, &doc, &err)) && doc.docno) continue;
    wr_ciff_close(ciff);
    cr_assert_eq(st, WR_EFORMAT, "%s", err.text);
    cr_assert(strstr(err.text, want), "\"%s\" does not hold \"%s\"", err.text, want);
}

static void refused_file(wr_bytes file, const char *want)
{
    refused(wr_test_file("bad", file.at, file.n), want);
    wr_bytes_release(&file);
}

Test(ciff, what_contradicts_itself_is_refused)
{
    wr_bytes longer = make(NTERMS, NDOCS, NDOCS);
    wr_bytes_add_char(&longer, 0);
    refused_file(longer, "behind the last document");
    refused_file(make(NTERMS, NDOCS, NDOCS - 1), "the file ends");
    refused_file(make(NTERMS, 20, NDOCS), "a document that there is not");
    refused_file(make(NTERMS, 1u << 30, NDOCS), "has room for");
    refused_file(make(1u << 30, NDOCS, NDOCS), "has room for");
    refused(wr_test_text("text", "this is a text and no header of anything"), "byte");
    refused(wr_test_text("nothing", ""), "the file ends");
}

Test(ciff, every_truncation_is_refused)
{
    wr_bytes file = make(NTERMS, NDOCS, NDOCS);
    for (size_t n = 0; n < file.n; n += 7) refused(wr_test_file("cut", file.at, n), "byte");
    wr_bytes_release(&file);
}

/* A flip may leave another index that is whole; it must not do harm (sanitizers look on). */
Test(ciff, flipped_bits_do_no_harm)
{
    wr_bytes file = make(NTERMS, NDOCS, NDOCS);
    wr_test_random random = {5};
    for (size_t i = 0; i < 1000; i++) {
        wr_ciff *ciff;
        wr_doc doc;
        wr_err err = {0};
        size_t at = wr_test_below(&random, file.n);
        char old = file.at[at];
        file.at[at] = (char)(old ^ 1 << wr_test_below(&random, 8));
        wr_status st = wr_ciff_open(&ciff, wr_test_file("flipped", file.at, file.n), &err);
        while (!st && !(st = wr_ciff_next(ciff, &doc, &err)) && doc.docno) continue;
        cr_assert(!st || err.text[0]);
        wr_ciff_close(ciff);
        file.at[at] = old;
    }
    wr_bytes_release(&file);
}
