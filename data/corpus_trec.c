/* TREC's SGML: <DOC> <DOCNO> id </DOCNO> ... <TEXT> ... </TEXT> </DOC>, over as many lines as it takes.
 *
 * The title is what the title elements hold, the text what the text elements hold, both without the tags inside them.
 * A document that has none of the text elements (a web page) gives all that its other elements hold, but for
 * identifiers, headers, scripts and styles. */
#include <string.h>
#include <strings.h>

#include "data/corpus_formats.h"
#include "data/sgml.h"

#define TITLES "title headline hl ti ttl doctitle"
#define TITLES_AP TITLES " head" /* in a web page <head> is something else */
#define TEXTS "text leadpara lp abstract summary body"
#define HIDDEN "dochdr docid docoldno script style"

static wr_status no_memory(const wr_corpus *corpus, wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "%s: line %zu: out of memory", wr_lines_path(corpus->lines),
                   wr_lines_number(corpus->lines));
}

/* The first <name>, <name ...> or </name> in s, whatever its case; NULL when there is none. */
static const char *find_tag(const char *s, size_t n, const char *name, bool closing, size_t *bytes)
{
    size_t head = closing ? 2 : 1, len = strlen(name);
    for (const char *end = s + n, *p = s; (p = memchr(p, '<', (size_t)(end - p))); p++) {
        size_t left = (size_t)(end - p);
        if (left <= head + len || (p[1] == '/') != closing || strncasecmp(p + head, name, len) != 0) continue;
        char after = p[head + len];
        if (after != '>' && after != ' ' && after != '\t') continue;
        const char *close = memchr(p, '>', left);
        if (!close) continue;
        *bytes = (size_t)(close - p) + 1;
        return p;
    }
    return NULL;
}

/* The next line of the file, or what the last record left of its line. */
static wr_status more(wr_corpus *corpus, const char **line, size_t *n, wr_err *err)
{
    if (!corpus->rest) return wr_corpus_line(corpus, line, n, err);
    *line = corpus->rest;
    *n = corpus->rest_n;
    corpus->rest = NULL;
    return WR_OK;
}

/* Adds up to </DOC>, which must come before the next <DOC>; *closed tells whether it has come. */
static wr_status add_line(wr_corpus *corpus, const char *line, size_t n, size_t began, bool *closed, wr_err *err)
{
    size_t bytes = 0, ignored;
    const char *end = find_tag(line, n, "doc", true, &bytes);
    size_t keep = end ? (size_t)(end - line) : n;
    if (find_tag(line, keep, "doc", false, &ignored))
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: <DOC> inside the document that began in line %zu",
                       wr_lines_path(corpus->lines), wr_lines_number(corpus->lines), began);
    if (wr_bytes_add_repaired(&corpus->raw, line, keep) || wr_bytes_add_char(&corpus->raw, '\n'))
        return no_memory(corpus, err);
    if (corpus->raw.n > WR_MAX_LINE)
        return wr_fail(err, WR_EFORMAT, "%s: line %zu: the document that began in line %zu is longer than %zu bytes",
                       wr_lines_path(corpus->lines), wr_lines_number(corpus->lines), began, WR_MAX_LINE);
    *closed = end != NULL;
    if (end && keep + bytes < n) {
        corpus->rest = end + bytes;
        corpus->rest_n = n - keep - bytes;
    }
    return WR_OK;
}

/* Collects what lies between <DOC> and </DOC> in raw; *found is false at the end of the file. */
static wr_status collect(wr_corpus *corpus, bool *found, wr_err *err)
{
    const char *line, *open = NULL;
    size_t n, bytes = 0;
    wr_status st;
    *found = false;
    wr_bytes_clear(&corpus->raw);
    while (!open) {
        if ((st = more(corpus, &line, &n, err))) return st;
        if (!line && !corpus->any) return wr_corpus_fail(corpus, err, "the file ends without a <DOC>");
        if (!line) return WR_OK;
        open = find_tag(line, n, "doc", false, &bytes);
    }
    corpus->any = *found = true;
    size_t began = wr_lines_number(corpus->lines);
    n -= (size_t)(open - line) + bytes;
    line = open + bytes;
    for (bool closed = false;;) {
        if ((st = add_line(corpus, line, n, began, &closed, err)) || closed) return st;
        if ((st = more(corpus, &line, &n, err))) return st;
        if (!line)
            return wr_fail(err, WR_EFORMAT, "%s: line %zu: the document that began here is not closed by </DOC>",
                           wr_lines_path(corpus->lines), began);
    }
}

/* Where the text between two tags goes. */
struct place {
    char element[16]; /* the element that decides, lower case, "" outside of all */
    wr_bytes *out;    /* NULL: nowhere                                           */
};

static bool enter(struct place *place, const wr_sgml *walk, const char *names, wr_bytes *out)
{
    if (!wr_sgml_is(walk, names) || walk->span_n >= sizeof place->element) return false;
    for (size_t i = 0; i < walk->span_n; i++) place->element[i] = (char)(walk->span[i] | 0x20);
    place->element[walk->span_n] = 0;
    place->out = out;
    return true;
}

/* Fills docno, title and text; *has_text tells whether there was a text element. whole: only the text, from all but
 * the other two and what is hidden. */
static wr_status walk_record(wr_corpus *corpus, bool whole, bool *has_text)
{
    wr_sgml walk;
    struct place place = {"", whole ? &corpus->text : NULL};
    const char *titles = TITLES_AP;
    wr_status st = WR_OK;
    wr_sgml_start(&walk, corpus->raw.at, corpus->raw.n);
    for (wr_sgml_kind kind; !st && (kind = wr_sgml_next(&walk)) != WR_SGML_END;) {
        if (kind == WR_SGML_TEXT) {
            if (place.out) st = wr_sgml_add_text(place.out, walk.span, walk.span_n);
            continue;
        }
        if (place.out) st = wr_sgml_add_text(place.out, " ", 1);
        if (kind == WR_SGML_OPEN && wr_sgml_is(&walk, "html")) titles = TITLES;
        if (!place.element[0] && kind == WR_SGML_OPEN) {
            (void)(enter(&place, &walk, "docno", whole ? NULL : &corpus->docno) ||
                   enter(&place, &walk, titles, whole ? NULL : &corpus->title) || enter(&place, &walk, HIDDEN, NULL) ||
                   (!whole && (*has_text |= enter(&place, &walk, TEXTS, &corpus->text))));
        } else if (place.element[0] && kind == WR_SGML_CLOSE && wr_sgml_is(&walk, place.element)) {
            place = (struct place){"", whole ? &corpus->text : NULL};
        }
    }
    return st;
}

wr_status wr_corpus_next_trec(wr_corpus *corpus, wr_doc *doc, wr_err *err)
{
    bool found, has_text = false;
    wr_status st = collect(corpus, &found, err);
    if (st || !found) return st;
    wr_bytes_clear(&corpus->docno);
    wr_bytes_clear(&corpus->title);
    wr_bytes_clear(&corpus->text);
    if (wr_bytes_reserve(&corpus->docno, 0) || wr_bytes_reserve(&corpus->title, 0) ||
        wr_bytes_reserve(&corpus->text, 0) || walk_record(corpus, false, &has_text) ||
        (!has_text && walk_record(corpus, true, &has_text)))
        return no_memory(corpus, err);
    wr_sgml_trim(&corpus->docno);
    wr_sgml_trim(&corpus->title);
    wr_sgml_trim(&corpus->text);
    if (corpus->docno.n == 0) return wr_corpus_fail(corpus, err, "a document without <DOCNO>");
    doc->docno = corpus->docno.at, doc->docno_len = corpus->docno.n;
    doc->title = corpus->title.at, doc->title_len = corpus->title.n;
    doc->text = corpus->text.at, doc->text_len = corpus->text.n;
    return WR_OK;
}
