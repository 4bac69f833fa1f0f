/* The first byte picks the format, the rest is the file. Documents that come out keep the promises of data/corpus.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/corpus.h"
#include "data/json.h"
#include "data/utf8.h"
#include "tests/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const wr_doc *doc)
{
    if (doc->docno_len == 0 || doc->docno_len > WR_MAX_DOCNO || strlen(doc->docno) != doc->docno_len) abort();
    if (!wr_utf8_valid(doc->docno, doc->docno_len) || strpbrk(doc->docno, " \t\r\n\f\v")) abort();
    if (!wr_utf8_valid(doc->title, doc->title_len) || doc->title[doc->title_len]) abort();
    if (!wr_utf8_valid(doc->text, doc->text_len) || doc->text[doc->text_len]) abort();
    if (strlen(doc->metadata) != doc->metadata_len) abort();
    if (!doc->metadata_len) return;
    json_t *object;
    if (wr_json_parse(&object, doc->metadata, doc->metadata_len, "metadata", NULL) || !json_is_object(object)) abort();
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const wr_corpus_format format[] = {WR_CORPUS_AUTO, WR_CORPUS_JSONL, WR_CORPUS_MSMARCO, WR_CORPUS_TREC};
    wr_corpus *corpus;
    wr_err err = {0};
    wr_doc doc;
    char hex[65];
    if (n == 0) return 0;
    wr_status st = wr_corpus_open(&corpus, fuzz_file(bytes + 1, n - 1), format[bytes[0] % 4], &err);
    if (!st) {
        while (!(st = wr_corpus_next(corpus, &doc, &err)) && doc.docno) check(&doc);
        wr_corpus_sha256(corpus, hex);
        wr_corpus_close(corpus);
    }
    if (st && (!err.text[0] || !wr_utf8_valid(err.text, strlen(err.text)))) abort();
    return 0;
}
