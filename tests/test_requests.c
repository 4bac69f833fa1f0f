#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/requests.h"

/* ---- search ---- */

static wr_problem search_problem(const char *body)
{
    wr_search_args args;
    wr_problem problem = {0};
    if (wr_search_parse(body, strlen(body), &args, &problem)) wr_search_release(&args);
    else cr_assert_null(args.root);
    return problem;
}

static void refuses(const char *body, wr_problem_code code, const char *field)
{
    wr_problem problem = search_problem(body);
    cr_assert_eq(problem.code, code, "%s: %s", body, wr_problem_name(problem.code));
    cr_assert_str_eq(problem.field, field, "%s", body);
    if (code) cr_assert_neq(problem.detail.text[0], 0);
}

Test(requests, a_query_alone_is_a_search)
{
    wr_search_args args;
    wr_problem problem = {0};
    const char *body = "{\"query\": \"spring tide\"}";
    cr_assert(wr_search_parse(body, strlen(body), &args, &problem));
    cr_assert_eq(args.query.n, 11);
    cr_assert_eq(memcmp(args.query.bytes, "spring tide", 11), 0);
    cr_assert_eq(args.k, 10);
    cr_assert_eq(args.offset, 0);
    cr_assert_eq(args.budget_ms, 0);
    cr_assert_null(args.pipeline.bytes);
    cr_assert(args.return_text);
    cr_assert_not(args.strict || args.explain);
    wr_search_release(&args);
}

Test(requests, every_field_of_a_search_is_read)
{
    wr_search_args args;
    wr_problem problem = {0};
    const char *body = "{\"query\":\"q\",\"k\":3,\"offset\":7,\"budget_ms\":12.5,\"pipeline\":\"bm25:10\",\"filter\":{},"
                       "\"explain\":true,\"return_text\":false,\"strict\":true}";
    cr_assert(wr_search_parse(body, strlen(body), &args, &problem));
    cr_assert_eq(args.k, 3);
    cr_assert_eq(args.offset, 7);
    cr_assert_eq(args.budget_ms, 12.5);
    cr_assert_str_eq(args.pipeline.bytes, "bm25:10");
    cr_assert(args.explain && args.strict && !args.return_text);
    wr_search_release(&args);
}

Test(requests, what_is_no_json_object_is_malformed)
{
    refuses("", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("{", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("[]", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("\"query\"", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("{\"query\":\"a\"} {}", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("{\"query\":\"a\",\"query\":\"b\"}", WR_PROBLEM_MALFORMED_JSON, "");
    refuses("{\"query\":\"\xff\"}", WR_PROBLEM_MALFORMED_JSON, "");
}

Test(requests, depth_is_limited_to_64)
{
    char body[256] = "{\"filter\":";
    size_t n = strlen(body);
    memset(body + n, '[', 64);
    memset(body + n + 64, ']', 64);
    strcpy(body + n + 128, "}");
    refuses(body, WR_PROBLEM_MALFORMED_JSON, "");
}

Test(requests, a_field_that_is_refused_is_named)
{
    refuses("{}", WR_PROBLEM_MISSING_FIELD, "query");
    refuses("{\"query\":\"a\",\"kk\":1}", WR_PROBLEM_UNKNOWN_FIELD, "kk");
    refuses("{\"query\":1}", WR_PROBLEM_INVALID_FIELD, "query");
    refuses("{\"query\":null}", WR_PROBLEM_INVALID_FIELD, "query");
    refuses("{\"query\":\"a\",\"k\":\"3\"}", WR_PROBLEM_INVALID_FIELD, "k");
    refuses("{\"query\":\"a\",\"k\":3.5}", WR_PROBLEM_INVALID_FIELD, "k");
    refuses("{\"query\":\"a\",\"k\":0}", WR_PROBLEM_INVALID_FIELD, "k");
    refuses("{\"query\":\"a\",\"k\":-1}", WR_PROBLEM_INVALID_FIELD, "k");
    refuses("{\"query\":\"a\",\"k\":10001}", WR_PROBLEM_INVALID_FIELD, "k");
    refuses("{\"query\":\"a\",\"offset\":9991}", WR_PROBLEM_INVALID_FIELD, "offset");
    refuses("{\"query\":\"a\",\"offset\":9223372036854775807}", WR_PROBLEM_INVALID_FIELD, "offset");
    refuses("{\"query\":\"a\",\"budget_ms\":0}", WR_PROBLEM_INVALID_FIELD, "budget_ms");
    refuses("{\"query\":\"a\",\"budget_ms\":-5}", WR_PROBLEM_INVALID_FIELD, "budget_ms");
    refuses("{\"query\":\"a\",\"budget_ms\":1e300}", WR_PROBLEM_INVALID_FIELD, "budget_ms");
    refuses("{\"query\":\"a\",\"budget_ms\":\"50\"}", WR_PROBLEM_INVALID_FIELD, "budget_ms");
    refuses("{\"query\":\"a\",\"filter\":{\"a\":1}}", WR_PROBLEM_FILTER, "filter");
    refuses("{\"query\":\"a\",\"filter\":[]}", WR_PROBLEM_INVALID_FIELD, "filter");
    refuses("{\"query\":\"a\",\"explain\":1}", WR_PROBLEM_INVALID_FIELD, "explain");
    refuses("{\"query\":\"a\",\"pipeline\":\"bm25\\u0000\"}", WR_PROBLEM_BAD_PIPELINE, "pipeline");
}

Test(requests, a_query_longer_than_64_kib_is_refused)
{
    char *body = malloc(70000);
    strcpy(body, "{\"query\":\"");
    memset(body + 10, 'a', 65537);
    strcpy(body + 10 + 65537, "\"}");
    refuses(body, WR_PROBLEM_INVALID_FIELD, "query");
    strcpy(body + 10 + 65536, "\"}");
    refuses(body, WR_PROBLEM_NONE, "");
    free(body);
}

/* ---- rerank ---- */

typedef bool (*rerank_parser)(const char *, size_t, wr_rerank_args *, wr_problem *);

static void rerank_refuses(rerank_parser parse, const char *body, wr_problem_code code, const char *field)
{
    wr_rerank_args args;
    wr_problem problem = {0};
    cr_assert_not(parse(body, strlen(body), &args, &problem), "%s", body);
    cr_assert_eq(problem.code, code, "%s: %s", body, problem.detail.text);
    cr_assert_str_eq(problem.field, field, "%s", body);
    cr_assert(!args.root && !args.text);
}

Test(requests, documents_may_be_strings_or_objects_and_have_two_names)
{
    static const char *const bodies[] = {"{\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"bc\",\"url\":\"u\"}],\"top_n\":1}",
                                         "{\"query\":\"q\",\"texts\":[\"a\",\"bc\"],\"top_k\":1,\"model\":null}"};
    for (size_t i = 0; i < 2; i++) {
        wr_rerank_args args;
        wr_problem problem = {0};
        cr_assert(wr_rerank_parse(bodies[i], strlen(bodies[i]), &args, &problem), "%s", problem.detail.text);
        cr_assert_eq(args.n, 2);
        cr_assert_eq(args.top_n, 1);
        cr_assert_eq(args.text[1].n, 2);
        cr_assert_eq(memcmp(args.text[1].bytes, "bc", 2), 0);
        cr_assert_eq(args.model.n, 0);
        cr_assert(args.truncate && !args.return_text);
        wr_rerank_release(&args);
    }
}

Test(requests, top_n_beyond_the_documents_is_all_of_them)
{
    wr_rerank_args args;
    wr_problem problem = {0};
    const char *body = "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":50}";
    cr_assert(wr_rerank_parse(body, strlen(body), &args, &problem));
    cr_assert_eq(args.top_n, 2);
    wr_rerank_release(&args);
    body = "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":null}";
    cr_assert(wr_rerank_parse(body, strlen(body), &args, &problem));
    cr_assert_eq(args.top_n, 2);
    wr_rerank_release(&args);
}

Test(requests, a_mode_says_how_a_decoder_ranks)
{
    static const struct { rerank_parser parse; const char *body; wr_rerank_mode mode; } cases[] = {
        {wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"]}", WR_RERANK_ANY},
        {wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"mode\":null}", WR_RERANK_ANY},
        {wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"mode\":\"listwise\"}", WR_RERANK_LISTWISE},
        {wr_tei_rerank_parse, "{\"query\":\"q\",\"texts\":[\"a\"],\"mode\":\"pointwise\",\"model\":\"m\"}", WR_RERANK_POINTWISE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wr_rerank_args args;
        wr_problem problem = {0};
        cr_assert(cases[i].parse(cases[i].body, strlen(cases[i].body), &args, &problem), "%s", problem.detail.text);
        cr_assert_eq(args.mode, cases[i].mode);
        wr_rerank_release(&args);
    }
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"mode\":\"list\"}", WR_PROBLEM_INVALID_FIELD, "mode");
    rerank_refuses(wr_tei_rerank_parse, "{\"query\":\"q\",\"texts\":[\"a\"],\"mode\":1}", WR_PROBLEM_INVALID_FIELD, "mode");
}

Test(requests, what_cannot_be_reranked_is_refused)
{
    rerank_refuses(wr_rerank_parse, "{\"documents\":[\"a\"]}", WR_PROBLEM_MISSING_FIELD, "query");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\"}", WR_PROBLEM_MISSING_FIELD, "documents");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[]}", WR_PROBLEM_INVALID_FIELD, "documents");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":\"a\"}", WR_PROBLEM_INVALID_FIELD, "documents");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[1]}", WR_PROBLEM_INVALID_FIELD, "documents");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[{\"title\":\"a\"}]}", WR_PROBLEM_INVALID_FIELD, "documents");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"texts\":[\"a\"]}", WR_PROBLEM_INVALID_FIELD, "texts");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":0}", WR_PROBLEM_INVALID_FIELD, "top_n");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":1,\"top_k\":1}", WR_PROBLEM_INVALID_FIELD, "top_k");
    rerank_refuses(wr_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"],\"budget_ms\":0}", WR_PROBLEM_INVALID_FIELD, "budget_ms");
    rerank_refuses(wr_tei_rerank_parse, "{\"query\":\"q\",\"documents\":[\"a\"]}", WR_PROBLEM_UNKNOWN_FIELD, "documents");
    rerank_refuses(wr_tei_rerank_parse, "{\"query\":\"q\",\"texts\":[\"a\"],\"truncation_direction\":\"Left\"}",
                   WR_PROBLEM_INVALID_FIELD, "truncation_direction");
}

/* ---- embed ---- */

typedef bool (*embed_parser)(const char *, size_t, wr_embed_args *, wr_problem *);

static void embed_refuses(embed_parser parse, const char *body, wr_problem_code code, const char *field)
{
    wr_embed_args args;
    wr_problem problem = {0};
    cr_assert_not(parse(body, strlen(body), &args, &problem), "%s", body);
    cr_assert_eq(problem.code, code, "%s: %s", body, problem.detail.text);
    cr_assert_str_eq(problem.field, field, "%s", body);
    cr_assert(!args.root && !args.text);
}

Test(requests, an_input_is_one_string_or_many)
{
    static const char *const bodies[] = {"{\"input\":\"ab\",\"encoding_format\":\"base64\",\"user\":\"u\",\"dimensions\":384}",
                                         "{\"input\":[\"ab\",\"\"],\"model\":\"m\",\"encoding_format\":\"float\"}"};
    for (size_t i = 0; i < 2; i++) {
        wr_embed_args args;
        wr_problem problem = {0};
        cr_assert(wr_embed_parse(bodies[i], strlen(bodies[i]), &args, &problem), "%s", problem.detail.text);
        cr_assert_eq(args.n, i + 1);
        cr_assert_eq(args.text[0].n, 2);
        cr_assert_eq(args.base64, i == 0);
        cr_assert_eq(args.dimensions, i == 0 ? 384 : 0);
        wr_embed_release(&args);
    }
}

Test(requests, what_cannot_be_embedded_is_refused)
{
    embed_refuses(wr_embed_parse, "{}", WR_PROBLEM_MISSING_FIELD, "input");
    embed_refuses(wr_embed_parse, "{\"input\":[]}", WR_PROBLEM_INVALID_FIELD, "input");
    embed_refuses(wr_embed_parse, "{\"input\":[1,2,3]}", WR_PROBLEM_INVALID_FIELD, "input");
    embed_refuses(wr_embed_parse, "{\"input\":[[1,2,3]]}", WR_PROBLEM_INVALID_FIELD, "input");
    embed_refuses(wr_embed_parse, "{\"input\":null}", WR_PROBLEM_INVALID_FIELD, "input");
    embed_refuses(wr_embed_parse, "{\"input\":\"a\",\"encoding_format\":\"int8\"}", WR_PROBLEM_INVALID_FIELD, "encoding_format");
    embed_refuses(wr_embed_parse, "{\"input\":\"a\",\"dimensions\":0}", WR_PROBLEM_INVALID_FIELD, "dimensions");
    embed_refuses(wr_tei_embed_parse, "{\"input\":\"a\"}", WR_PROBLEM_UNKNOWN_FIELD, "input");
    embed_refuses(wr_tei_embed_parse, "{\"inputs\":\"a\",\"normalize\":1}", WR_PROBLEM_INVALID_FIELD, "normalize");
}
