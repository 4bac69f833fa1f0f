/* wr_response -> the JSON of POST /v1/search; `weir search --json` prints the same. */
#ifndef WR_SERVER_REPLY_H
#define WR_SERVER_REPLY_H

#include "ranker/rank.h"
#include "server/out.h"

/* What the reply says beside the ranking. Strings are borrowed for the call. */
typedef struct wr_reply_about {
    const char *request_id;         /* NULL = no such member */
    const char *index, *generation; /* as it is served       */
    double budget_ms;               /* 0 = none: null        */
    size_t offset;                  /* of the request        */
    bool return_text;               /* title, text, metadata */
    bool explain;                   /* pipeline as it ran, and stage_ranks of each hit */
} wr_reply_about;

/* {"request_id", "index", "took_ms", "budget_ms", "hits", "stages", "degraded", "partial"}, no newline. The bytes of
 * "hits" depend on index, request and budget alone. */
void wr_reply_search(wr_out *out, const wr_response *reply, const wr_reply_about *about);

/* The array of what was left out: [{"stage", "reason", "planned", "done"}]. */
void wr_reply_degraded(wr_out *out, const wr_degraded *degraded, size_t n);

/* The same for the header Weir-Degraded, for replies that have no room for it: "cross;reason=budget;planned=50;done=22". */
void wr_reply_degraded_header(char *out, size_t cap, const wr_degraded *degraded, size_t n);

/* Members "id", "title", "text", "metadata" of a document, without braces. */
void wr_reply_document(wr_out *out, const wr_doc *doc);

#endif
