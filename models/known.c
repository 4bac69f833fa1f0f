#include "models/known.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/arena.h"
#include "models/probe.h"

struct wr_known {
    const char *name;
    wr_model_kind kind;
    double score[WR_KNOWN_SCORES]; /* of the query with each passage */
};

/* DistilBERT of 6 layers and 768 dimensions, all of them. */
static const wr_known checkpoints[] = {
    {"distilbert-dot-tas_b-b256-msmarco", WR_MODEL_EMBED, {103.33966064453125, 97.69734954833984}},
    {"msmarco-distilbert-base-tas-b", WR_MODEL_EMBED, {103.33966064453125, 97.69734954833984}},
    {"distilbert-dot-margin_mse-T2-msmarco", WR_MODEL_EMBED, {108.82856750488281, 99.5865249633789}},
    {"distilbert-cat-margin_mse-T2-msmarco", WR_MODEL_CROSS, {5.899686336517334, 2.2803378105163574}},
};

#define TOLERANCE 1e-3

static const char *const texts[] = {
    "what is the transformers library",
    "We are very happy to show you the \xf0\x9f\xa4\x97 Transformers library for pre-trained language models. We are "
    "helping the community work together towards the goal of advancing NLP \xf0\x9f\x94\xa5.",
    "Hmm I don't like this new movie about transformers that i got from my local library. Those transformers are "
    "robots?"};

/* The query with [CLS] and [SEP], and how many tokens the passages have with theirs. */
static const uint32_t query_ids[] = {101, 2054, 2003, 1996, 19081, 3075, 102};
static const size_t passage_tokens[] = {36, 26};

const wr_known *wr_known_find(const wr_model_info *info)
{
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++)
        if (!strcmp(info->name, checkpoints[i].name) && !strcmp(info->model_type, "distilbert") &&
            info->kind == checkpoints[i].kind && info->layers == 6 && info->dim == 768)
            return &checkpoints[i];
    return NULL;
}

const double *wr_known_scores(const wr_known *known)
{
    return known->score;
}

static wr_status check_tokens(const wr_model *model, wr_arena *arena, char *missed, size_t cap)
{
    const wr_tokenizer *tok = wr_model_tokenizer(model);
    size_t nquery = sizeof query_ids / sizeof *query_ids;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !*missed; i++) {
        wr_tokens toks;
        wr_status st = wr_tokenizer_single(tok, texts[i], strlen(texts[i]), arena, 512, &toks);
        if (st) return st;
        size_t n = i ? passage_tokens[i - 1] : nquery;
        if (toks.n != n)
            snprintf(missed, cap, "\"%.40s\" has %zu tokens, expected %zu", texts[i], toks.n, n);
        else if (!i && memcmp(toks.id, query_ids, sizeof query_ids))
            snprintf(missed, cap, "\"%s\" has other token ids than published", texts[i]);
    }
    return WR_OK;
}

wr_status wr_known_verify(const wr_known *known, const wr_model *model, char *missed, size_t cap, wr_err *err)
{
    wr_arena *arena = wr_arena_of_thread();
    const wr_probe probe = {.text = (char **)(uintptr_t)texts,
                            .ntexts = 3,
                            .pair = (wr_probe_pair[]){{0, 1}, {0, 2}},
                            .npairs = WR_KNOWN_SCORES};
    float got[WR_KNOWN_SCORES];
    *missed = 0;
    if (!arena) return wr_fail(err, WR_ENOMEM, "out of memory");
    size_t mark = wr_arena_mark(arena);
    wr_status st = check_tokens(model, arena, missed, cap);
    wr_arena_rollback(arena, mark);
    if (st) return wr_fail(err, st, "tokenizing: %s", wr_status_name(st));
    if ((st = wr_probe_score(&probe, model, NULL, got, err))) return st;
    for (size_t i = 0; i < WR_KNOWN_SCORES && !*missed; i++)
        if (!(fabs((double)got[i] - known->score[i]) <= TOLERANCE))
            snprintf(missed, cap, "the score of \"%.40s\" is %.6f, published is %.6f", texts[i + 1], (double)got[i],
                     known->score[i]);
    return WR_OK;
}
