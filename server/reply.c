#include "server/reply.h"

#include <stdio.h>
#include <string.h>

/* A string that is our own or was checked when it came in: names of stages, indexes, generations. */
static void text(wr_out *out, const char *s)
{
    wr_out_string(out, s, strlen(s));
}

/* Title, text and metadata behind the id. Metadata was written as a compact JSON object by the index builder. */
static void contents(wr_out *out, const wr_doc *doc)
{
    wr_out_puts(out, ",\"title\":");
    wr_out_string(out, doc->title, doc->title_len);
    wr_out_puts(out, ",\"text\":");
    wr_out_string(out, doc->text, doc->text_len);
    wr_out_puts(out, ",\"metadata\":");
    if (doc->metadata_len && doc->metadata[0] == '{')
        wr_out_raw(out, doc->metadata, doc->metadata_len);
    else
        wr_out_puts(out, "{}");
}

void wr_reply_document(wr_out *out, const wr_doc *doc)
{
    wr_out_puts(out, "\"id\":");
    wr_out_string(out, doc->docno, doc->docno_len);
    contents(out, doc);
}

static void stage_scores(wr_out *out, const wr_response *reply, const wr_hit *hit)
{
    const char *comma = "";
    wr_out_puts(out, ",\"stage_scores\":{");
    for (size_t t = 0; t < reply->nstages; t++) {
        if (!hit->stage_rank[t]) continue;
        wr_out_puts(out, comma);
        text(out, reply->stage[t].name);
        wr_out_puts(out, ":");
        wr_out_float(out, hit->stage_score[t]);
        comma = ",";
    }
    wr_out_puts(out, "}");
}

static void stage_ranks(wr_out *out, const wr_response *reply, const wr_hit *hit)
{
    const char *comma = "";
    wr_out_puts(out, ",\"stage_ranks\":{");
    for (size_t t = 0; t < reply->nstages; t++) {
        if (!hit->stage_rank[t]) continue;
        wr_out_puts(out, comma);
        text(out, reply->stage[t].name);
        wr_out_puts(out, ":");
        wr_out_u64(out, hit->stage_rank[t]);
        comma = ",";
    }
    wr_out_puts(out, "}");
}

static void one_hit(wr_out *out, const wr_response *reply, const wr_hit *hit, size_t rank, const wr_reply_about *about)
{
    wr_out_puts(out, "{\"rank\":");
    wr_out_u64(out, rank);
    wr_out_puts(out, ",\"id\":");
    wr_out_string(out, hit->doc.docno, hit->doc.docno_len);
    wr_out_puts(out, ",\"score\":");
    wr_out_float(out, hit->score);
    wr_out_puts(out, ",\"stage\":");
    text(out, reply->stage[hit->stage].name);
    stage_scores(out, reply, hit);
    if (about->explain) stage_ranks(out, reply, hit);
    if (about->explain && hit->explain) wr_reply_explain(out, reply, hit);
    if (about->return_text) contents(out, &hit->doc);
    wr_out_puts(out, "}");
}

static void stages(wr_out *out, const wr_response *reply)
{
    bool encoded = false; /* told once, with the first dense list */
    wr_out_puts(out, ",\"stages\":[");
    for (size_t t = 0; t < reply->nstages; t++) {
        const wr_stage_report *stage = &reply->stage[t];
        wr_out_puts(out, t ? ",{\"name\":" : "{\"name\":");
        text(out, stage->name);
        wr_out_puts(out, ",\"ms\":");
        wr_out_ms(out, stage->ms);
        wr_out_printf(out, ",\"in\":%llu,\"out\":%llu", (unsigned long long)stage->in, (unsigned long long)stage->out);
        if (stage->reranks) wr_out_printf(out, ",\"scored\":%llu", (unsigned long long)stage->scored);
        if (stage->cut) wr_out_printf(out, ",\"cut\":%llu", (unsigned long long)stage->cut);
        if (!encoded && reply->encode_ms > 0 && !strncmp(stage->name, "dense", 5)) {
            wr_out_puts(out, ",\"encode_ms\":");
            wr_out_ms(out, reply->encode_ms);
            encoded = true;
        }
        wr_out_puts(out, "}");
    }
    wr_out_puts(out, "]");
}

void wr_reply_degraded(wr_out *out, const wr_degraded *degraded, size_t n)
{
    wr_out_puts(out, "[");
    for (size_t i = 0; i < n; i++) {
        wr_out_puts(out, i ? ",{\"stage\":" : "{\"stage\":");
        text(out, degraded[i].stage);
        wr_out_printf(out, ",\"reason\":\"%s\",\"planned\":%llu,\"done\":%llu}", wr_reason_name(degraded[i].reason),
                      (unsigned long long)degraded[i].planned, (unsigned long long)degraded[i].done);
    }
    wr_out_puts(out, "]");
}

void wr_reply_degraded_header(char *out, size_t cap, const wr_degraded *degraded, size_t n)
{
    size_t used = 0;
    *out = 0;
    for (size_t i = 0; i < n && used < cap; i++)
        used += (size_t)snprintf(out + used, cap - used, "%s%s;reason=%s;planned=%llu;done=%llu", i ? ", " : "",
                                 degraded[i].stage, wr_reason_name(degraded[i].reason),
                                 (unsigned long long)degraded[i].planned, (unsigned long long)degraded[i].done);
}

static void heading(wr_out *out, const wr_response *reply, const wr_reply_about *about)
{
    if (about->request_id) {
        wr_out_puts(out, "\"request_id\":");
        text(out, about->request_id);
        wr_out_puts(out, ",");
    }
    wr_out_puts(out, "\"index\":{\"name\":");
    text(out, about->index);
    wr_out_puts(out, ",\"generation\":");
    text(out, about->generation);
    wr_out_puts(out, "},\"took_ms\":");
    wr_out_ms(out, reply->took_ms);
    wr_out_puts(out, ",\"budget_ms\":");
    if (about->budget_ms > 0) wr_out_number(out, about->budget_ms);
    else wr_out_puts(out, "null");
    if (about->explain) {
        wr_out_puts(out, ",\"pipeline\":");
        text(out, reply->pipeline);
    }
}

void wr_reply_search(wr_out *out, const wr_response *reply, const wr_reply_about *about)
{
    wr_out_puts(out, "{");
    heading(out, reply, about);
    wr_out_puts(out, ",\"hits\":[");
    for (size_t i = 0; i < reply->n; i++) {
        if (i) wr_out_puts(out, ",");
        one_hit(out, reply, &reply->hit[i], about->offset + i + 1, about);
    }
    wr_out_puts(out, "]");
    stages(out, reply);
    wr_out_puts(out, ",\"degraded\":");
    wr_reply_degraded(out, reply->degraded, reply->ndegraded);
    wr_out_puts(out, ",\"partial\":");
    wr_out_bool(out, reply->ndegraded > 0);
    wr_out_puts(out, "}");
}
