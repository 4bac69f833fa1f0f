/* weir stats, of the learned sparse index: how its postings are spread, and what queries meet there. */
#include <stdlib.h>
#include <string.h>

#include "data/trec.h"
#include "indexer/cmd_stats.h"
#include "models/embed.h"
#include "ranker/loaded.h"

/* One query's terms that the index has. */
static void add_query(const wr_sparse *sparse, const char *const *token, size_t n, wr_sparse_report *r)
{
    for (size_t i = 0; i < n; i++) {
        int64_t term = wr_sparse_term(sparse, token[i], strlen(token[i]));
        uint32_t id = (uint32_t)term;
        if (term < 0) continue;
        r->query_terms++;
        r->flops += wr_spread_query(sparse, &id, 1);
    }
    r->nqueries++;
}

static wr_status weigh(const wr_index *index, const wr_model *model, const wr_topic *topic, wr_token_weights *out)
{
    size_t ntable;
    const float *table = wr_index_query_weights(index, &ntable);
    const wr_text text = {topic->text, topic->text_len};
    wr_arena *arena = wr_arena_of_thread();
    wr_token_weights found;
    if (!table) return wr_sparse_texts(model, NULL, &text, 1, true, NULL, out, NULL);
    if (!arena) return WR_ENOMEM;
    size_t mark = wr_arena_mark(arena);
    wr_status st = wr_idf_query(table, ntable, wr_model_tokenizer(model), text.bytes, text.n,
                                wr_model_info_get(model)->max_query_tokens, arena, &found, NULL);
    if (!st) {
        *out = (wr_token_weights){.id = malloc((found.n + 1) * sizeof *out->id), .n = found.n};
        if (!out->id)
            st = WR_ENOMEM;
        else
            memcpy(out->id, found.id, found.n * sizeof *out->id);
    }
    wr_arena_rollback(arena, mark);
    return st;
}

static wr_status add_topic(const wr_index *index, const wr_model *model, const wr_topic *topic, wr_sparse_report *r,
                           wr_err *err)
{
    const wr_sparse *sparse = wr_index_sparse(index);
    wr_token_weights w = {0};
    if (topic->sparse_token) {
        add_query(sparse, topic->sparse_token, topic->nsparse, r);
        return WR_OK;
    }
    if (!model)
        return wr_fail(err, WR_EARG, "topic %s: brings no weights, and the index has no model to weigh its text",
                       topic->qid);
    wr_status st = weigh(index, model, topic, &w);
    const char **token = malloc((w.n + 1) * sizeof *token);
    if (!st && !token) st = WR_ENOMEM;
    for (size_t i = 0; i < w.n && !st; i++) token[i] = wr_tokenizer_token(wr_model_tokenizer(model), w.id[i]);
    if (!st) add_query(sparse, token, w.n, r);
    free(token);
    wr_token_weights_release(&w, 1);
    return st ? wr_fail(err, st, "topic %s: %s", topic->qid, wr_status_name(st)) : WR_OK;
}

static wr_status add_topics(const wr_index *index, const char *path, const char *sparse_model, wr_sparse_report *r,
                            wr_err *err)
{
    const wr_loaded_options options = {.sparse = sparse_model};
    wr_loaded *loaded = NULL;
    const wr_model *model = NULL;
    wr_topics topics = {0};
    wr_status st = wr_loaded_open(&loaded, &options, err);
    if (!st) st = wr_loaded_sparse(loaded, wr_index_info_get(index), &model, err);
    if (!st) st = wr_topics_read(&topics, path, err);
    for (size_t i = 0; i < topics.n && !st; i++) st = add_topic(index, model, &topics.topic[i], r, err);
    if (r->nqueries) {
        r->query_terms /= (double)r->nqueries;
        r->flops /= (double)r->nqueries;
    }
    wr_topics_release(&topics);
    wr_loaded_close(loaded);
    return st;
}

wr_status wr_sparse_report_make(const wr_index *index, const char *topics, const char *sparse_model,
                                wr_sparse_report *report, wr_err *err)
{
    *report = (wr_sparse_report){0};
    const wr_sparse *sparse = wr_index_sparse(index);
    if (!sparse && topics) return wr_fail(err, WR_EARG, "--topics: the index has no learned sparse postings");
    if (!sparse) return WR_OK;
    wr_sparse_stats_get(sparse, &report->postings);
    wr_status st = wr_spread_get(sparse, &report->spread, err);
    return st || !topics ? st : add_topics(index, topics, sparse_model, report, err);
}
