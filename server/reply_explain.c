/* Member "explain" of a hit: wr_explain as JSON. */
#include <math.h>
#include <string.h>

#include "ranker/fuse.h"
#include "server/reply.h"

static void name(wr_out *out, const char *comma, const char *key)
{
    wr_out_puts(out, comma);
    wr_out_string(out, key, strlen(key));
    wr_out_puts(out, ":");
}

/* Nine digits: sums of them are off by less than a millionth of a score. */
static void number(wr_out *out, const char *key, double value)
{
    name(out, ",", key);
    if (isfinite(value)) wr_out_printf(out, "%.9g", value);
    else wr_out_puts(out, "null");
}

static void score(wr_out *out, const char *key, float value)
{
    name(out, ",", key);
    wr_out_float(out, value);
}

static void text(wr_out *out, const char *key, const char *value)
{
    name(out, ",", key);
    wr_out_string(out, value, strlen(value));
}

static void rank(wr_out *out, const char *key, uint32_t value)
{
    name(out, ",", key);
    if (value) wr_out_u64(out, value);
    else wr_out_puts(out, "null");
}

static void terms(wr_out *out, const wr_explain_stage *stage)
{
    if (stage->left_out) {
        wr_out_puts(out, ",\"terms\":null");
        text(out, "left_out", stage->left_out);
        return;
    }
    number(out, "unit", stage->unit);
    wr_out_puts(out, ",\"terms\":[");
    for (size_t i = 0; i < stage->nterms; i++) {
        const wr_explain_term *term = &stage->term[i];
        wr_out_puts(out, i ? ",{\"term\":" : "{\"term\":");
        wr_out_string(out, term->text, term->len);
        if (term->count) {
            wr_out_printf(out, ",\"count\":%u", term->count);
            score(out, "idf", term->idf);
        }
        score(out, "query", term->query);
        number(out, "document", term->document);
        number(out, "contribution", term->contribution);
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

static void part(wr_out *out, const wr_explain_part *p, bool normalised)
{
    wr_out_puts(out, "{\"of\":");
    wr_out_string(out, p->name, strlen(p->name));
    number(out, "weight", p->weight);
    rank(out, "rank", p->rank);
    if (p->rank) {
        score(out, "score", p->score);
        if (normalised) {
            score(out, "min", p->min);
            score(out, "max", p->max);
            number(out, "normalised", p->normalised);
        }
    }
    number(out, "contribution", p->contribution);
    wr_out_puts(out, "}");
}

static void parts(wr_out *out, const wr_explain_stage *stage)
{
    wr_out_puts(out, ",\"parts\":[");
    for (size_t i = 0; i < stage->nparts; i++) {
        if (i) wr_out_puts(out, ",");
        part(out, &stage->part[i], stage->kind != WR_RRF);
    }
    wr_out_puts(out, "]");
}

static void model(wr_out *out, const wr_explain_stage *stage)
{
    if (*stage->model) text(out, "model", stage->model);
    else wr_out_puts(out, ",\"model\":null");
    if (stage->exit) wr_out_printf(out, ",\"exit\":%zu", stage->exit);
    if (stage->keep > 0) number(out, "keep", stage->keep);
}

static void one_stage(wr_out *out, const wr_response *reply, const wr_hit *hit, size_t i)
{
    const wr_explain_stage *stage = &hit->explain->stage[i];
    wr_out_puts(out, stage->gap ? "{\"held\":false" : "{\"held\":true");
    if (stage->gap) text(out, "reason", wr_explain_reason(reply, i, stage));
    rank(out, "rank_before", stage->before);
    rank(out, "rank_after", stage->after);
    if (stage->model) model(out, stage);
    if (!stage->gap) {
        score(out, "score", stage->score);
        if (stage->metric) text(out, "metric", stage->metric);
        if (stage->kind == WR_RRF) wr_out_printf(out, ",\"k\":%d", WR_RRF_K);
        if (stage->nparts) parts(out, stage);
        if (stage->kind == WR_BM25 || stage->kind == WR_SPARSE) terms(out, stage);
        if (stage->model) score(out, "result", stage->result);
    }
    if (hit->stage == i) {
        wr_out_puts(out, ",\"served\":{\"result\":");
        wr_out_float(out, stage->result);
        number(out, "shift", hit->explain->shift);
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "}");
}

void wr_reply_explain(wr_out *out, const wr_response *reply, const wr_hit *hit)
{
    wr_out_puts(out, ",\"explain\":{");
    for (size_t i = 0; i < reply->nstages; i++) {
        if (i) wr_out_puts(out, ",");
        name(out, "", reply->stage[i].name);
        one_stage(out, reply, hit, i);
    }
    wr_out_puts(out, "}");
}
