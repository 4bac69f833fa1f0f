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
    bool explain;                   /* pipeline as it ran, and of each hit stage_ranks and, if the request asked, explain */
} wr_reply_about;

/* {"request_id", "index", "took_ms", "budget_ms", "hits", "stages", "degraded", "partial"}, no newline. The bytes of
 * "hits" depend on index, request and budget alone. */
void wr_reply_search(wr_out *out, const wr_response *reply, const wr_reply_about *about);

/* Member "explain" of a hit, behind a comma: an object with a member for each stage of the reply (ranker/explain.h says
 * how the numbers belong together):
 *
 *   "bm25": {"held": true, "rank_before": null, "rank_after": 3, "score": 11.2034, "unit": 1.91e-06,
 *            "terms": [{"term": "tide", "count": 1, "idf": 4.21, "query": 4.21, "document": 0.612, "contribution": 2.577}]}
 *   "sparse": the same without count and idf; unit 0 when products were added (two phases)
 *   "dense": {.., "score": 0.61, "metric": "cosine"}
 *   "lin": {.., "score": 0.81, "parts": [{"of": "bm25", "weight": 0.3, "rank": 3, "score": 11.2034, "min": 3.1,
 *           "max": 12, "normalised": 0.91, "contribution": 0.273}, {"of": "dense", "weight": 0.7, "rank": null,
 *           "contribution": 0}]}
 *   "rrf": {.., "score": 0.031, "k": 60, "parts": [{"of": "bm25", "weight": 1, "rank": 3, "contribution": 0.0159}]}
 *   "cross": {.., "rank_before": 4, "rank_after": 1, "model": "weir-cross", "exit": 2, "score": 7.31, "parts": [..] with
 *             a share: "of" is "cross" and "previous", "result": 0.93}
 *
 * Of a stage that does not hold the hit: {"held": false, "reason": "not_listed", "depth" or as in degraded[], ..}. Terms
 * that were not looked up: "terms": null, "left_out": "budget" or "memory". The stage that placed the hit has "served":
 * {"result", "shift"}: their sum is the hit's score. */
void wr_reply_explain(wr_out *out, const wr_response *reply, const wr_hit *hit);

/* The array of what was left out: [{"stage", "reason", "planned", "done"}]. */
void wr_reply_degraded(wr_out *out, const wr_degraded *degraded, size_t n);

/* The same for the header Weir-Degraded, for replies that have no room for it: "cross;reason=budget;planned=50;done=22". */
void wr_reply_degraded_header(char *out, size_t cap, const wr_degraded *degraded, size_t n);

/* Members "id", "title", "text", "metadata" of a document, without braces. */
void wr_reply_document(wr_out *out, const wr_doc *doc);

#endif
