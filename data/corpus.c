#include "data/corpus.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/corpus_formats.h"
#include "data/mapfile.h"
#include "data/utf8.h"

static const struct {
    const char *name;
    wr_corpus_format format;
} names[] = {
    {"auto", WR_CORPUS_AUTO},       {"beir", WR_CORPUS_BEIR}, {"jsonl", WR_CORPUS_JSONL},
    {"msmarco", WR_CORPUS_MSMARCO}, {"trec", WR_CORPUS_TREC}, {"vectors", WR_CORPUS_VECTORS},
    {"ciff", WR_CORPUS_CIFF},
};
enum { NAMES = sizeof names / sizeof names[0] };

wr_corpus_format wr_corpus_format_of(const wr_corpus *corpus)
{
    return corpus->format;
}

bool wr_corpus_format_has_vectors(wr_corpus_format format)
{
    return format == WR_CORPUS_VECTORS || format == WR_CORPUS_CIFF;
}

const char *wr_corpus_format_name(wr_corpus_format format)
{
    for (size_t i = 0; i < NAMES; i++)
        if (names[i].format == format) return names[i].name;
    return "unknown";
}

wr_status wr_corpus_format_parse(const char *name, wr_corpus_format *format, wr_err *err)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (strcmp(names[i].name, name) != 0) continue;
        *format = names[i].format;
        return WR_OK;
    }
    return wr_fail(err, WR_EARG, "%s: no such format, expected auto, beir, jsonl, msmarco, trec, vectors or ciff",
                   name);
}

/* White space as Unicode has it, and control characters: what a reader of run files might split at. */
static bool splits(uint32_t cp)
{
    return cp <= 0x20 || (cp >= 0x7f && cp <= 0xa0) || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

wr_status wr_docno_check(const char *what, const char *docno, size_t n, const char *where, size_t line, wr_err *err)
{
    if (n == 0) return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s is empty", where, line, what);
    if (n > WR_MAX_DOCNO)
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s of %zu bytes, at most %d", where, line, what, n,
                       WR_MAX_DOCNO);
    if (!wr_utf8_valid(docno, n))
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s is not valid UTF-8", where, line, what);
    for (size_t i = 0, len; i < n; i += len)
        if (splits(wr_utf8_decode(docno + i, n - i, &len)))
            return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s \"%.*s\" holds white space or a control character", where,
                           line, what, (int)n, docno);
    return WR_OK;
}

wr_status wr_corpus_fail(const wr_corpus *corpus, wr_err *err, const char *what)
{
    return wr_fail(err, WR_EFORMAT, "%s: line %zu: %s", wr_lines_path(corpus->lines), wr_lines_number(corpus->lines),
                   what);
}

wr_status wr_corpus_line(wr_corpus *corpus, const char **line, size_t *n, wr_err *err)
{
    if (!corpus->peeked) return wr_lines_next(corpus->lines, line, n, err);
    corpus->peeked = false;
    *line = corpus->first;
    *n = corpus->first_n;
    return WR_OK;
}

static bool blank(const char *s, size_t n)
{
    while (n && strchr(" \t\r\n\f\v", *s) && *s) s++, n--;
    return n == 0;
}

wr_status wr_corpus_filled_line(wr_corpus *corpus, const char **line, size_t *n, wr_err *err)
{
    wr_status st;
    do st = wr_corpus_line(corpus, line, n, err);
    while (!st && *line && blank(*line, *n));
    return st;
}

/* Tells the format by the first line that is not blank; the line is read again by the format's reader. */
static wr_status tell_format(wr_corpus *corpus, wr_err *err)
{
    const char *line;
    size_t n;
    wr_status st = wr_corpus_filled_line(corpus, &line, &n, err);
    if (st) return st;
    corpus->format = WR_CORPUS_JSONL;
    if (!line) return WR_OK; /* an empty file holds no document, whatever its format */
    corpus->peeked = true;
    corpus->first = line;
    corpus->first_n = n;
    bool tab = memchr(line, '\t', n);
    while (n && (*line == ' ' || *line == '\t')) line++, n--;
    if (*line == '{')
        corpus->format = wr_corpus_json_has_vector(line, n) ? WR_CORPUS_VECTORS : WR_CORPUS_JSONL;
    else if (*line == '<')
        corpus->format = WR_CORPUS_TREC;
    else if (tab)
        corpus->format = WR_CORPUS_MSMARCO;
    else
        return wr_corpus_fail(corpus, err, "expected a JSON object, a tab-separated record or a TREC document");
    return WR_OK;
}

/* The file inside a BEIR folder. */
static wr_status beir_path(const char *folder, char *out, size_t cap, wr_err *err)
{
    static const char *const file[] = {"corpus.jsonl", "corpus.jsonl.gz"};
    for (size_t i = 0; i < 2; i++) {
        if (wr_path_join(out, cap, folder, file[i])) return wr_fail(err, WR_EARG, "%s: path is too long", folder);
        if (wr_path_exists(out)) return WR_OK;
    }
    return wr_fail(err, WR_ENOTFOUND, "%s: the folder holds neither corpus.jsonl nor corpus.jsonl.gz", folder);
}

wr_status wr_corpus_open(wr_corpus **out, const char *path, wr_corpus_format format, wr_err *err)
{
    char file[4096];
    *out = NULL;
    wr_status st = WR_OK;
    if (strcmp(path, "-") != 0 && wr_path_is_dir(path)) {
        if (format != WR_CORPUS_AUTO && format != WR_CORPUS_BEIR)
            return wr_fail(err, WR_EFORMAT, "%s: a folder, expected a file of format %s", path,
                           wr_corpus_format_name(format));
        if ((st = beir_path(path, file, sizeof file, err))) return st;
        path = file;
        format = WR_CORPUS_BEIR;
    }
    wr_corpus *corpus = calloc(1, sizeof *corpus);
    if (!corpus) return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    bool piped = strcmp(path, "-") == 0;
    if (format == WR_CORPUS_AUTO && !piped && wr_ciff_is(path)) format = WR_CORPUS_CIFF;
    corpus->format = format;
    if (format == WR_CORPUS_CIFF && piped) st = wr_fail(err, WR_EARG, "CIFF is read more than once: expected a file, not -");
    if (!st && !(corpus->path = strdup(path))) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (!st && !(corpus->sha = wr_sha256_new())) st = wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if (!st && format == WR_CORPUS_CIFF) st = wr_ciff_open(&corpus->ciff, path, err);
    else if (!st) st = wr_lines_open(&corpus->lines, path, err);
    if (!st && format == WR_CORPUS_AUTO) st = tell_format(corpus, err);
    if (st)
        wr_corpus_close(corpus);
    else
        *out = corpus;
    return st;
}

void wr_corpus_close(wr_corpus *corpus)
{
    if (!corpus) return;
    char hex[WR_SHA256_HEX];
    if (corpus->sha) wr_sha256_finish(corpus->sha, hex);
    wr_lines_close(corpus->lines);
    wr_ciff_close(corpus->ciff);
    free(corpus->path);
    json_decref(corpus->record);
    free(corpus->dumped);
    free(corpus->token);
    free(corpus->weight);
    wr_bytes_release(&corpus->raw);
    wr_bytes_release(&corpus->docno);
    wr_bytes_release(&corpus->title);
    wr_bytes_release(&corpus->text);
    free(corpus);
}

static void hash_field(wr_sha256 *sha, const char *s, size_t n)
{
    uint64_t length = n;
    wr_sha256_add(sha, &length, sizeof length);
    wr_sha256_add(sha, s, n);
}

static void hash_vector(wr_sha256 *sha, const wr_doc *doc)
{
    for (size_t i = 0; i < doc->ntokens; i++) {
        hash_field(sha, doc->token[i], strlen(doc->token[i]));
        wr_sha256_add(sha, &doc->weight[i], sizeof doc->weight[i]);
    }
}

wr_status wr_corpus_next(wr_corpus *corpus, wr_doc *doc, wr_err *err)
{
    wr_status st;
    *doc = (wr_doc){.title = "", .text = "", .metadata = ""};
    switch (corpus->format) {
    case WR_CORPUS_MSMARCO:
        st = wr_corpus_next_tsv(corpus, doc, err);
        break;
    case WR_CORPUS_CIFF:
        st = wr_ciff_next(corpus->ciff, doc, err);
        corpus->number += doc->docno != NULL;
        break;
    case WR_CORPUS_TREC:
        st = wr_corpus_next_trec(corpus, doc, err);
        break;
    default:
        st = wr_corpus_next_json(corpus, doc, err);
    }
    if (!st && doc->docno)
        st = wr_docno_check("the document's id", doc->docno, doc->docno_len, corpus->path,
                            corpus->ciff ? corpus->number : wr_lines_number(corpus->lines), err);
    if (st || !doc->docno) {
        doc->docno = NULL;
        return st;
    }
    if (corpus->sha) {
        hash_field(corpus->sha, doc->docno, doc->docno_len);
        hash_field(corpus->sha, doc->title, doc->title_len);
        hash_field(corpus->sha, doc->text, doc->text_len);
        hash_field(corpus->sha, doc->metadata, doc->metadata_len);
        hash_vector(corpus->sha, doc);
    }
    return WR_OK;
}

void wr_corpus_progress(const wr_corpus *corpus, uint64_t *read, uint64_t *total)
{
    if (corpus->ciff) { /* there are no lines: documents */
        *read = corpus->number;
        *total = wr_ciff_ndocs(corpus->ciff);
        return;
    }
    *read = wr_lines_bytes_read(corpus->lines);
    *total = wr_lines_bytes_total(corpus->lines);
}

void wr_corpus_sha256(wr_corpus *corpus, char hex[WR_SHA256_HEX])
{
    hex[0] = 0;
    if (corpus->sha) wr_sha256_finish(corpus->sha, hex);
    corpus->sha = NULL;
}
