/* The first byte picks topics, judgments, a run or exclusions, the rest is the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/trec.h"
#include "data/utf8.h"
#include "tests/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static wr_status topics(const char *path, wr_err *err)
{
    wr_topics t;
    wr_status st = wr_topics_read(&t, path, err);
    for (size_t i = 0; i < t.n; i++)
        if (!t.topic[i].qid[0] || !wr_utf8_valid(t.topic[i].text, t.topic[i].text_len)) abort();
    wr_topics_release(&t);
    return st;
}

static wr_status qrels(const char *path, bool exclude, wr_err *err)
{
    wr_qrels q;
    wr_status st = exclude ? wr_exclude_read(&q, path, err) : wr_qrels_read(&q, path, err);
    for (size_t i = 0; i < q.n; i++) {
        if (wr_qrels_find(&q, q.topic[i].qid) != &q.topic[i]) abort();
        for (size_t k = 0; k < q.topic[i].n; k++) {
            long rel;
            if (!wr_qrels_rel(&q.topic[i], q.topic[i].qrel[k].docno, &rel) || rel != q.topic[i].qrel[k].rel) abort();
        }
    }
    wr_qrels_release(&q);
    return st;
}

static wr_status run(const char *path, wr_err *err)
{
    wr_run r;
    wr_status st = wr_run_read(&r, path, err);
    for (size_t i = 0; i < r.n; i++) {
        if (wr_run_find(&r, r.topic[i].qid) != &r.topic[i]) abort();
        for (size_t k = 1; k < r.topic[i].n; k++)
            if (r.topic[i].doc[k - 1].score < r.topic[i].doc[k].score) abort();
    }
    wr_run_release(&r);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    wr_err err = {0};
    if (n == 0) return 0;
    const char *path = fuzz_file(bytes + 1, n - 1);
    wr_status st = bytes[0] % 4 == 0   ? topics(path, &err)
                   : bytes[0] % 4 == 1 ? qrels(path, false, &err)
                   : bytes[0] % 4 == 2 ? run(path, &err)
                                       : qrels(path, true, &err);
    if (st && (!err.text[0] || !wr_utf8_valid(err.text, strlen(err.text)))) abort();
    return 0;
}
