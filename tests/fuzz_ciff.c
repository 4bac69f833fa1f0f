/* A CIFF file of any bytes: refused with a sentence, or documents that keep the promises of data/corpus.h, the same ones in
 * windows of one posting. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/ciff.h"
#include "data/utf8.h"
#include "tests/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check(const wr_doc *doc)
{
    if (doc->docno_len == 0 || doc->docno_len > WR_MAX_DOCNO) abort();
    for (size_t i = 0; i < doc->ntokens; i++) {
        size_t length = strlen(doc->token[i]);
        if (length == 0 || length > WR_MAX_TOKEN_BYTES || !wr_utf8_valid(doc->token[i], length)) abort();
        if (!(doc->weight[i] > 0)) abort();
    }
}

/* Documents and postings that came before the end or the first failure. */
static uint64_t read_all(const char *path, uint64_t window)
{
    wr_ciff *ciff;
    wr_doc doc;
    wr_err err = {0};
    uint64_t seen = 0;
    wr_status st = wr_ciff_open(&ciff, path, &err);
    if (!st) {
        if (window) wr_ciff_set_window(ciff, window);
        while (!(st = wr_ciff_next(ciff, &doc, &err)) && doc.docno) {
            check(&doc);
            seen += 1 + doc.ntokens * 1000003;
        }
        wr_ciff_close(ciff);
    }
    if (st && (!err.text[0] || !wr_utf8_valid(err.text, strlen(err.text)))) abort();
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *path = fuzz_file(bytes, n);
    uint64_t seen = read_all(path, 0);
    if (seen % 1000003 <= 64 && read_all(path, 1) != seen) abort(); /* a pass for each document: not for many */
    wr_ciff_is(path);
    return 0;
}
