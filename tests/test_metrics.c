#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"

static const wr_metrics_gauges gauges = {.version = "1.2.3", .queue_depth = 4, .queue_capacity = 256, .open_requests = 5};

static char *scrape(wr_metrics *metrics)
{
    wr_out out = {0};
    wr_metrics_write(metrics, &gauges, &out);
    wr_out_raw(&out, "", 1);
    cr_assert_not(out.failed);
    return out.bytes;
}

/* The value of the line that begins with name, -1 when there is none. */
static double value(wr_metrics *metrics, const char *name)
{
    char *text = scrape(metrics), *line = text;
    size_t n = strlen(name);
    double v = -1;
    for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, name, n) && line[n] == ' ') v = strtod(line + n, NULL);
    free(text);
    return v;
}

Test(metrics, count_requests_by_route_and_status)
{
    wr_metrics *metrics = wr_metrics_new();
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 3000000);
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 3000000);
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 422, 10);
    wr_metrics_request(metrics, WR_ROUTE_OTHER, 404, 10);
    wr_metrics_request(metrics, WR_ROUTE_OTHER, 418, 10);
    cr_assert_eq(value(metrics, "weir_requests_total{route=\"/v1/search\",status=\"200\"}"), 2);
    cr_assert_eq(value(metrics, "weir_requests_total{route=\"/v1/search\",status=\"422\"}"), 1);
    cr_assert_eq(value(metrics, "weir_requests_total{route=\"other\",status=\"404\"}"), 1);
    cr_assert_eq(value(metrics, "weir_requests_total{route=\"other\",status=\"0\"}"), 1);
    wr_metrics_free(metrics);
}

Test(metrics, histograms_are_cumulative_and_in_seconds)
{
    wr_metrics *metrics = wr_metrics_new();
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 1000000);      /* on a bound: belongs to it */
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 3000000);
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 99000000000u); /* above all */
    cr_assert_eq(value(metrics, "weir_request_seconds_bucket{route=\"/v1/search\",le=\"0.0005\"}"), 0);
    cr_assert_eq(value(metrics, "weir_request_seconds_bucket{route=\"/v1/search\",le=\"0.001\"}"), 1);
    cr_assert_eq(value(metrics, "weir_request_seconds_bucket{route=\"/v1/search\",le=\"0.005\"}"), 2);
    cr_assert_eq(value(metrics, "weir_request_seconds_bucket{route=\"/v1/search\",le=\"10\"}"), 2);
    cr_assert_eq(value(metrics, "weir_request_seconds_bucket{route=\"/v1/search\",le=\"+Inf\"}"), 3);
    cr_assert_eq(value(metrics, "weir_request_seconds_count{route=\"/v1/search\"}"), 3);
    cr_assert_float_eq(value(metrics, "weir_request_seconds_sum{route=\"/v1/search\"}"), 99.004, 1e-6);
    wr_metrics_free(metrics);
}

Test(metrics, tell_stages_and_what_was_left_out)
{
    wr_metrics *metrics = wr_metrics_new();
    wr_response reply = {.nstages = 3, .ndegraded = 1, .encode_ms = 2};
    reply.stage[0] = (wr_stage_report){.name = "bm25", .ms = 1};
    reply.stage[1] = (wr_stage_report){.name = "cross", .ms = 20, .reranks = true, .scored = 22};
    reply.stage[2] = (wr_stage_report){.name = "cross_2", .ms = 20, .reranks = true, .scored = 8};
    reply.degraded[0] = (wr_degraded){.stage = "cross_2", .reason = WR_REASON_BUDGET};
    wr_metrics_response(metrics, &reply);
    cr_assert_eq(value(metrics, "weir_stage_seconds_count{stage=\"bm25\"}"), 1);
    cr_assert_eq(value(metrics, "weir_stage_seconds_count{stage=\"cross\"}"), 2);
    cr_assert_eq(value(metrics, "weir_stage_seconds_count{stage=\"encode\"}"), 1);
    cr_assert_eq(value(metrics, "weir_degraded_total{stage=\"cross\",reason=\"budget\"}"), 1);
    cr_assert_eq(value(metrics, "weir_rerank_pairs_total"), 30);
    wr_metrics_free(metrics);
}

Test(metrics, gauges_are_what_they_are_when_asked)
{
    wr_metrics *metrics = wr_metrics_new();
    wr_metrics_shed(metrics, WR_SHED_QUEUE_FULL);
    wr_metrics_reload(metrics, true);
    cr_assert_eq(value(metrics, "weir_queue_depth"), 4);
    cr_assert_eq(value(metrics, "weir_queue_capacity"), 256);
    cr_assert_eq(value(metrics, "weir_open_requests"), 5);
    cr_assert_eq(value(metrics, "weir_shed_total{reason=\"queue_full\"}"), 1);
    cr_assert_eq(value(metrics, "weir_reloads_total{result=\"done\"}"), 1);
    cr_assert_eq(value(metrics, "weir_build_info{version=\"1.2.3\"}"), 1);
    cr_assert_gt(value(metrics, "weir_resident_bytes"), 1e5);
    wr_metrics_free(metrics);
}

/* What promtool checks first: a HELP and a TYPE before the samples of a name, and nothing twice. */
Test(metrics, every_name_has_one_help_and_one_type)
{
    wr_metrics *metrics = wr_metrics_new();
    wr_metrics_request(metrics, WR_ROUTE_SEARCH, 200, 1);
    char *text = scrape(metrics), seen[64][96], *save;
    size_t n = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[96];
        if (sscanf(line, "# TYPE %95s", name) == 1) {
            for (size_t i = 0; i < n; i++) cr_assert_str_neq(seen[i], name);
            strcpy(seen[n++], name);
        } else if (line[0] != '#') {
            size_t known = strlen(seen[n - 1]);
            cr_assert_not(strncmp(line, seen[n - 1], known), "%s", line);
        }
    }
    free(text);
    wr_metrics_free(metrics);
}

static void *count_many(void *arg)
{
    for (int i = 0; i < 10000; i++) wr_metrics_request(arg, WR_ROUTE_SEARCH, 200, 1000);
    return NULL;
}

Test(metrics, nothing_is_lost_between_threads)
{
    wr_metrics *metrics = wr_metrics_new();
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, count_many, metrics);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    cr_assert_eq(value(metrics, "weir_requests_total{route=\"/v1/search\",status=\"200\"}"), 40000);
    cr_assert_eq(value(metrics, "weir_request_seconds_count{route=\"/v1/search\"}"), 40000);
    wr_metrics_free(metrics);
}
