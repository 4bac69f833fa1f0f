/* Topics, judgments and runs: the files of an evaluation, read exactly as trec_eval and BEIR's users expect.
 *
 * Everything is read into memory (judgments and runs are small beside a corpus) and owned by the struct.
 * Strings are NUL-terminated and live until _release. Ids are compared as bytes.
 */
#ifndef WR_DATA_TREC_H
#define WR_DATA_TREC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

/* A topic. Topics keep the file's order. Formats: BEIR jsonl {"_id"|"id"|"qid","text"|"query"|"title"}, tsv
 * (qid<TAB>text), TREC SGML (<top><num><title>), told by the first non-space character and line; gzip is read as is. */
typedef struct wr_topic {
    const char *qid;
    const char *text;
    size_t text_len;
    const char **sparse_token; /* [nsparse] or NULL: "sparse" of the topic line, used instead of encoding the text */
    float *sparse_weight;      /* [nsparse] */
    size_t nsparse;
    float *dense; /* [ndense] or NULL: "dense" of the topic line */
    size_t ndense;
} wr_topic;

typedef struct wr_topics {
    wr_topic *topic; /* [n] */
    size_t n;
    void *owner;
} wr_topics;

wr_status wr_topics_read(wr_topics *topics, const char *path, wr_err *err); /* a repeated qid is WR_EFORMAT */
void wr_topics_release(wr_topics *topics);

/* Judgments: TREC "qid 0 docno rel" (any white space; lines that start with '#' are skipped) or BEIR tsv with a header
 * line "query-id<TAB>corpus-id<TAB>score". Sorted by qid, then docno (bytes). rel may be negative. A judgment that is
 * given twice is WR_EFORMAT, as in trec_eval. */
typedef struct wr_qrel {
    const char *docno;
    long rel;
} wr_qrel;

typedef struct wr_qrels_topic {
    const char *qid;
    wr_qrel *qrel; /* [n] by docno ascending */
    size_t n;
} wr_qrels_topic;

typedef struct wr_qrels {
    wr_qrels_topic *topic; /* [n] by qid ascending */
    size_t n;
    void *owner;
} wr_qrels;

wr_status wr_qrels_read(wr_qrels *qrels, const char *path, wr_err *err);
void wr_qrels_release(wr_qrels *qrels);
const wr_qrels_topic *wr_qrels_find(const wr_qrels *qrels, const char *qid); /* NULL when qid has no judgments */
bool wr_qrels_rel(const wr_qrels_topic *topic, const char *docno, long *rel); /* false = not judged; O(log n)  */

/* A run: "qid Q0 docno rank score tag", extra words and the rank ignored, '#' lines skipped. Each topic's documents
 * are in trec_eval's order: score descending (as double, as trec_eval does since it reads comments), equal scores by docno
 * descending. Topics by qid ascending. A score that is no number, and NaN, is refused. A docno that is given twice for one topic is WR_EFORMAT. */
typedef struct wr_run_doc {
    const char *docno;
    double score;
} wr_run_doc;

typedef struct wr_run_topic {
    const char *qid;
    wr_run_doc *doc; /* [n] best first */
    size_t n;
} wr_run_topic;

typedef struct wr_run {
    wr_run_topic *topic; /* [n] by qid ascending */
    size_t n;
    const char *tag; /* of the last line */
    void *owner;
} wr_run;

wr_status wr_run_read(wr_run *run, const char *path, wr_err *err); /* "-" is standard input */
void wr_run_release(wr_run *run);
const wr_run_topic *wr_run_find(const wr_run *run, const char *qid);

/* Pairs to leave out of the ranking of a topic: "qid<TAB>docno" lines; a header line whose first word is "qid",
 * "query-id" or "query" is allowed. rel is 0 everywhere. */
wr_status wr_exclude_read(wr_qrels *exclude, const char *path, wr_err *err);

#endif
