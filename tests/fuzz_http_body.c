/* The first byte picks the route, the rest is the body. What is accepted keeps the promises of server/requests.h; what is
 * refused has a sentence, and a problem that is JSON whatever was sent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/utf8.h"
#include "server/requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_texts(const wr_text *text, size_t n, size_t max)
{
    if (n < 1 || n > max) abort();
    for (size_t i = 0; i < n; i++)
        if (!wr_utf8_valid(text[i].bytes, text[i].n)) abort();
}

static void check_problem(const wr_problem *problem)
{
    wr_out out = {0};
    json_t *value;
    if (!problem->code || !problem->detail.text[0]) abort();
    wr_problem_write(&out, problem, "/", "id");
    if (out.failed || wr_json_parse(&value, out.bytes, out.n, "problem", NULL)) abort();
    json_decref(value);
    wr_out_release(&out);
}

static bool search(const char *body, size_t n, wr_problem *problem)
{
    wr_search_args args;
    if (!wr_search_parse(body, n, &args, problem)) return false;
    if (args.k < 1 || args.k > WR_MAX_K || args.offset > WR_MAX_K - args.k || args.budget_ms < 0) abort();
    if (args.query.n > WR_MAX_QUERY_BYTES || !args.query.bytes) abort();
    wr_search_release(&args);
    return true;
}

static bool rerank(const char *body, size_t n, bool tei, wr_problem *problem)
{
    wr_rerank_args args;
    if (!(tei ? wr_tei_rerank_parse : wr_rerank_parse)(body, n, &args, problem)) return false;
    check_texts(args.text, args.n, WR_MAX_RERANK_TEXTS);
    if (args.top_n < 1 || args.top_n > args.n) abort();
    wr_rerank_release(&args);
    return true;
}

static bool embed(const char *body, size_t n, bool tei, wr_problem *problem)
{
    wr_embed_args args;
    if (!(tei ? wr_tei_embed_parse : wr_embed_parse)(body, n, &args, problem)) return false;
    check_texts(args.text, args.n, WR_MAX_EMBED_TEXTS);
    wr_embed_release(&args);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    wr_problem problem = {0};
    if (n == 0) return 0;
    char *body = malloc(n); /* exactly as long as the body, so that a step beyond is seen */
    memcpy(body, bytes + 1, n - 1);
    int route = (bytes[0] + 2) % 5; /* '0' is 0 */
    bool ok = route == 0 ? search(body, n - 1, &problem)
              : route < 3 ? rerank(body, n - 1, route == 2, &problem)
                          : embed(body, n - 1, route == 4, &problem);
    if (!ok) check_problem(&problem);
    free(body);
    return 0;
}
