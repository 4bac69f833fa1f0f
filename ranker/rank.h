/* wr_rank(): a query, from text to ranked list, inside its budget.
 *
 * A wr_ranker is one generation of one index with the models it needs; constant, shared by all threads. A wr_scratch
 * holds what one request writes. The calling thread coordinates: it runs the lexical search itself, hands encoding,
 * dense and learned sparse search and rerank micro-batches to the pool, and waits no longer than the hard deadline. What a worker has
 * finished by then is in the answer; what it has not is named in degraded[]. A worker that is still inside a call that
 * cannot be stopped (a FAISS search, one layer of an encoder) goes on writing into the scratch, never into the answer:
 * wr_scratch_busy() is true until it is done, and the scratch must not be used for another request before.
 *
 *     wr_response reply;
 *     wr_status st = wr_rank(ranker, &request, scratch, &reply, &err);
 */
#ifndef WR_RANKER_RANK_H
#define WR_RANKER_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/budget.h"
#include "data/corpus.h"
#include "data/pool.h"
#include "data/status.h"
#include "indexer/index.h"
#include "ranker/explain.h"
#include "ranker/loaded.h"
#include "ranker/pipeline.h"

/* Lists, the fusion and rerank stages of one pipeline. */
#define WR_MAX_STAGES (WR_MAX_LISTS + 1 + WR_MAX_RERANK)
#define WR_MAX_QUERY_BYTES 65536 /* a query is a sentence or a paragraph; longer is a document: refused */

typedef struct wr_ranker wr_ranker;

/* Opens the current generation of dir and its query encoder. pool and loaded outlive the ranker. */
wr_status wr_ranker_open(wr_ranker **ranker, const char *dir, wr_loaded *loaded, wr_pool *pool, wr_err *err);
void wr_ranker_close(wr_ranker *ranker); /* no scratch of it may be open */
const wr_index *wr_ranker_index(const wr_ranker *ranker);

/* For wr_pool_open(): everything a worker thread has to be told. */
void wr_ranker_thread_start(void);

typedef struct wr_request {
    const char *query; /* [query_len] UTF-8; may be empty: then nothing is found */
    size_t query_len;
    size_t k, offset;     /* k >= 1, offset + k <= WR_MAX_K */
    double budget_ms;     /* <= 0: no deadline */
    uint64_t arrived_ns;  /* on clock; 0 = now  */
    const wr_clock *clock; /* NULL = the system's; read until the scratch is reset, as work once begun goes on */
    const char *pipeline; /* NULL = "default" */
    bool return_text;     /* fill title, text and metadata of the hits */
    bool strict;          /* a degraded answer is WR_STOPPED; the reply is filled all the same */
    bool explain;         /* fill explain of the hits: explain.h says what that costs */
    const float *dense;   /* [ndense] the query's vector instead of encoding it, or NULL */
    size_t ndense;
    const char *const *sparse_token; /* [nsparse] the query's tokens instead of its text's, or NULL */
    const float *sparse_weight;      /* [nsparse] what is not above 0 is left out                   */
    size_t nsparse;
    const char *const *exclude; /* [nexclude] docnos that never appear in any list; unknown ones are ignored */
    size_t nexclude;
} wr_request;

typedef enum wr_reason {
    WR_REASON_BUDGET,
    WR_REASON_OVERLOAD,
    WR_REASON_MODEL_UNAVAILABLE,
    WR_REASON_INDEX_UNAVAILABLE,
    WR_REASON_TRUNCATED_INPUT,
    WR_REASON_BACKEND_TIMEOUT,
    WR_REASON_BACKEND_ERROR
} wr_reason;
const char *wr_reason_name(wr_reason reason); /* "budget", ... */

/* One hit. stage_score[i] and stage_rank[i] belong to reply->stage[i]; rank 0 = that stage did not hold it. */
typedef struct wr_hit {
    uint32_t docid; /* passage */
    float score;    /* strictly falling along the reply */
    size_t stage;   /* index of the stage that placed it; a list places and leaves scores with their positions */
    float stage_score[WR_MAX_STAGES];
    uint32_t stage_rank[WR_MAX_STAGES]; /* from 1 */
    wr_doc doc; /* docno always; title, text, metadata when return_text; borrowed from the ranker */
    const wr_explain *explain; /* how its score came about; NULL unless it was asked for */
} wr_hit;

typedef struct wr_stage_report {
    const char *name; /* "bm25", "dense", "lin", "cross" */
    double ms;
    uint64_t in, out;
    bool reranks;    /* then scored and cut count */
    uint64_t scored; /* documents that got a score, or were in a window of a list */
    uint64_t cut;    /* pairs longer than the model takes; passages of a list that had to be cut below its rule */
} wr_stage_report;

typedef struct wr_degraded {
    const char *stage;
    wr_reason reason;
    uint64_t planned, done;
} wr_degraded;

/* Borrowed from the scratch until it is used again or closed. */
typedef struct wr_response {
    wr_hit *hit; /* [n] best first; hit[0] has rank offset + 1 */
    size_t n;
    wr_stage_report stage[WR_MAX_STAGES];
    size_t nstages;
    wr_degraded degraded[WR_MAX_STAGES + WR_MAX_RERANK]; /* a list may be late and have cut passages */
    size_t ndegraded; /* partial = ndegraded > 0 */
    double took_ms, encode_ms;
    char pipeline[WR_MAX_PIPELINE]; /* as it ran, aliases resolved */
} wr_response;

typedef struct wr_scratch wr_scratch;
wr_status wr_scratch_open(wr_scratch **scratch, wr_ranker *ranker, wr_err *err);
void wr_scratch_close(wr_scratch *scratch); /* waits for stragglers; NULL is fine */
bool wr_scratch_busy(wr_scratch *scratch);

/* Runs the request. WR_EARG (bad pipeline, k, query) and other errors leave the sentence in err; WR_STOPPED only when
 * strict. Waits first for stragglers of the scratch's last request. */
wr_status wr_rank(wr_ranker *ranker, const wr_request *request, wr_scratch *scratch, wr_response *reply, wr_err *err);

/* One document by docno, as a hit's doc: WR_ENOTFOUND. */
wr_status wr_rank_document(wr_ranker *ranker, const char *docno, size_t len, wr_scratch *scratch, wr_doc *doc);

#endif
