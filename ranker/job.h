/* What one request writes, and what the stages share: private to ranker/. The public face is rank.h.
 *
 * Memory of a request: the coordinator allocates from scratch->arena alone. A task on the pool uses its thread's own
 * arena for what is temporary and writes results into arrays that the coordinator allocated before it queued the task,
 * then publishes them with a release store. Nothing of that is reused before both groups are idle.
 */
#ifndef WR_RANKER_JOB_H
#define WR_RANKER_JOB_H

#include <stdatomic.h>

#include "indexer/analyzer.h"
#include "models/microbatch.h"
#include "ranker/rank.h"

/* What a pool thread needs to read documents; one for each worker. */
typedef struct wr_worker {
    wr_docreader *reader;
} wr_worker;

struct wr_ranker {
    wr_index *index;
    wr_loaded *loaded;
    wr_pool *pool;
    const wr_model *encoder;  /* NULL without dense */
    const wr_model *expander; /* of the learned sparse index: NULL without, or where queries must bring their weights */
    int64_t *term_of;         /* [vocabulary of expander] what a token is in the learned postings, -1 = nothing */
    size_t nterm_of;
    wr_worker *worker; /* [wr_pool_threads(pool)] */
    bool has_bm25;     /* false where documents came as vectors without texts */
};

/* A list that a retriever makes. hits is valid for the coordinator once published is true. */
typedef struct wr_list_job {
    const wr_stage *stage;
    uint32_t *docid; /* [stage->depth] filled by the task */
    float *score;    /* [stage->depth] */
    wr_hits hits;
    double ms;
    wr_status status;
    bool products; /* the scores are sums of products in double, as two phases make them: see search_twice() */
    atomic_bool published;
} wr_list_job;

/* Tokenizers that one request can need: the retrievers' and each rerank stage's. */
#define WR_MAX_QUERY_IDS (WR_MAX_RERANK + 2)

struct wr_scratch {
    wr_ranker *ranker;
    wr_arena arena;
    wr_analyzer *analyzer;
    wr_docreader *reader;
    wr_group list_group, rerank_group; /* retrievers, rerank stages */
    wr_budget budget;
    const wr_request *request; /* valid while the coordinator is inside wr_rank() */
    wr_pipeline pipeline;
    wr_list_job list[WR_MAX_LISTS];
    const uint32_t *exclude; /* [nexclude] passages, ascending */
    size_t nexclude;
    /* Copied for the tasks, which may outlive the request. */
    const char *query; /* [query_len] */
    size_t query_len;
    const float *vector; /* [dim], the query's own vector or NULL */
    const char *const *given;  /* [ngiven] tokens of the learned sparse query that the request brought, or NULL */
    const float *given_weight; /* [ngiven] */
    size_t ngiven;
    /* The queries as they were searched, for explanations. The learned one is a copy that the task makes where room_term
     * is not NULL; valid once a list of it is published. */
    wr_sparse_query bm25_query, sparse_query;
    uint32_t *room_term; /* [room] */
    float *room_weight;  /* [room] */
    size_t room;
    wr_tokens ids[WR_MAX_QUERY_IDS]; /* [nids] the query's, see wr_query_tokens() */
    const char *ids_of[WR_MAX_QUERY_IDS]; /* [nids] wr_tokenizer_sha256() */
    size_t nids;
    wr_tokens dense_ids, sparse_ids; /* of these the encoders' */
    double encode_ms;
    size_t query_tokens, query_tokens_used;   /* of the dense encoder; differ when the query was cut */
    size_t sparse_tokens, sparse_tokens_used; /* of the sparse one                                   */
};

/* One rerank stage over the n best of a list. */
typedef struct wr_cross_job {
    wr_scratch *scratch;
    const wr_model *model;
    wr_effort effort;
    wr_tokens query;
    bool stored;           /* documents' ids are in the document store */
    const uint32_t *docid; /* [n] as the stage got them, best first */
    size_t n;
    wr_sized *order;       /* [n] in the order to score */
    size_t *begin;         /* micro-batch b is order[begin[b]..begin[b + 1]) */
    size_t nbatches;
    atomic_size_t next;    /* first micro-batch that nobody has claimed */
    float *score;          /* [n] */
    atomic_bool *done;     /* [n] score[i] is valid */
    atomic_size_t cut;     /* pairs longer than the model takes */
    _Atomic wr_status status;
} wr_cross_job;

/* What a stage made, kept for the hits' stage_score and stage_rank. */
typedef struct wr_trace {
    const uint32_t *docid; /* [n] best first */
    const float *score;    /* [n] */
    size_t n;
} wr_trace;

/* What a rerank stage got and gave, kept for explanations. */
typedef struct wr_step {
    const uint32_t *docid; /* [n] as the stage got them            */
    const float *score;    /* [n] as it got them                   */
    const uint32_t *after; /* [n] as it left them                  */
    size_t n;
    float min, max;        /* of the scores, as it got them, of what it scored itself; where it mixes both. A list
                              leaves scores with their positions: what it got there, it gave                       */
} wr_step;

/* The ranking while it passes through the stages. */
typedef struct wr_ranking {
    uint32_t *docid; /* [n] served order */
    float *score;    /* [n] */
    uint8_t *stage;  /* [n] index of the stage that placed it */
    size_t n;
    wr_trace trace[WR_MAX_STAGES];
    wr_step step[WR_MAX_STAGES]; /* of rerank stages */
} wr_ranking;

/* Explains every hit of a reply that is otherwise ready (explain.h). WR_ENOMEM. */
wr_status wr_explain_hits(wr_scratch *scratch, const wr_ranking *rank, wr_response *reply);

/* Runs the pipeline's retrievers; every scratch->list[i] is published or was left out by the deadline. */
wr_status wr_retrieve(wr_scratch *scratch, wr_err *err);

/* The learned sparse lists: on the pool, or with *later set for wr_retrieve_sparse_here() on this thread, which takes
 * about as long as a lexical search. Without a way to weigh the query nothing is begun. */
wr_status wr_retrieve_sparse_start(wr_scratch *scratch, bool *later);
void wr_retrieve_sparse_here(wr_scratch *scratch);

/* Looks every token of the expander's vocabulary up, once: a binary search a token would be a tenth of a query's time. */
wr_status wr_retrieve_sparse_prepare(wr_ranker *ranker);
bool wr_sparse_can_query(const wr_scratch *scratch);

/* Scores docid[0..n) with as much of a cross-encoder as effort says, over the pool until the soft deadline. *job is
 * borrowed from the arena; read score[i] where done[i]. WR_OK also when the deadline left some out. */
wr_status wr_rerank_cross(wr_scratch *scratch, const wr_model *model, const wr_effort *effort,
                          const uint32_t *docid, size_t n, wr_cross_job **job, wr_err *err);

/* A list is not waited for in the last 2 ms before the soft deadline, nor begun in them. While a window is read all cores are
 * busy, and a thread that is woken then may have to wait for the end of a slice of the scheduler: 3 ms on Linux. */
#define WR_LIST_MARGIN_NS 2000000u

/* What a listwise stage did of what it was to do, in passages. */
typedef struct wr_list_outcome {
    size_t planned, done;
    size_t cut;  /* of done: had fewer words than the rule leaves, for want of room    */
    bool failed; /* a prompt could not be made: the query alone fills the model, say   */
} wr_list_outcome;

/* Reorders the n best of a ranking by the stage's decoder, windows one after the other on the pool until the soft deadline,
 * and fills trace and step `index`. What was in no window keeps its place. WR_OK also when windows were left out. */
wr_status wr_rerank_list(wr_scratch *scratch, const wr_stage *stage, size_t n, wr_ranking *rank, size_t index,
                         wr_list_outcome *out, wr_err *err);

/* The query's ids without special tokens, all of them, by a model's tokenizer: made once for a request and every model
 * with an equal one. On the coordinator; borrowed from the arena of the request. WR_ENOMEM. */
wr_status wr_query_tokens(wr_scratch *scratch, const wr_model *model, wr_tokens *out);

#endif
