#include <criterion/criterion.h>
#include <string.h>

#include "indexer/defaults.h"
#include "ranker/pipeline.h"

static const wr_cross_shape crosses[] = {{.name = "tiny", .layers = 2},
                                         {.name = "big", .layers = 6, .exit = (const size_t[]){2, 4}, .nexits = 2}};
static const wr_pipeline_scope everything = {.default_pipeline = "lin(0.4*bm25,0.6*dense):100",
                                             .has_bm25 = true,
                                             .has_dense = true,
                                             .cross = crosses,
                                             .ncross = 2};
static const wr_list_shape lists[] = {{.name = "qwen", .letters = 26}, {.name = "mute"}, {.name = "abc", .letters = 3}};

/* With decoders too. */
static wr_pipeline_scope with_lists(void)
{
    wr_pipeline_scope scope = everything;
    scope.list = lists;
    scope.nlist = 3;
    return scope;
}

static const char *canonical(const char *text)
{
    static char out[WR_MAX_PIPELINE];
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, &everything, &err), WR_OK, "%s: %s", text, err.text);
    wr_pipeline_print(&p, out, sizeof out);
    return out;
}

static void refused(const char *text, const char *because)
{
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, &everything, &err), WR_EARG, "%s was taken", text);
    cr_assert(strstr(err.text, because), "%s: \"%s\" does not say \"%s\"", text, err.text, because);
}

Test(pipeline, prints_what_it_parsed)
{
    static const char *const same[] = {"bm25:100",
                                       "dense:7",
                                       "rrf(bm25,dense):100",
                                       "rrf(2*bm25,dense:500):100",
                                       "lin(0.3*bm25,0.7*dense):100",
                                       "dense[ef=128]:100",
                                       "dense[ef=128,nprobe=4]:100",
                                       "rrf(bm25,dense):200 > cross:50",
                                       "bm25:100 > cross@0.7[model=tiny]:50 > cross:20",
                                       "bm25:100 > cross[exit=2]:100 > cross:20",
                                       "bm25:100 > cross[keep=0.6]:50",
                                       "bm25:100 > cross@0.5[model=big,exit=6,keep=0.25]:50"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) cr_assert_str_eq(canonical(same[i]), same[i]);
}

Test(pipeline, white_space_and_defaults)
{
    cr_assert_str_eq(canonical("  bm25 "), "bm25:100");
    cr_assert_str_eq(canonical("rrf ( 2 * bm25 , dense : 500 ) : 100>cross : 5"), "rrf(2*bm25,dense:500):100 > cross:5");
    cr_assert_str_eq(canonical("rrf(bm25,dense)"), "rrf(bm25,dense):100");
    cr_assert_str_eq(canonical("bm25>cross"), "bm25:100 > cross:50");
}

Test(pipeline, aliases_stand_for_what_the_index_holds)
{
    cr_assert_str_eq(canonical("default"), "lin(0.4*bm25,0.6*dense):100");
    cr_assert_str_eq(canonical("hybrid"), "rrf(bm25,dense):100");
    cr_assert_str_eq(canonical("full"), "rrf(bm25,dense):100 > cross:50");
    cr_assert_str_eq(canonical("hybrid > cross:10"), "rrf(bm25,dense):100 > cross:10");
    wr_pipeline_scope lexical = {.default_pipeline = "bm25:100", .has_bm25 = true};
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, "full", &lexical, &err), WR_OK);
    cr_assert_eq(p.nlists, 1);
    cr_assert_eq(p.nrerank, 0);
    cr_assert_eq(wr_pipeline_parse(&p, "dense:10", &lexical, &err), WR_EARG);
    cr_assert(strstr(err.text, "no dense index"));
}

/* ---- the default pipeline, which the index brings ---- */

static wr_pipeline parsed(const char *text, const wr_pipeline_scope *scope)
{
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, scope, &err), WR_OK, "%s: %s", text, err.text);
    return p;
}

Test(pipeline, what_an_index_is_built_with_can_be_run)
{
    wr_pipeline_scope all = everything;
    all.has_sparse = true;
    static const char *const stored[] = {WR_PIPELINE_DENSE, WR_PIPELINE_WORDS, WR_PIPELINE_SPARSE, WR_PIPELINE_ALL,
                                         WR_PIPELINE_VECTORS};
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        all.default_pipeline = stored[i];
        wr_pipeline p = parsed("default", &all);
        for (size_t j = 0; j < p.nrerank; j++) cr_assert_not(p.rerank[j].missing);
        all.ncross = 0;
        p = parsed("default", &all);
        for (size_t j = 0; j < p.nrerank; j++) cr_assert(p.rerank[j].missing);
        all.ncross = everything.ncross;
    }
}

Test(pipeline, the_default_goes_without_a_model_that_is_not_loaded_and_no_other_does)
{
    static const char text[] = "bm25:100 > cross@0.5[exit=2]:20 > cross[model=huge]:10";
    wr_pipeline_scope scope = {.default_pipeline = text, .has_bm25 = true};
    char printed[WR_MAX_PIPELINE];
    wr_pipeline p = parsed("default", &scope);
    cr_assert_eq(p.nrerank, 2);
    cr_assert(p.rerank[0].missing);
    cr_assert(p.rerank[1].missing);
    wr_pipeline_print(&p, printed, sizeof printed);
    cr_assert_str_eq(printed, text);
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, &scope, &err), WR_EARG);
    cr_assert_eq(wr_pipeline_parse(&p, "default > cross:5", &scope, &err), WR_EARG);
    scope.cross = crosses;
    scope.ncross = 2;
    p = parsed("default > cross:5", &scope);
    cr_assert_not(p.rerank[0].missing);
    cr_assert(p.rerank[1].missing);
    cr_assert_not(p.rerank[2].missing);
}

Test(pipeline, an_exit_that_the_model_does_not_have_is_dropped_from_the_default_alone)
{
    static const struct { const char *text, *run; } pairs[] = {
        {"bm25:9 > cross[model=big,exit=4]:5", "bm25:9 > cross[model=big,exit=4]:5"},
        {"bm25:9 > cross[model=big,exit=3]:5", "bm25:9 > cross[model=big]:5"},
        {"bm25:9 > cross@0.5[model=big,exit=7]:5", "bm25:9 > cross@0.5[model=big]:5"},
        {"bm25:9 > cross[exit=1]:5", "bm25:9 > cross:5"},
        {"bm25:9 > cross[exit=2]:5", "bm25:9 > cross[exit=2]:5"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        wr_pipeline_scope scope = everything;
        char printed[WR_MAX_PIPELINE];
        scope.default_pipeline = pairs[i].text;
        wr_pipeline p = parsed("default", &scope);
        wr_pipeline_print(&p, printed, sizeof printed);
        cr_assert_str_eq(printed, pairs[i].run);
    }
    cr_assert_str_eq(canonical("bm25:9 > cross[model=big,exit=3]:5"), "bm25:9 > cross[model=big,exit=3]:5");
}

Test(pipeline, an_alias_that_names_itself_ends)
{
    wr_pipeline_scope loop = {.default_pipeline = "default", .has_bm25 = true};
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, "default", &loop, &err), WR_EARG);
}

Test(pipeline, stages_have_names_of_their_own)
{
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, "rrf(bm25,dense,dense[ef=9]) > cross:9 > cross:3", &everything, &err), WR_OK);
    cr_assert_str_eq(p.list[1].name, "dense");
    cr_assert_str_eq(p.list[2].name, "dense_2");
    cr_assert_str_eq(p.fuse.name, "rrf");
    cr_assert_str_eq(p.rerank[0].name, "cross");
    cr_assert_str_eq(p.rerank[1].name, "cross_2");
}

Test(pipeline, refuses_with_place_and_reason)
{
    refused("", "expected");
    refused("bm26:10", "at character");
    refused("bm25:", "the number after ':'");
    refused("bm25:0", "1 to 10000");
    refused("bm25:10001", "1 to 10000");
    refused("bm25:99999999999999999999999", "1 to 10000");
    refused("bm25:10 cross:5", "'>' or the end");
    refused("rrf(bm25", "',' or ')'");
    refused("rrf()", "bm25, sparse or dense");
    refused("rrf(2bm25)", "'*' after a weight");
    refused("lin(-1*bm25)", "bm25, sparse, dense");
    refused("rrf(1e9*bm25)", "1e6");
    refused("bm25[ef=3]:10", "has no option \"ef\"");
    refused("dense[ef]:10", "'='");
    refused("sparse:10", "no learned-sparse index");
    refused("bm25 > cross[model=none]:10", "\"none\" is loaded");
    refused("bm25 > cross@1.5:10", "0 to 1");
    refused("bm25 > cross[exit=0]:10", "exit must be 1");
    refused("bm25 > cross[exit=x]:10", "expected exit");
    refused("bm25 > cross[exit=3]:10", "exit=3: tiny has 2 layers");
    refused("bm25 > cross[model=big,exit=7]:10", "exit=7: big has 6 layers");
    refused("bm25 > cross[exit=7,model=big]:10", "exit=7: big has 6 layers");
    refused("bm25 > cross[keep=0]:10", "from 0.001 to 1");
    refused("bm25 > cross[keep=1.5]:10", "from 0.001 to 1");
    refused("bm25 > cross[keep=nan]:10", "from 0.001 to 1");
    refused("bm25 > cross[keep=]:10", "from 0.001 to 1");
    refused("dense[exit=2]:10", "the index's vectors were made with all layers");
    refused("dense[keep=0.5]:10", "the index's vectors were made with all layers");
    refused("bm25[keep=0.5]:10", "has no option \"keep\"");
    refused("bm25 > list:20", "no decoder is loaded");
    refused("bm25 > rrf:20", "cross or list");
    refused("bm25 > cross > cross > cross > cross > cross", "at most 4");
    refused("rrf(bm25,bm25,bm25,bm25,bm25,bm25,bm25,bm25,bm25)", "at most 8");
    char big[WR_MAX_PIPELINE + 1];
    memset(big, ' ', sizeof big);
    big[WR_MAX_PIPELINE] = 0;
    refused(big, "longer than");
}

static const wr_pipeline_scope learned = {.default_pipeline = "sparse:100", .has_sparse = true, .has_sparse_ann = true};

static wr_status parse_learned(const char *text, const wr_pipeline_scope *scope, char out[WR_MAX_PIPELINE], wr_err *err)
{
    wr_pipeline p;
    wr_status st = wr_pipeline_parse(&p, text, scope, err);
    if (!st) wr_pipeline_print(&p, out, WR_MAX_PIPELINE);
    return st;
}

Test(pipeline, learned_lists_take_the_options_of_seismic_and_opensearch)
{
    static const char *const same[] = {"sparse:100", "sparse[mode=exact]:10", "sparse[mode=approx]:10",
                                       "sparse[heap_factor=0.8,query_cut=5]:10",
                                       "sparse[mode=approx,heap_factor=0.9]:10", "sparse[mode=exact,two_phase=0.4]:10"};
    char out[WR_MAX_PIPELINE];
    wr_err err;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        cr_assert_eq(parse_learned(same[i], &learned, out, &err), WR_OK, "%s: %s", same[i], err.text);
        cr_assert_str_eq(out, same[i]);
    }
    cr_assert_eq(parse_learned("hybrid", &learned, out, &err), WR_OK);
    cr_assert_str_eq(out, "sparse:100", "hybrid is all that there is");
}

Test(pipeline, options_of_learned_lists_that_contradict_each_other_are_refused)
{
    static const struct {
        const char *text, *because;
    } bad[] = {{"sparse[mode=fast]:10", "expected exact or approx"},
               {"sparse[ef=4]:10", "sparse has no option"},
               {"sparse[heap_factor=1.5]:10", "a heap_factor above 0, to 1"},
               {"sparse[two_phase=0]:10", "a share above 0, to 1"},
               {"sparse[mode=exact,query_cut=3]:10", "go with mode=approx"},
               {"sparse[mode=approx,two_phase=0.4]:10", "two_phase goes with mode=exact"},
               {"bm25:10", "holds no bm25 index"}};
    char out[WR_MAX_PIPELINE];
    wr_err err;
    wr_pipeline_scope plain = learned;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(parse_learned(bad[i].text, &learned, out, &err), WR_EARG, "%s was taken", bad[i].text);
        cr_assert(strstr(err.text, bad[i].because), "%s: %s", bad[i].text, err.text);
    }
    plain.has_sparse_ann = false;
    cr_assert_eq(parse_learned("sparse[mode=approx]:10", &plain, out, &err), WR_EARG);
    cr_assert(strstr(err.text, "no clusters"), "%s", err.text);
}

/* ---- listwise stages ---- */

static const char *listed(const char *text)
{
    static char out[WR_MAX_PIPELINE];
    wr_pipeline_scope scope = with_lists();
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, &scope, &err), WR_OK, "%s: %s", text, err.text);
    wr_pipeline_print(&p, out, sizeof out);
    return out;
}

static void not_listed(const char *text, const char *because)
{
    wr_pipeline_scope scope = with_lists();
    wr_pipeline p;
    wr_err err;
    cr_assert_eq(wr_pipeline_parse(&p, text, &scope, &err), WR_EARG, "%s was taken", text);
    cr_assert(strstr(err.text, because), "%s: \"%s\" does not say \"%s\"", text, err.text, because);
}

Test(pipeline, a_list_takes_a_model_windows_a_prompt_and_logits)
{
    static const char *const same[] = {"bm25:100 > list:20", "bm25:100 > cross:50 > list[model=abc]:20",
                                       "bm25:100 > list[model=qwen,window=10,stride=5,prompt=paper,logits=top30]:50",
                                       "bm25:100 > list[window=26,stride=26]:100"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) cr_assert_str_eq(listed(same[i]), same[i]);
    cr_assert_str_eq(listed("bm25 > list"), "bm25:100 > list:20");
    cr_assert_str_eq(listed("bm25 > list[prompt=template,logits=letters]"), "bm25:100 > list:20");
    cr_assert_str_eq(listed("full"), "rrf(bm25,dense):100 > cross:50 > list:20");
}

Test(pipeline, what_a_list_cannot_do_is_refused)
{
    not_listed("bm25 > list[model=other]", "no decoder \"other\"");
    not_listed("bm25 > list[model=mute]", "no letters");
    not_listed("bm25 > list[window=1]", "window=1: expected 2 to 26");
    not_listed("bm25 > list[window=27]", "window=27: expected 2 to 26");
    not_listed("bm25 > list[model=abc,window=4]", "window=4: expected 2 to 3");
    not_listed("bm25 > list[window=10,stride=11]", "stride=11: expected 1 to 10");
    not_listed("bm25 > list[stride=0]", "stride");
    not_listed("bm25 > list[prompt=best]", "prompt=best: expected template or paper");
    not_listed("bm25 > list[logits=all]", "logits=all: expected letters or top30");
    not_listed("bm25 > list[exit=2]", "list has no option \"exit\"");
    not_listed("bm25 > list@0.5:20", "no share");
    not_listed("bm25 > cross[window=20]", "cross has no option \"window\"");
}

Test(pipeline, a_default_list_without_its_decoder_is_left_out)
{
    wr_pipeline_scope scope = everything;
    wr_pipeline p;
    wr_err err;
    scope.default_pipeline = "bm25:100 > list:20";
    cr_assert_eq(wr_pipeline_parse(&p, "default", &scope, &err), WR_OK, "%s", err.text);
    cr_assert(p.nrerank == 1 && p.rerank[0].missing);
    scope.list = lists;
    scope.nlist = 1;
    cr_assert_eq(wr_pipeline_parse(&p, "default", &scope, &err), WR_OK, "%s", err.text);
    cr_assert(p.nrerank == 1 && !p.rerank[0].missing);
}
