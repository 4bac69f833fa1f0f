/* The fields of a JSON body, read by a table: types and presence are checked, what is not in the table is refused.
 *
 *     const wr_field fields[] = {
 *         {"query", WR_FIELD_TEXT, WR_FIELD_REQUIRED, &args->query},
 *         {"k", WR_FIELD_SIZE, 0, &args->k},
 *         {0}};
 *     if (!wr_body_read(&root, body, n, fields, &problem)) ...   // problem says which field and why
 *
 * Malformed text is a 400, a field that is refused a 422. Texts are borrowed from root.
 */
#ifndef WR_SERVER_BODY_H
#define WR_SERVER_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "models/embed.h"
#include "server/problem.h"

typedef enum wr_field_kind {
    WR_FIELD_TEXT,   /* wr_text *: a string                            */
    WR_FIELD_SIZE,   /* size_t *: an integer >= 0                      */
    WR_FIELD_DOUBLE, /* double *: a number                             */
    WR_FIELD_BOOL,   /* bool *                                         */
    WR_FIELD_OBJECT, /* json_t **: an object, borrowed                 */
    WR_FIELD_ANY     /* json_t **: whatever it is, borrowed            */
} wr_field_kind;

/* Flags of a field. NULLABLE: null is as good as absent, which is what many client libraries send for options that
 * their user did not set. */
#define WR_FIELD_REQUIRED 1u
#define WR_FIELD_NULLABLE 2u

typedef struct wr_field {
    const char *name;
    wr_field_kind kind;
    unsigned flags;
    void *value; /* left alone when the field is absent */
} wr_field;

/* Parses body[0..n), which has to be one JSON object, and reads its fields. On success *root is owned by the caller
 * (json_decref); else it is NULL and problem is filled. */
bool wr_body_read(json_t **root, const char *body, size_t n, const wr_field *fields, wr_problem *problem);

/* A string, or an array of 1..max strings (with objects: or of {"text": string}), as texts: *text is owned by the
 * caller (free), its bytes are borrowed from value. */
bool wr_body_texts(const json_t *value, const char *field, size_t max, bool objects, wr_text **text, size_t *n,
                   wr_problem *problem);

#endif
