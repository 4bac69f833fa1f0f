/* Many threads, one index: every reply without a budget equals the one that a single thread got, and replies with tiny
 * budgets are well-formed. Plain main() for ThreadSanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"
#include "tests/testlib_model.h"
#include "tests/testlib_rank.h"

#define NDOCS 300
#define NQUERIES 8
#define K 10
#define CLIENTS 4
#define ROUNDS 30

static wr_test_service service;
static uint32_t want[NQUERIES][K];
static const char *const pipeline = "rrf(bm25,dense):40 > cross:12 > list[window=4,stride=2]:8";

static void fail(const char *what)
{
    fprintf(stderr, "stress_rank: %s\n", what);
    exit(1);
}

static void ask(wr_scratch *scratch, size_t q, double budget_ms, wr_response *reply)
{
    wr_err err;
    const char *query = wr_test_query(q);
    wr_request request = {.query = query, .query_len = strlen(query), .k = K, .pipeline = pipeline,
                          .budget_ms = budget_ms};
    if (wr_rank(service.ranker, &request, scratch, reply, &err)) fail(err.text);
}

static void *client(void *arg)
{
    wr_test_random random = {(uintptr_t)arg};
    wr_scratch *scratch;
    wr_err err;
    if (wr_scratch_open(&scratch, service.ranker, &err)) fail(err.text);
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t q = wr_test_below(&random, NQUERIES);
        bool hurried = wr_test_below(&random, 2);
        wr_response reply;
        ask(scratch, q, hurried ? .2 + wr_test_uniform(&random) * 5 : 0, &reply);
        if (!hurried && reply.ndegraded) fail("degraded without a budget");
        for (size_t h = 0; h < reply.n; h++) {
            if (h && !(reply.hit[h].score < reply.hit[h - 1].score)) fail("scores do not fall");
            if (!hurried && reply.hit[h].docid != want[q][h]) fail("another reply than one thread got");
        }
    }
    wr_scratch_close(scratch);
    return NULL;
}

int main(void)
{
    char root[] = "/tmp/weir-stress-XXXXXX", dir[64], encoder[64], cross[64], list[64];
    pthread_t thread[CLIENTS];
    if (!mkdtemp(root)) fail("no temporary folder");
    snprintf(dir, sizeof dir, "%s/index", root);
    snprintf(encoder, sizeof encoder, "%s/encoder", root);
    snprintf(cross, sizeof cross, "%s/cross", root);
    snprintf(list, sizeof list, "%s/list", root);
    wr_test_model(encoder, false, 1);
    wr_test_model(cross, true, 2);
    wr_test_decoder_write(list, &(wr_test_decoder){.type = "qwen2", .seed = 3});
    wr_test_index_dense(dir, NDOCS, encoder);
    wr_test_service_open_list(&service, dir, 3, cross, list);
    for (size_t q = 0; q < NQUERIES; q++) {
        wr_response reply;
        ask(service.scratch, q, 0, &reply);
        for (size_t h = 0; h < reply.n; h++) want[q][h] = reply.hit[h].docid;
    }
    for (uintptr_t i = 0; i < CLIENTS; i++) pthread_create(&thread[i], NULL, client, (void *)(i + 1));
    for (size_t i = 0; i < CLIENTS; i++) pthread_join(thread[i], NULL);
    wr_test_service_close(&service);
    wr_err err;
    if (wr_dir_remove(root, &err)) fail(err.text);
    puts("stress_rank: ok");
    return 0;
}
