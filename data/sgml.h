/* The markup of TREC's documents and topics: tags, comments and entities, without a DTD.
 *
 * Anything that does not look like a tag is text: '<' counts only before a letter, '/', '!' or '?', and only when its
 * '>' comes before the next '<'. Names of tags are compared without regard to case.
 */
#ifndef WR_DATA_SGML_H
#define WR_DATA_SGML_H

#include <stdbool.h>
#include <stddef.h>

#include "data/bytes.h"
#include "data/status.h"

typedef enum wr_sgml_kind { WR_SGML_END, WR_SGML_TEXT, WR_SGML_OPEN, WR_SGML_CLOSE } wr_sgml_kind;

/* A walk over s[0..n); linear in n whatever the bytes are. */
typedef struct wr_sgml {
    const char *s;
    size_t n, at;
    const char *span; /* the text, or the name of the tag; borrowed from s */
    size_t span_n;
    bool no_comment_end; /* a search for "-->" reached the end: there is none */
} wr_sgml;

void wr_sgml_start(wr_sgml *walk, const char *s, size_t n);

/* The next piece: text, or a tag (comments and declarations are stepped over). */
wr_sgml_kind wr_sgml_next(wr_sgml *walk);

/* Is the current tag's name among `names`, which are lower case and separated by single spaces? */
bool wr_sgml_is(const wr_sgml *walk, const char *names);

/* Adds text with its entities resolved and each run of white space and control characters as one space, none at the
 * start. Entities: &amp; and its kind, numbers, Latin-1's names, and those of TREC's disks; an unknown one stays. */
wr_status wr_sgml_add_text(wr_bytes *out, const char *s, size_t n);

/* Takes the space at the end away, if there is one. */
void wr_sgml_trim(wr_bytes *out);

#endif
