#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/corpus.h"
#include "data/mapfile.h"
#include "data/utf8.h"
#include "tests/testlib.h"

static wr_corpus *open_corpus(const char *path, wr_corpus_format format)
{
    wr_corpus *corpus;
    wr_err err = {0};
    cr_assert_eq(wr_corpus_open(&corpus, path, format, &err), WR_OK, "%s", err.text);
    return corpus;
}

/* Expects this document next; docno NULL expects the end. */
static void expect(wr_corpus *corpus, const char *docno, const char *title, const char *text, const char *metadata)
{
    wr_doc doc;
    wr_err err = {0};
    cr_assert_eq(wr_corpus_next(corpus, &doc, &err), WR_OK, "%s", err.text);
    if (!docno) {
        cr_assert_null(doc.docno);
        return;
    }
    cr_assert_not_null(doc.docno, "the end came before %s", docno);
    cr_assert_str_eq(doc.docno, docno);
    cr_assert_str_eq(doc.title, title);
    cr_assert_str_eq(doc.text, text);
    cr_assert_str_eq(doc.metadata, metadata);
    cr_assert_eq(doc.docno_len, strlen(docno));
    cr_assert_eq(doc.title_len, strlen(title));
    cr_assert_eq(doc.text_len, strlen(text));
    cr_assert_eq(doc.metadata_len, strlen(metadata));
}

/* Reads until the first failure, whose sentence must end with `want`. */
static void refuse(const char *text, wr_corpus_format format, wr_status code, const char *want)
{
    wr_corpus *corpus;
    wr_doc doc;
    wr_err err = {0};
    wr_status st = wr_corpus_open(&corpus, wr_test_text("bad", text), format, &err);
    cr_assert((st != WR_OK) == (corpus == NULL));
    while (!st && !(st = wr_corpus_next(corpus, &doc, &err)) && doc.docno) continue;
    wr_corpus_close(corpus);
    cr_assert_eq(st, code, "%s: %s", text, err.text);
    size_t n = strlen(err.text), m = strlen(want);
    cr_assert(n >= m && strcmp(err.text + n - m, want) == 0, "%s: \"%s\" does not end with \"%s\"", text, err.text,
              want);
}

Test(corpus, jsonl_takes_several_names_of_its_fields)
{
    wr_corpus *corpus = open_corpus(wr_test_text("a.jsonl", "{\"_id\":\"a\",\"title\":\"T\",\"text\":\"x y\"}\n"
                                                            "\n  \n"
                                                            "{\"id\":12,\"contents\":\"c\"}\n"
                                                            "{\"docno\":\"d\",\"body\":\"\"}\n"
                                                            "{\"_id\":-3,\"title\":\"only\",\"text\":null}"),
                                    WR_CORPUS_AUTO);
    expect(corpus, "a", "T", "x y", "");
    expect(corpus, "12", "", "c", "");
    expect(corpus, "d", "", "", "");
    expect(corpus, "-3", "only", "", "{\"text\":null}");
    expect(corpus, NULL, NULL, NULL, NULL);
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
}

Test(corpus, documents_may_bring_vectors)
{
    wr_doc doc;
    wr_err err = {0};
    wr_corpus *corpus = open_corpus(wr_test_text("v.jsonl", "{\"id\":\"a\",\"contents\":\"c\",\"vector\":{\"b\":2,\"a\":"
                                                            "0.5,\"none\":0},\"url\":\"u\"}\n"
                                                            "{\"id\":\"b\",\"vector\":{}}\n"),
                                    WR_CORPUS_AUTO);
    cr_assert_eq(wr_corpus_format_of(corpus), WR_CORPUS_VECTORS);
    cr_assert_eq(wr_corpus_next(corpus, &doc, &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(doc.text, "c");
    cr_assert_str_eq(doc.metadata, "{\"url\":\"u\"}");
    cr_assert_eq(doc.ntokens, 2);
    cr_assert_str_eq(doc.token[0], "b");
    cr_assert_eq(doc.weight[0], 2);
    cr_assert_str_eq(doc.token[1], "a");
    cr_assert_eq(doc.weight[1], 0.5f);
    expect(corpus, "b", "", "", "");
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
    refuse("{\"id\":\"a\",\"vector\":{\"b\":-1}}", WR_CORPUS_AUTO, WR_EFORMAT, "is no number from 0");
    refuse("{\"id\":\"a\",\"vector\":{\"b\":\"x\"}}", WR_CORPUS_AUTO, WR_EFORMAT, "is no number from 0");
    refuse("{\"id\":\"a\",\"vector\":{\"b\":1e39}}", WR_CORPUS_AUTO, WR_EFORMAT, "is no number from 0");
    refuse("{\"id\":\"a\",\"vector\":{\"\":1}}", WR_CORPUS_AUTO, WR_EFORMAT, "longer than 1024 bytes");
    refuse("{\"id\":\"a\",\"text\":\"b\"}", WR_CORPUS_VECTORS, WR_EFORMAT, "an object of token weights");
}

Test(corpus, other_fields_become_metadata_with_sorted_keys)
{
    wr_corpus *corpus = open_corpus(
        wr_test_text("a.jsonl", "{\"z\":[1, 2],\"_id\":\"a\",\"text\":\"x\",\"a\":{\"b\":null, \"a\":true},\"id\":7}\n"
                                "{\"_id\":\"b\",\"text\":\"x\",\"metadata\":{}}\n"
                                "{\"_id\":\"c\",\"text\":\"x\",\"metadata\":{\"url\":\"u\",\"k\":1},\"k\":2}\n"
                                "{\"_id\":\"d\",\"text\":\"x\",\"metadata\":\"plain\"}\n"
                                "{\"_id\":\"e\",\"text\":\"x\",\"m\":\"\\u00e9\\u0000\"}\n"),
        WR_CORPUS_JSONL);
    expect(corpus, "a", "", "x", "{\"a\":{\"a\":true,\"b\":null},\"id\":7,\"z\":[1,2]}");
    expect(corpus, "b", "", "x", "");
    expect(corpus, "c", "", "x", "{\"k\":2,\"url\":\"u\"}");
    expect(corpus, "d", "", "x", "{\"metadata\":\"plain\"}");
    expect(corpus, "e", "", "x", "{\"m\":\"\xc3\xa9\\u0000\"}");
    wr_corpus_close(corpus);
}

Test(corpus, a_text_may_hold_a_nul)
{
    wr_doc doc;
    wr_corpus *corpus = open_corpus(wr_test_text("a.jsonl", "{\"_id\":\"a\",\"text\":\"x\\u0000y\"}"), WR_CORPUS_AUTO);
    cr_assert_eq(wr_corpus_next(corpus, &doc, NULL), WR_OK);
    cr_assert_eq(doc.text_len, 3u);
    cr_assert_arr_eq(doc.text, "x\0y", 4);
    wr_corpus_close(corpus);
}

Test(corpus, a_malformed_jsonl_line_is_refused_with_its_number)
{
    refuse("{\"_id\":\"a\",\"text\":\"x\"}\n{\"_id\":\"b\"", WR_CORPUS_JSONL, WR_EFORMAT,
           "'}' expected near end of file");
    refuse("{\"_id\":\"a\",\"text\":\"x\"}\n\n[1]\n", WR_CORPUS_JSONL, WR_EFORMAT, "line 3: expected a JSON object");
    refuse("{\"text\":\"x\"}\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 1: no \"_id\", \"id\" or \"docno\"");
    refuse("{\"_id\":1.5,\"text\":\"x\"}\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: the document's id is neither a string nor an integer");
    refuse("{\"_id\":\"\",\"text\":\"x\"}\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 1: the document's id is empty");
    refuse("{\"_id\":\"a\",\"text\":5}\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 1: \"text\" is not a string");
    refuse("{\"_id\":\"a\",\"title\":[],\"text\":\"\"}\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: \"title\" is not a string");
    refuse("{\"_id\":\"a\",\"url\":\"u\"}\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: no \"text\", \"contents\", \"body\" or \"title\"");
    refuse("{\"_id\":\"a\",\"_id\":\"b\",\"text\":\"x\"}\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "duplicate object key near '\"_id\"'");
    refuse("{\"_id\":\"a\",\"text\":\"\xff\"}\n", WR_CORPUS_AUTO, WR_EFORMAT, "unable to decode byte 0xff near '\"'");
}

Test(corpus, an_id_that_a_run_file_could_not_hold_is_refused)
{
    static const char *const bad[] = {"a b",       "\\t",     "a\\n",    "\\u0001", "\\u007f",
                                      "a\\u00a0b", "\\u2028", "\\u3000", "\\u0085"};
    char line[700];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "{\"_id\":\"%s\",\"text\":\"x\"}", bad[i]);
        refuse(line, WR_CORPUS_AUTO, WR_EFORMAT, "holds white space or a control character");
    }
    refuse("{\"_id\":\"a\\u0000b\",\"text\":\"x\"}", WR_CORPUS_AUTO, WR_EFORMAT,
           "holds white space or a control character");
    snprintf(line, sizeof line, "{\"_id\":\"%0500d\",\"text\":\"x\"}", 7);
    wr_corpus *corpus = open_corpus(wr_test_text("long", line), WR_CORPUS_AUTO);
    wr_doc doc;
    cr_assert_eq(wr_corpus_next(corpus, &doc, NULL), WR_OK);
    cr_assert_eq(doc.docno_len, 500u);
    wr_corpus_close(corpus);
    snprintf(line, sizeof line, "{\"_id\":\"%0501d\",\"text\":\"x\"}", 7);
    refuse(line, WR_CORPUS_AUTO, WR_EFORMAT, "line 1: the document's id of 501 bytes, at most 500");
}

Test(corpus, msmarco_has_two_columns_or_four)
{
    wr_corpus *corpus =
        open_corpus(wr_test_text("a.tsv", "0\tThe first passage.\n1\tbad \xff\xe2\x82 bytes\n2\t\n"), WR_CORPUS_AUTO);
    expect(corpus, "0", "", "The first passage.", "");
    expect(corpus, "1", "", "bad \xef\xbf\xbd\xef\xbf\xbd bytes", "");
    expect(corpus, "2", "", "", "");
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
    corpus = open_corpus(wr_test_text("b.tsv", "D1\thttp://x/\"q\"\tTitle\tBody text\r\nD2\t\t\t\n"), WR_CORPUS_AUTO);
    expect(corpus, "D1", "Title", "Body text", "{\"url\":\"http://x/\\\"q\\\"\"}");
    expect(corpus, "D2", "", "", "");
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
}

Test(corpus, a_tsv_line_with_other_columns_is_refused)
{
    refuse("0\tx\n1\ty\tz\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 2: 3 tab-separated columns, expected 2 (id, text) or 4 (id, url, title, body)");
    refuse("a\tb\tc\td\ne\tf\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 2: 2 tab-separated columns, expected 4 (id, url, title, body)");
    refuse("plain\n", WR_CORPUS_MSMARCO, WR_EFORMAT,
           "line 1: 1 tab-separated columns, expected 2 (id, text) or 4 (id, url, title, body)");
    refuse("\ttext\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 1: the document's id is empty");
    refuse("a\xff\ttext\n\xff\xff\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 2: 1 tab-separated columns, expected 2 (id, text) or 4 (id, url, title, body)");
}

Test(corpus, trec_documents_span_lines_and_share_them)
{
    wr_corpus *corpus = open_corpus(
        wr_test_text("a.sgml",
                     "<DOC>\n<DOCNO> FT911-1 </DOCNO>\n<DATE>1991\n<HEADLINE>\nFT 14 MAY 91 / A &amp; B\n</HEADLINE>\n"
                     "<TEXT>\nOne <b>bold</b> word,\n  two&nbsp;lines.\n<P>x &lt; y\n</TEXT>\n</DOC>\n"
                     "<doc><docno>2</docno><Title>low</title><text>case</text></doc><doc id=\"q\"><docno>3</docno>"
                     "<TEXT>a</TEXT><TEXT>b</TEXT></doc>\ntail is ignored\n"),
        WR_CORPUS_AUTO);
    expect(corpus, "FT911-1", "FT 14 MAY 91 / A & B", "One bold word, two lines. x < y", "");
    expect(corpus, "2", "low", "case", "");
    expect(corpus, "3", "", "a b", "");
    expect(corpus, NULL, NULL, NULL, NULL);
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
}

Test(corpus, a_trec_document_without_text_elements_gives_all_it_holds)
{
    wr_corpus *corpus = open_corpus(
        wr_test_text("a.sgml",
                     "<DOC>\n<DOCNO>G1</DOCNO>\n<DOCHDR>\nhttp://x\n</DOCHDR>\n<html><head><title>Page</title>\n"
                     "<script>var a = 1 < 2;</script></head><body><!-- not <this> -->\nHello&#33; &#x263a; &unknown; "
                     "AT&T 1 < 2 <3\n</body></html></DOC>\n"
                     "<DOC><DOCNO>G2</DOCNO><AUTHOR>n.n.</AUTHOR><TEXT></TEXT></DOC>\n"),
        WR_CORPUS_TREC);
    expect(corpus, "G1", "Page", "Hello! \xe2\x98\xba &unknown; AT&T 1 < 2 <3", "");
    expect(corpus, "G2", "", "", "");
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
}

Test(corpus, trec_text_of_another_encoding_is_repaired)
{
    wr_corpus *corpus = open_corpus(
        wr_test_text("a", "<DOC><DOCNO>1</DOCNO><TEXT>caf\xe9 &eacute;&Eacute;&#0;&#xd800;&#99999999;</TEXT></DOC>"),
        WR_CORPUS_AUTO);
    expect(corpus, "1", "", "caf\xef\xbf\xbd \xc3\xa9\xc3\x89\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "");
    wr_corpus_close(corpus);
}

Test(corpus, a_broken_trec_document_is_refused_with_the_line)
{
    refuse("<DOC>\n<DOCNO>1</DOCNO>\n<TEXT>x\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: the document that began here is not closed by </DOC>");
    refuse("<DOC>\n<DOCNO>1</DOCNO>\n<DOC>\n</DOC>\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 3: <DOC> inside the document that began in line 1");
    refuse("<DOC>\n<TEXT>x</TEXT>\n</DOC>\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 3: a document without <DOCNO>");
    refuse("<DOC><DOCNO>a b</DOCNO></DOC>\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "the document's id \"a b\" holds white space or a control character");
    refuse("<html>\n</html>\n", WR_CORPUS_AUTO, WR_EFORMAT, "line 2: the file ends without a <DOC>");
}

/* Half a second; quadratic time would be days. The limit only ends such a run, however slow the machine. */
Test(corpus, hostile_markup_costs_linear_time, .timeout = 600)
{
    size_t n = 2000000;
    char *text = malloc(n + 100), *end;
    static const char *const piece[] = {"<", "<a", "<!--", "&", "&#", "</", "<a b='", "&amp"};
    for (size_t k = 0; k < sizeof piece / sizeof piece[0]; k++) {
        end = stpcpy(text, "<DOC><DOCNO>1</DOCNO><TEXT>");
        while (end < text + n) end = stpcpy(end, piece[k]);
        strcpy(end, "</TEXT></DOC>");
        wr_corpus *corpus = open_corpus(wr_test_text("hostile", text), WR_CORPUS_TREC);
        wr_doc doc;
        cr_assert_eq(wr_corpus_next(corpus, &doc, NULL), WR_OK);
        wr_corpus_close(corpus);
    }
    free(text);
}

Test(corpus, a_beir_folder_holds_a_plain_or_packed_corpus)
{
    wr_corpus *corpus;
    wr_err err;
    cr_assert_eq(wr_dir_make(wr_test_path("beir"), NULL), WR_OK);
    cr_assert_eq(wr_corpus_open(&corpus, wr_test_path("beir"), WR_CORPUS_AUTO, &err), WR_ENOTFOUND);
    cr_assert_null(corpus);
    wr_test_text("beir/corpus.jsonl.gz", "{\"_id\":\"z\",\"text\":\"x\"}"); /* what it is counts, not its name */
    corpus = open_corpus(wr_test_path("beir"), WR_CORPUS_BEIR);
    expect(corpus, "z", "", "x", "");
    wr_corpus_close(corpus);
    wr_test_text("beir/corpus.jsonl", "{\"_id\":\"p\",\"text\":\"x\"}");
    corpus = open_corpus(wr_test_path("beir"), WR_CORPUS_AUTO);
    expect(corpus, "p", "", "x", "");
    wr_corpus_close(corpus);
    cr_assert_eq(wr_corpus_open(&corpus, wr_test_path("beir"), WR_CORPUS_TREC, &err), WR_EFORMAT);
}

Test(corpus, an_empty_file_holds_no_document)
{
    wr_corpus *corpus = open_corpus(wr_test_text("empty", ""), WR_CORPUS_AUTO);
    expect(corpus, NULL, NULL, NULL, NULL);
    wr_corpus_close(corpus);
    wr_err err;
    cr_assert_eq(wr_corpus_open(&corpus, wr_test_path("none"), WR_CORPUS_AUTO, &err), WR_ENOTFOUND);
    wr_corpus_close(NULL);
}

Test(corpus, what_is_no_known_format_is_refused)
{
    refuse("plain words\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: expected a JSON object, a tab-separated record or a TREC document");
    refuse("[{\"_id\":\"a\"}]\n", WR_CORPUS_AUTO, WR_EFORMAT,
           "line 1: expected a JSON object, a tab-separated record or a TREC document");
}

Test(corpus, formats_have_names)
{
    wr_corpus_format format;
    wr_err err;
    static const char *const name[] = {"auto", "beir", "jsonl", "msmarco", "trec", "vectors", "ciff"};
    for (size_t i = 0; i < 7; i++) {
        cr_assert_eq(wr_corpus_format_parse(name[i], &format, &err), WR_OK);
        cr_assert_str_eq(wr_corpus_format_name(format), name[i]);
    }
    cr_assert_eq(wr_corpus_format_parse("JSON", &format, &err), WR_EARG);
}

static void hash_of(const char *path, wr_corpus_format format, char hex[65])
{
    wr_doc doc;
    wr_corpus *corpus = open_corpus(path, format);
    do cr_assert_eq(wr_corpus_next(corpus, &doc, NULL), WR_OK);
    while (doc.docno);
    uint64_t read, total;
    wr_corpus_progress(corpus, &read, &total);
    cr_assert_eq(read, total);
    wr_corpus_sha256(corpus, hex);
    wr_corpus_close(corpus);
}

Test(corpus, the_same_documents_have_the_same_hash_in_any_format)
{
    char a[65], b[65], c[65], d[65];
    hash_of(wr_test_text("a", "1\tone word\n2\ttwo words\n"), WR_CORPUS_AUTO, a);
    hash_of(wr_test_text("b", "{\"_id\":1,\"text\":\"one word\"}\n{\"text\":\"two words\",\"id\":\"2\"}\n"),
            WR_CORPUS_AUTO, b);
    hash_of(wr_test_text(
                "c",
                "<DOC><DOCNO>1</DOCNO><TEXT>one\nword</TEXT></DOC>\n<DOC><DOCNO>2</DOCNO><TEXT>two words</TEXT></DOC>"),
            WR_CORPUS_AUTO, c);
    hash_of(wr_test_text("d", "1\tone\n2\tword two words\n"), WR_CORPUS_AUTO, d);
    cr_assert_str_eq(a, b);
    cr_assert_str_eq(a, c);
    cr_assert_str_neq(a, d);
    cr_assert_eq(strlen(a), 64u);
}

Test(corpus, the_shared_collections_are_read_whole)
{
    static const struct {
        const char *name;
        size_t docs;
    } shared[] = {{"cacm", 3204},     {"cranfield", 1398}, {"med", 1033},
                  {"nfcorpus", 3633}, {"npl", 11429},      {"dl19", 31249}};
    wr_test_shared_or_skip("collections");
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "collections/%s", shared[i].name);
        wr_corpus *corpus = open_corpus(wr_test_shared_or_skip(name), WR_CORPUS_AUTO);
        wr_doc doc;
        wr_err err = {0};
        size_t n = 0;
        for (; !wr_corpus_next(corpus, &doc, &err) && doc.docno; n++) {
            cr_assert(wr_utf8_valid(doc.text, doc.text_len) && wr_utf8_valid(doc.title, doc.title_len));
            cr_assert_eq(strlen(doc.docno), doc.docno_len);
        }
        cr_assert_eq(n, shared[i].docs, "%s: %zu documents: %s", name, n, err.text);
        wr_corpus_close(corpus);
    }
}
