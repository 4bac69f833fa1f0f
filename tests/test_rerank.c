/* `weir rerank` as its users see it: texts in, lines or JSON out. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/command.h"
#include "ranker/llm.h"
#include "tests/testlib.h"
#include "tests/testlib_decoder.h"
#include "tests/testlib_model.h"

static char *model;

static void write_model(void)
{
    wr_test_decoder decoder = {.type = "qwen3", .seed = 5};
    model = strdup(wr_test_path("model"));
    wr_test_decoder_write(model, &decoder);
}

static void free_model(void)
{
    free(model);
}

TestSuite(rerank, .init = write_model, .fini = free_model);

/* Runs the command with this on its standard input; what it printed, to be freed. */
static char *run(const char *input, int want, int argc, const char *const *argv)
{
    const char *in = wr_test_text("in", input), *out = wr_test_path("out");
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    cr_assert(freopen(in, "r", stdin) && freopen(out, "w", stdout));
    int status = wr_cmd_rerank.run(argc, (char **)argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    FILE *f = fopen(out, "r");
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    cr_assert_eq(status, want, "exit status %d, printed %.*s", status, (int)n, text);
    return text;
}
#define ARGC(...) (int)(sizeof((const char *[]){"rerank", __VA_ARGS__}) / sizeof(char *))
#define RUN(input, want, ...) run(input, want, ARGC(__VA_ARGS__), (const char *const[]){"rerank", __VA_ARGS__})

static json_t *parsed(char *text)
{
    json_t *reply = json_loads(text, 0, NULL);
    cr_assert(reply, "%s", text);
    free(text);
    return reply;
}

static const char texts[] = "a river\na bridge over the river\nwinter\nthe old engine\ncopper\na garden in winter\n";

/* What the letters' tokens have behind a prompt, when that is tokenised with special tokens parsed and none added. */
static void check_window(wr_llm *llm, const json_t *window)
{
    const json_t *prompt = json_object_get(window, "prompt"), *logits = json_object_get(window, "logits");
    const json_t *letters = json_object_get(window, "identifiers");
    const wr_decoder *decoder = wr_llm_decoder(llm);
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    size_t vocab = wr_decoder_info_get(decoder)->vocab;
    float *all = malloc(vocab * sizeof *all);
    wr_arena arena;
    wr_tokens ids;
    wr_kv *kv;
    wr_err err;
    cr_assert(!wr_arena_init(&arena, (size_t)1 << 30));
    cr_assert(!wr_tokenizer_encode(tok, json_string_value(prompt), json_string_length(prompt), &arena, SIZE_MAX, &ids));
    cr_assert_eq(json_string_value(prompt)[json_string_length(prompt) - 1], '[');
    cr_assert(!wr_kv_open(&kv, decoder, ids.n, &err));
    cr_assert(!wr_decoder_run(decoder, kv, ids.id, ids.n, &(wr_logits){NULL, 0, all}, NULL, &arena, NULL));
    for (size_t i = 0; i < json_array_size(letters); i++) {
        char letter[2] = {(char)('A' + i), 0};
        cr_assert_str_eq(json_string_value(json_array_get(letters, i)), letter);
        cr_assert_float_eq(json_real_value(json_array_get(logits, i)), all[wr_tokenizer_id(tok, letter)], 1e-6);
    }
    wr_kv_close(kv);
    wr_arena_release(&arena);
    free(all);
}

Test(rerank, json_tells_order_and_windows_as_they_were_run)
{
    wr_llm *llm;
    wr_err err;
    json_t *reply = parsed(RUN(texts, 0, "--model", model, "--query", "old bridges", "--json", "--window", "4", "--stride",
                               "2", "--threads", "2"));
    const json_t *windows = json_object_get(reply, "windows"), *order = json_object_get(reply, "order");
    cr_assert_eq(json_array_size(order), 6u);
    cr_assert_eq(json_array_size(windows), 2u);
    bool seen[7] = {false};
    for (size_t i = 0; i < 6; i++) {
        int id = atoi(json_string_value(json_array_get(order, i)));
        cr_assert(id >= 1 && id <= 6 && !seen[id]);
        seen[id] = true;
    }
    cr_assert(!wr_llm_open(&llm, model, NULL, &err), "%s", err.text);
    for (size_t w = 0; w < 2; w++) check_window(llm, json_array_get(windows, w));
    wr_llm_close(llm);
    /* the first one run is the last one of the list */
    const char *first = json_string_value(json_object_get(json_array_get(windows, 0), "prompt"));
    cr_assert(strstr(first, "[A] winter\n[B] the old engine\n[C] copper\n[D] a garden in winter\n"), "%s", first);
    json_decref(reply);
}

Test(rerank, lines_are_in_the_order_that_json_tells)
{
    static const char in[] = "{\"id\":\"x\",\"title\":\"Rivers\",\"text\":\"a bridge\"}\n{\"text\":\"winter\"}\n{\"id\":7,"
                             "\"contents\":\"copper\"}\n";
    json_t *reply = parsed(RUN(in, 0, "--model", model, "--query", "bridges", "--json", "--listwise"));
    char *lines = RUN(in, 0, "--model", model, "--query", "bridges"), *at = lines;
    const json_t *window = json_array_get(json_object_get(reply, "windows"), 0);
    cr_assert(strstr(json_string_value(json_object_get(window, "prompt")), "[A] Title: Rivers Content: a bridge\n[B] winter\n"));
    for (size_t i = 0; i < 3; i++) {
        const char *id = json_string_value(json_array_get(json_object_get(reply, "order"), i));
        size_t passage = !strcmp(id, "x") ? 0 : !strcmp(id, "2") ? 1 : 2;
        cr_assert(!strncmp(at, id, strlen(id)) && at[strlen(id)] == '\t', "%s", lines);
        double logit = json_real_value(json_array_get(json_object_get(window, "logits"), passage));
        double printed = strtod(at + strlen(id) + 1, &at);
        cr_assert_float_eq(printed, logit, 1e-6);
        at++;
    }
    free(lines);
    json_decref(reply);
}

Test(rerank, prompt_and_template_are_the_user_s)
{
    const char *template = wr_test_text("t.jinja", "{% for m in messages %}({{ m.role }}) {{ m.content }}\n{% endfor %}>");
    json_t *reply = parsed(RUN("a\nb\n", 0, "--model", model, "--query", "q", "--json", "--prompt", "paper",
                               "--chat-template", template));
    const json_t *window = json_array_get(json_object_get(reply, "windows"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(window, "prompt")),
                     "(user) You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the "
                     "query\n I will provide you with 2 passages, each indicated by a alphabetical identifier []. Rank the "
                     "passages based on their relevance to the search query: q.\n\n[A] a\n[B] b\nSearch Query: q.\nRank the 2 "
                     "passages above based on their relevance to the search query. All the passages should be included and listed "
                     "using identifiers, in descending order of relevance. The output format should be [] > [], e.g., [B] > [A], "
                     "Only respond with the ranking results, do not say any word or explain.\n>[");
    json_decref(reply);
}

Test(rerank, a_letter_that_is_not_among_the_thirty_best_has_no_logit)
{
    json_t *all = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--json"));
    json_t *best = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--json", "--logits", "top30"));
    const json_t *a = json_object_get(json_array_get(json_object_get(all, "windows"), 0), "logits");
    const json_t *b = json_object_get(json_array_get(json_object_get(best, "windows"), 0), "logits");
    for (size_t i = 0; i < 6; i++)
        cr_assert(json_is_null(json_array_get(b, i)) || json_equal(json_array_get(a, i), json_array_get(b, i)));
    cr_assert_eq(json_array_size(json_object_get(best, "order")), 6u);
    json_decref(all);
    json_decref(best);
}

Test(rerank, pointwise_gives_each_text_a_score_of_its_own)
{
    json_t *all = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--pointwise", "--json"));
    const json_t *results = json_object_get(all, "results");
    cr_assert_eq(json_array_size(results), 6u);
    for (size_t i = 0; i < 6; i++) {
        const json_t *one = json_array_get(results, i);
        double score = json_real_value(json_object_get(one, "score"));
        if (i) cr_assert_geq(json_real_value(json_object_get(json_array_get(results, i - 1), "score")), score);
        if (strcmp(json_string_value(json_object_get(one, "id")), "3")) continue;
        char *alone = RUN("winter\n", 0, "--model", model, "--query", "q", "--pointwise", "--prompt", "yesno"), *end;
        cr_assert_float_eq(strtod(alone + 2, &end), score, 1e-6, "%s", alone);
        free(alone);
    }
    char *monot5 = RUN(texts, 0, "--model", model, "--query", "q", "--pointwise", "--prompt", "monot5");
    cr_assert_neq(monot5[0], 0);
    free(monot5);
    json_decref(all);
}

Test(rerank, an_answer_may_be_generated_to_compare_with)
{
    json_t *token = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--json"));
    json_t *list = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--json", "--generate", "list"));
    json_t *liberty = parsed(RUN(texts, 0, "--model", model, "--query", "q", "--json", "--generate", "free"));
    const json_t *window = json_array_get(json_object_get(list, "windows"), 0);
    const char *reply = json_string_value(json_object_get(window, "generated"));
    cr_assert(!json_object_get(window, "logits") && reply && strlen(reply) == 6 * 5 + 1, "%s", reply);
    cr_assert(json_equal(json_array_get(json_object_get(token, "order"), 0), json_array_get(json_object_get(list, "order"), 0)));
    cr_assert_eq(json_array_size(json_object_get(liberty, "order")), 6u);
    json_decref(token);
    json_decref(list);
    json_decref(liberty);
}

Test(rerank, no_texts_are_an_empty_order)
{
    json_t *reply = parsed(RUN("", 0, "--model", model, "--query", "q", "--json"));
    cr_assert_eq(json_array_size(json_object_get(reply, "order")), 0u);
    cr_assert_eq(json_array_size(json_object_get(reply, "windows")), 0u);
    json_decref(reply);
}

Test(rerank, what_does_not_go_together_is_a_usage_error)
{
    char *cross = strdup(wr_test_path("cross"));
    wr_test_model(cross, true, 1);
    free(RUN("", 2, "--model", model));
    free(RUN("", 2, "--model", model, "--query", "q", "--listwise", "--pointwise"));
    free(RUN("", 2, "--model", model, "--query", "q", "--prompt", "other"));
    free(RUN("", 2, "--model", model, "--query", "q", "--logits", "some"));
    free(RUN("", 2, "--model", model, "--query", "q", "--window", "27"));
    free(RUN("", 2, "--model", model, "--query", "q", "--window", "5", "--stride", "6"));
    free(RUN("", 2, "--model", model, "--query", "q", "--exit", "1"));
    free(RUN("", 2, "--model", model, "--query", "q", "--generate", "all"));
    free(RUN("", 2, "--model", model, "--query", "q", "--generate", "list", "--logits", "top30"));
    free(RUN("", 2, "--model", model, "--query", "q", "--prompt", "yesno"));
    free(RUN("", 2, "--model", model, "--query", "q", "--pointwise", "--prompt", "paper"));
    free(RUN("", 2, "--model", model, "--query", "q", "--pointwise", "--window", "5"));
    free(RUN("", 2, "--model", model, "--query", "q", "--instruction", "x"));
    free(RUN("", 2, "--model", model, "--query", "q", "--precision", "bf16"));
    free(RUN("", 2, "--model", cross, "--query", "q", "--listwise"));
    free(RUN("", 2, "--model", cross, "--query", "q", "--window", "5"));
    free(cross);
}
