/* Judgments, runs and exclusions of data/trec.h: all are lines of words, read into one table, sorted, then grouped. */
#include "data/trec.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/bytes.h"
#include "data/chunks.h"
#include "data/lines.h"

struct row {
    const char *qid, *docno;
    union {
        double score;
        long rel;
    } value;
    size_t line;
};

struct table {
    wr_lines *lines;
    wr_chunks chunks;
    struct row *row; /* [n] of cap */
    size_t n, cap;
    size_t topics;
};

struct owner {
    wr_chunks chunks;
};

#define MAX_WORDS 6

static wr_status no_memory(const struct table *t, wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "%s: out of memory", wr_lines_path(t->lines));
}

static wr_status fail(const struct table *t, wr_err *err, const char *what)
{
    return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s", wr_lines_path(t->lines), wr_lines_number(t->lines), what);
}

struct word {
    const char *s;
    size_t n;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The words of the line; the count goes on behind MAX_WORDS. */
static size_t split(const char *line, size_t n, struct word word[MAX_WORDS])
{
    size_t count = 0;
    for (size_t i = 0; i < n; count++) {
        while (i < n && is_space(line[i])) i++;
        if (i == n) break;
        size_t begin = i;
        while (i < n && !is_space(line[i])) i++;
        if (count < MAX_WORDS) word[count] = (struct word){line + begin, i - begin};
    }
    return count;
}

/* The next line that is neither blank nor a comment; *count is 0 at the end. */
static wr_status next_words(struct table *t, struct word word[MAX_WORDS], size_t *count, wr_err *err)
{
    for (;;) {
        const char *line;
        size_t n;
        wr_status st = wr_lines_next(t->lines, &line, &n, err);
        *count = 0;
        if (st || !line) return st;
        if (memchr(line, 0, n)) return fail(t, err, "holds a NUL byte");
        *count = split(line, n, word);
        if (*count && word[0].s[0] != '#') return WR_OK;
    }
}

static wr_status add(struct table *t, struct word qid, struct word docno, struct row **out, wr_err *err)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 1024;
        struct row *row = reallocarray(t->row, cap, sizeof *row);
        if (!row) return no_memory(t, err);
        t->row = row;
        t->cap = cap;
    }
    /* Lines of one topic mostly stand together: the id is kept once. */
    const char *last = t->n ? t->row[t->n - 1].qid : NULL;
    bool same = last && strlen(last) == qid.n && memcmp(last, qid.s, qid.n) == 0;
    struct row row = {.qid = same ? last : wr_chunks_strndup(&t->chunks, qid.s, qid.n),
                      .docno = wr_chunks_strndup(&t->chunks, docno.s, docno.n),
                      .line = wr_lines_number(t->lines)};
    if (!row.qid || !row.docno) return no_memory(t, err);
    t->row[t->n] = row;
    *out = &t->row[t->n++];
    return WR_OK;
}

static int by_topic_docno(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = x->qid == y->qid ? 0 : strcmp(x->qid, y->qid);
    if (c == 0) c = strcmp(x->docno, y->docno);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

static bool same_topic(const struct row *a, const struct row *b)
{
    return a->qid == b->qid || strcmp(a->qid, b->qid) == 0;
}

/* Sorts by qid and docno, counts the topics; a pair given twice is refused, or kept once. */
static wr_status arrange(struct table *t, bool refuse, const char *what, wr_err *err)
{
    size_t n = 0;
    if (t->n) qsort(t->row, t->n, sizeof *t->row, by_topic_docno);
    t->topics = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct row *now = &t->row[i], *before = n ? &t->row[n - 1] : NULL;
        bool same = before && same_topic(before, now);
        if (same && strcmp(before->docno, now->docno) == 0) {
            if (!refuse) continue;
            return wr_fail(err, WR_EFORMAT, "%s: line %zu: document \"%s\" of topic \"%s\" was %s before, in line %zu",
                           wr_lines_path(t->lines), now->line, now->docno, now->qid, what, before->line);
        }
        if (!same) t->topics++;
        t->row[n++] = *now;
    }
    t->n = n;
    return WR_OK;
}

static wr_status open_table(struct table *t, const char *path, wr_err *err)
{
    *t = (struct table){0};
    return wr_lines_open(&t->lines, path, err);
}

static void close_table(struct table *t)
{
    wr_lines_close(t->lines);
    wr_chunks_release(&t->chunks);
    free(t->row);
}

/* The strings, and what was made of the table, go over to the result. */
static struct owner *hand_over(struct table *t)
{
    struct owner *owner = malloc(sizeof *owner);
    if (!owner) return NULL;
    owner->chunks = t->chunks;
    t->chunks = (wr_chunks){0};
    return owner;
}

static void release_owner(struct owner *owner)
{
    if (owner) wr_chunks_release(&owner->chunks);
    free(owner);
}

/* ---- judgments and exclusions */

static wr_status to_qrels(struct table *t, wr_qrels *qrels, wr_err *err)
{
    wr_qrels_topic *topic = wr_chunks_calloc(&t->chunks, t->topics, sizeof *topic), *last = topic;
    wr_qrel *qrel = wr_chunks_calloc(&t->chunks, t->n, sizeof *qrel);
    if (!topic || !qrel) return no_memory(t, err);
    for (size_t i = 0; i < t->n; i++) {
        if (i && !same_topic(&t->row[i - 1], &t->row[i])) last++;
        if (last->n++ == 0) *last = (wr_qrels_topic){t->row[i].qid, qrel + i, 1};
        qrel[i] = (wr_qrel){t->row[i].docno, t->row[i].value.rel};
    }
    struct owner *owner = hand_over(t);
    if (!owner) return no_memory(t, err);
    *qrels = (wr_qrels){topic, t->topics, owner};
    return WR_OK;
}

/* As trec_eval reads it (atol: what follows the digits is ignored), but a word without digits is refused. */
static wr_status parse_rel(const struct table *t, struct word word, long *rel, wr_err *err)
{
    char text[32], *end;
    size_t n = word.n < sizeof text - 1 ? word.n : sizeof text - 1;
    memcpy(text, word.s, n);
    text[n] = 0;
    errno = 0;
    *rel = strtol(text, &end, 10);
    if (end == text || errno) return fail(t, err, "the judgment is not a whole number");
    return WR_OK;
}

/* BEIR's files have three columns and a header, TREC's have four and none. */
static wr_status read_qrels(struct table *t, wr_err *err)
{
    struct word word[MAX_WORDS];
    size_t count, columns = 0;
    struct row *row;
    for (;;) {
        wr_status st = next_words(t, word, &count, err);
        if (st || !count) return st;
        if (!columns) {
            columns = count == 3 ? 3 : 4;
            if (count == 3 && word[0].n == 8 && !strncasecmp(word[0].s, "query-id", 8)) continue;
        }
        if (count != columns)
            return fail(t, err,
                        columns == 3 ? "expected three columns: query-id, corpus-id, score"
                                     : "expected four columns: qid, iteration, docno, judgment");
        if ((st = add(t, word[0], word[columns - 2], &row, err))) return st;
        if ((st = parse_rel(t, word[columns - 1], &row->value.rel, err))) return st;
    }
}

wr_status wr_qrels_read(wr_qrels *qrels, const char *path, wr_err *err)
{
    struct table t;
    *qrels = (wr_qrels){0};
    wr_status st = open_table(&t, path, err);
    if (!st) st = read_qrels(&t, err);
    if (!st && t.n == 0) st = wr_fail(err, WR_EFORMAT, "%s: holds no judgment", wr_lines_path(t.lines));
    if (!st) st = arrange(&t, true, "judged", err);
    if (!st) st = to_qrels(&t, qrels, err);
    close_table(&t);
    return st;
}

static bool exclude_header(struct word word)
{
    static const char *const name[] = {"qid", "query-id", "query"};
    for (size_t i = 0; i < 3; i++)
        if (strlen(name[i]) == word.n && strncasecmp(name[i], word.s, word.n) == 0) return true;
    return false;
}

static wr_status read_exclude(struct table *t, wr_err *err)
{
    struct word word[MAX_WORDS];
    size_t count;
    struct row *row;
    for (bool first = true;; first = false) {
        wr_status st = next_words(t, word, &count, err);
        if (st || !count) return st;
        if (count != 2) return fail(t, err, "expected two columns: qid and docno");
        if (first && exclude_header(word[0])) continue;
        if ((st = add(t, word[0], word[1], &row, err))) return st;
    }
}

wr_status wr_exclude_read(wr_qrels *exclude, const char *path, wr_err *err)
{
    struct table t;
    *exclude = (wr_qrels){0};
    wr_status st = open_table(&t, path, err);
    if (!st) st = read_exclude(&t, err);
    if (!st) st = arrange(&t, false, "", err);
    if (!st) st = to_qrels(&t, exclude, err);
    close_table(&t);
    return st;
}

void wr_qrels_release(wr_qrels *qrels)
{
    release_owner(qrels->owner);
    *qrels = (wr_qrels){0};
}

static int find_topic(const void *qid, const void *topic)
{
    return strcmp(qid, ((const wr_qrels_topic *)topic)->qid);
}

const wr_qrels_topic *wr_qrels_find(const wr_qrels *qrels, const char *qid)
{
    return qrels->n ? bsearch(qid, qrels->topic, qrels->n, sizeof *qrels->topic, find_topic) : NULL;
}

static int find_docno(const void *docno, const void *qrel)
{
    return strcmp(docno, ((const wr_qrel *)qrel)->docno);
}

bool wr_qrels_rel(const wr_qrels_topic *topic, const char *docno, long *rel)
{
    const wr_qrel *q = topic ? bsearch(docno, topic->qrel, topic->n, sizeof *topic->qrel, find_docno) : NULL;
    if (q) *rel = q->rel;
    return q != NULL;
}

/* ---- runs */

static int best_first(const void *a, const void *b)
{
    const wr_run_doc *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return strcmp(y->docno, x->docno);
}

static wr_status to_run(struct table *t, wr_run *run, const char *tag, wr_err *err)
{
    wr_run_topic *topic = wr_chunks_calloc(&t->chunks, t->topics, sizeof *topic), *last = topic;
    wr_run_doc *doc = wr_chunks_calloc(&t->chunks, t->n, sizeof *doc);
    if (!topic || !doc) return no_memory(t, err);
    for (size_t i = 0; i < t->n; i++) {
        if (i && !same_topic(&t->row[i - 1], &t->row[i])) last++;
        if (last->n++ == 0) *last = (wr_run_topic){t->row[i].qid, doc + i, 1};
        doc[i] = (wr_run_doc){t->row[i].docno, t->row[i].value.score};
    }
    for (size_t i = 0; i < t->topics; i++) qsort(topic[i].doc, topic[i].n, sizeof *doc, best_first);
    struct owner *owner = hand_over(t);
    if (!owner) return no_memory(t, err);
    *run = (wr_run){topic, t->topics, tag, owner};
    return WR_OK;
}

/* As trec_eval reads it (atof), but a word that is no number, or the number NaN, is refused. */
static wr_status parse_score(const struct table *t, struct word word, double *score, wr_err *err)
{
    char text[512], *end; /* the longest exact decimal a double needs has 1,075 digits; nobody writes more than 40 */
    if (word.n >= sizeof text) return fail(t, err, "the score is longer than 511 characters");
    memcpy(text, word.s, word.n);
    text[word.n] = 0;
    *score = strtod(text, &end);
    if (end == text || isnan(*score)) return fail(t, err, "the score is not a number");
    return WR_OK;
}

static wr_status read_run(struct table *t, wr_bytes *tag, wr_err *err)
{
    struct word word[MAX_WORDS];
    size_t count;
    struct row *row;
    for (;;) {
        wr_status st = next_words(t, word, &count, err);
        if (st || !count) return st;
        if (count < MAX_WORDS) return fail(t, err, "expected six columns: qid, Q0, docno, rank, score, tag");
        if ((st = add(t, word[0], word[2], &row, err))) return st;
        if ((st = parse_score(t, word[4], &row->value.score, err))) return st;
        if (tag->n == word[5].n && memcmp(tag->at, word[5].s, tag->n) == 0) continue;
        wr_bytes_clear(tag);
        if (wr_bytes_add(tag, word[5].s, word[5].n)) return no_memory(t, err);
    }
}

wr_status wr_run_read(wr_run *run, const char *path, wr_err *err)
{
    struct table t;
    wr_bytes tag = {0};
    char *kept = NULL;
    *run = (wr_run){0};
    wr_status st = open_table(&t, path, err);
    if (!st) st = read_run(&t, &tag, err);
    if (!st && t.n == 0) st = wr_fail(err, WR_EFORMAT, "%s: holds no result", wr_lines_path(t.lines));
    if (!st) st = arrange(&t, true, "ranked", err);
    if (!st && !(kept = wr_chunks_strndup(&t.chunks, tag.at, tag.n))) st = no_memory(&t, err);
    if (!st) st = to_run(&t, run, kept, err);
    wr_bytes_release(&tag);
    close_table(&t);
    return st;
}

void wr_run_release(wr_run *run)
{
    release_owner(run->owner);
    *run = (wr_run){0};
}

static int find_run_topic(const void *qid, const void *topic)
{
    return strcmp(qid, ((const wr_run_topic *)topic)->qid);
}

const wr_run_topic *wr_run_find(const wr_run *run, const char *qid)
{
    return run->n ? bsearch(qid, run->topic, run->n, sizeof *run->topic, find_run_topic) : NULL;
}
