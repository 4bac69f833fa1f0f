#include "models/known_sparse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/embed.h"

#define FAMILY "opensearch-neural-sparse-encoding-doc-"
#define DISTILL FAMILY "v2-distill"
#define TOLERANCE 1e-3

/* As it is, and with a second logarithm and pruned at a tenth: the same weights seen through both. */
static const struct {
    const char *text;
    size_t n, n_pruned;
    double hello, hello_pruned;
} documents[] = {{"hello world", 298, 77, 1.6551653, .9765069}, {"hello", 260, 64, 1.9172965, 1.0706573}};

#define RATIO 0.1

static const char question[] = "What's the weather in ny now?";
static const struct {
    const char *token;
    double weight;
} asked[] = {{"ny", 5.772862}, {"weather", 4.568416}, {"now", 3.589550}, {"?", 3.331255}, {"what", 2.769884},
             {"'", 1.575072},  {"s", 1.427258},       {"in", .498926},   {"the", .135302}};
enum { ASKED = sizeof asked / sizeof *asked };

bool wr_known_sparse_is(const wr_model_info *info)
{
    return info->kind == WR_MODEL_SPARSE && !strncmp(info->name, FAMILY, sizeof FAMILY - 1);
}

static double weight_of(const wr_model *model, const wr_token_weights *w, const char *token)
{
    int64_t id = wr_tokenizer_id(wr_model_tokenizer(model), token);
    for (size_t i = 0; i < w->n; i++)
        if ((int64_t)w->id[i] == id) return w->weight[i];
    return 0;
}

static void check_query(const wr_model *model, const wr_token_weights *w, char *missed, size_t cap)
{
    if (w->n != ASKED) {
        snprintf(missed, cap, "\"%s\" has %zu tokens, published are %d", question, w->n, ASKED);
        return;
    }
    for (size_t i = 0; i < ASKED && !*missed; i++) {
        double got = weight_of(model, w, asked[i].token);
        if (!(fabs(got - asked[i].weight) <= TOLERANCE))
            snprintf(missed, cap, "the query token \"%s\" weighs %.6f, published is %.6f", asked[i].token, got,
                     asked[i].weight);
    }
}

/* Weights as a second logarithm and the pruning leave them: how many, and what is left of hello's. */
static size_t count_pruned(const wr_token_weights *w)
{
    size_t n = 0;
    double max = 0;
    for (size_t i = 0; i < w->n; i++) max = fmax(max, log1p(w->weight[i]));
    for (size_t i = 0; i < w->n; i++) n += log1p(w->weight[i]) > RATIO * max;
    return n;
}

static void check_document(const wr_model *model, size_t i, const wr_token_weights *w, char *missed, size_t cap)
{
    double hello = weight_of(model, w, "hello");
    size_t pruned = count_pruned(w);
    if (w->n != documents[i].n || pruned != documents[i].n_pruned)
        snprintf(missed, cap, "\"%s\" has %zu tokens and %zu after pruning, published are %zu and %zu",
                 documents[i].text, w->n, pruned, documents[i].n, documents[i].n_pruned);
    else if (!(fabs(hello - documents[i].hello) <= TOLERANCE) ||
             !(fabs(log1p(hello) - documents[i].hello_pruned) <= TOLERANCE))
        snprintf(missed, cap, "\"hello\" weighs %.6f in \"%s\", published is %.6f", hello, documents[i].text,
                 documents[i].hello);
}

wr_status wr_known_sparse_verify(const wr_model *model, char *missed, size_t cap, wr_err *err)
{
    const wr_text text[] = {{documents[0].text, strlen(documents[0].text)},
                            {documents[1].text, strlen(documents[1].text)}},
                  query = {question, sizeof question - 1};
    wr_token_weights w[2] = {0};
    *missed = 0;
    wr_status st = wr_sparse_texts(model, NULL, &query, 1, true, NULL, w, NULL);
    if (!st) check_query(model, w, missed, cap);
    wr_token_weights_release(w, 1);
    if (!st && !*missed && !strcmp(wr_model_info_get(model)->name, DISTILL)) {
        st = wr_sparse_texts(model, NULL, text, 2, false, NULL, w, NULL);
        for (size_t i = 0; i < 2 && !st && !*missed; i++) check_document(model, i, &w[i], missed, cap);
        wr_token_weights_release(w, 2);
    }
    return st ? wr_fail(err, st, "encoding: %s", wr_status_name(st)) : WR_OK;
}
