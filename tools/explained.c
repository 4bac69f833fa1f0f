#include "tools/explained.h"

#include <stdio.h>
#include <string.h>

#include "ranker/fuse.h"

/* "4.21 x 0.612", so that names begin in one column. */
#define SUM_WIDTH 22

static void print_summand(double contribution, const char *sum)
{
    printf("        %12.6g %c %-*s  ", contribution, *sum ? '=' : ' ', SUM_WIDTH, sum);
}

static void print_terms(const wr_explain_stage *stage)
{
    char sum[64];
    if (stage->left_out) printf("        %12s   terms were not looked up (%s)\n", "", stage->left_out);
    for (size_t i = 0; i < stage->nterms; i++) {
        const wr_explain_term *term = &stage->term[i];
        snprintf(sum, sizeof sum, "%.6g x %.6g", (double)term->query, term->document);
        print_summand(term->contribution, sum);
        printf("%.*s", (int)term->len, term->text);
        if (term->count > 1) printf(" (%u times, idf %.6g)", term->count, (double)term->idf);
        putchar('\n');
    }
}

static void print_part(const wr_explain_part *part, bool ranks)
{
    char sum[64] = "";
    if (part->rank && ranks) snprintf(sum, sizeof sum, "%g / (%d + %u)", part->weight, WR_RRF_K, part->rank);
    else if (part->rank) snprintf(sum, sizeof sum, "%g x %.6g", part->weight, part->normalised);
    print_summand(part->contribution, sum);
    printf("%s", part->name);
    if (!part->rank) printf(": does not hold it");
    else if (!ranks) printf(": %.6g in %.6g .. %.6g", (double)part->score, (double)part->min, (double)part->max);
    putchar('\n');
}

static void print_gap(const wr_response *reply, size_t i, const wr_explain_stage *stage)
{
    printf(" %12s  ", "");
    if (stage->gap == WR_GAP_LISTED) puts("not in its list");
    else if (stage->gap == WR_GAP_DEPTH) puts("not scored: below its depth");
    else printf("left out: %s\n", wr_explain_reason(reply, i, stage));
}

static void print_stage(const wr_response *reply, size_t i, const wr_explain_stage *stage)
{
    char ranks[32] = "-";
    if (stage->before && stage->after) snprintf(ranks, sizeof ranks, "rank %u -> %u", stage->before, stage->after);
    else if (stage->after) snprintf(ranks, sizeof ranks, "rank %u", stage->after);
    printf("    %-9s %-17s", reply->stage[i].name, ranks);
    if (stage->gap) {
        print_gap(reply, i, stage);
        return;
    }
    printf(" %12.6g", (double)stage->score);
    if (stage->metric) printf("  %s", stage->metric);
    if (stage->model) printf("  %s", stage->model);
    if (stage->exit) printf(", %zu layers", stage->exit);
    if (stage->keep > 0) printf(", keep %g", stage->keep);
    if (stage->kind == WR_LIST) printf(", rank %u has the score %.6g", stage->after, (double)stage->result);
    if (stage->model && stage->nparts) printf(", mixed to %.6g", (double)stage->result);
    putchar('\n');
    print_terms(stage);
    for (size_t p = 0; p < stage->nparts; p++) print_part(&stage->part[p], stage->kind == WR_RRF);
}

void wr_explained_print(const wr_hit *hit, const wr_response *reply)
{
    const wr_explain *explain = hit->explain;
    if (!explain) return;
    for (size_t i = 0; i < reply->nstages; i++) print_stage(reply, i, &explain->stage[i]);
    if (explain->shift != 0)
        printf("    served    %-17s %12.6g  = %.6g %+.6g, to stand where %s put it\n", "", (double)hit->score,
               (double)explain->stage[hit->stage].result, explain->shift, reply->stage[hit->stage].name);
}
