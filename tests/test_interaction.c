/* Cross-encoders whose query and passage meet late: the tiny one of tests/golden/models against PyTorch, wherever the
 * two meet and whichever layer is asked; the head against its formula; what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/json.h"
#include "data/mapfile.h"
#include "models/embed.h"
#include "models/heads_interaction.h"
#include "models/kernels.h"
#include "models/microbatch.h"
#include "tests/testlib.h"

#define GOLDEN "./tests/golden/models/bert-interaction/"
enum { LAYERS = 3, POSITIONS = 40, MAX_TEXTS = 16, VOCAB = 60 };

/* The folder's bytes with `from` replaced behind `after` in one file; NULL changes nothing. */
typedef struct change {
    const char *file, *after, *from, *to;
} change;

static void copy(const char *name, const change *edit)
{
    char path[256], *bytes;
    size_t n;
    wr_err err = {0};
    snprintf(path, sizeof path, GOLDEN "%s", name);
    cr_assert_eq(wr_file_read(path, 1 << 20, &bytes, &n, &err), WR_OK, "%s", err.text);
    if (edit && !strcmp(edit->file, name)) {
        char *after = memmem(bytes, n, edit->after, strlen(edit->after));
        cr_assert_not_null(after, "%s has no %s", name, edit->after);
        char *at = memmem(after, n - (size_t)(after - bytes), edit->from, strlen(edit->from));
        cr_assert_not_null(at, "%s has no %s", name, edit->from);
        size_t head = (size_t)(at - bytes), skip = strlen(edit->from), add = strlen(edit->to);
        char *all = malloc(n - skip + add);
        memcpy(all, bytes, head);
        memcpy(all + head, edit->to, add);
        memcpy(all + head + add, at + skip, n - head - skip);
        wr_test_file(name, all, n - skip + add);
        free(all);
    } else {
        wr_test_file(name, bytes, n);
    }
    free(bytes);
}

static const char *changed(const change *edit)
{
    static const char *const names[] = {"config.json", "vocab.txt", "model.safetensors", "sentence_bert_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) copy(names[i], edit);
    return wr_test_dir();
}

static wr_model *open_in(const char *dir, const char *precision)
{
    wr_model *model;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&model, dir, &(wr_model_options){.precision = precision}, &err), WR_OK, "%s", err.text);
    return model;
}

/* The model with its parts meeting behind layer `join`. */
static wr_model *joined_at(size_t join, const char *precision)
{
    char text[32];
    snprintf(text, sizeof text, "\"join_layer\": %zu", join);
    return open_in(changed(&(change){"config.json", "", "\"join_layer\": 2", text}), precision);
}

static json_t *expected(void)
{
    json_t *root;
    wr_err err = {0};
    cr_assert_eq(wr_json_load(&root, GOLDEN "expected.json", 1 << 20, &err), WR_OK, "%s", err.text);
    return root;
}

static wr_text text_of(const json_t *string)
{
    return (wr_text){json_string_value(string), json_string_length(string)};
}

static size_t texts_of(const json_t *root, wr_text *text)
{
    const json_t *texts = json_object_get(root, "texts");
    size_t n = json_array_size(texts);
    cr_assert(n > 0 && n <= MAX_TEXTS);
    for (size_t i = 0; i < n; i++) text[i] = text_of(json_array_get(texts, i));
    return n;
}

/* ---- what PyTorch says ---- */

static void check_case(const json_t *each, const wr_model *model, const wr_text *text, size_t n, double tolerance)
{
    float score[MAX_TEXTS];
    bool done[MAX_TEXTS], cut[MAX_TEXTS];
    json_int_t exit = json_integer_value(json_object_get(each, "exit"));
    wr_effort effort = {.exit = (size_t)exit};
    wr_text query = text_of(json_object_get(each, "query"));
    cr_assert_eq(wr_score_texts_with(model, &effort, NULL, query, text, n, NULL, score, done, cut), WR_OK);
    cr_assert(cut[4] && cut[0] == (query.n > 100), "only what does not fit together is cut");
    for (size_t i = 0; i < n; i++) {
        double want = json_number_value(json_array_get(json_object_get(each, "scores"), i));
        cr_assert_float_eq(score[i], want, tolerance,
                           "join %zu, exit %d, query \"%.10s\", text %zu: %.8g, expected %.8g",
                           wr_model_info_get(model)->join_layer, (int)exit, query.bytes, i, score[i], want);
    }
}

static void check_all(const char *precision, double tolerance)
{
    wr_text text[MAX_TEXTS];
    json_t *root = expected(), *each;
    size_t i, n = texts_of(root, text), checked = 0;
    for (size_t join = 0; join <= LAYERS; join++) {
        wr_model *model = joined_at(join, precision);
        json_array_foreach(json_object_get(root, "cases"), i, each)
        {
            if ((size_t)json_integer_value(json_object_get(each, "join")) != join) continue;
            check_case(each, model, text, n, tolerance);
            checked++;
        }
        wr_model_close(model);
    }
    cr_assert_eq(checked, 3 * LAYERS * (LAYERS + 1));
    json_decref(root);
}

Test(interaction, scores_equal_pytorch_wherever_the_parts_meet_and_at_every_exit)
{
    check_all(NULL, 1e-5);
}

Test(interaction, so_they_do_with_blas)
{
    setenv("WEIR_ISA", "ref", 1);
    check_all(NULL, 1e-5);
}

Test(interaction, in_int8_they_stay_near)
{
    check_all("int8", 0.15); /* twenty numbers of random weights in each row: scores are spread over 2 */
}

/* ---- the head ---- */

static double norm(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return fmax(sqrt(sum), 1e-12);
}

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

/* The formula, word by word. */
static double score_of(const wr_interaction *h, const float *q, size_t nq, const float *p, size_t np)
{
    size_t dim = h->dim;
    float mean[2][64] = {{0}};
    double total = 0, m = 0;
    for (size_t i = 0; i < (nq + np) * dim; i++)
        mean[i >= nq * dim][i % dim] += (i < nq * dim ? q[i] : p[i - nq * dim]) / (float)(i < nq * dim ? nq : np);
    for (size_t i = 1; i + 1 < nq; i++) total += exp(dot(h->term, q + i * dim, dim));
    for (size_t i = 1; i + 1 < nq; i++) {
        double best = -1;
        for (size_t j = 0; j < np; j++)
            best = fmax(best, dot(q + i * dim, p + j * dim, dim) / norm(q + i * dim, dim) / norm(p + j * dim, dim));
        m += exp(dot(h->term, q + i * dim, dim)) / total * best;
    }
    double c = dot(mean[0], mean[1], dim) / norm(mean[0], dim) / norm(mean[1], dim);
    return h->weight[0] * c + h->weight[1] * m + dot(h->passage, p, dim) + h->bias;
}

Test(interaction, the_head_is_its_formula_whatever_the_sizes)
{
    enum { DIM = 40, ROWS = 60 };
    static const struct {
        size_t nq, np;
    } sizes[] = {{2, 2}, {3, 2}, {4, 17}, {12, 48}, {30, 30}, {2, 58}};
    static float states[ROWS * DIM], u[DIM], v[DIM], w[2] = {1.5f, -2.5f};
    wr_test_random random = {5};
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    for (size_t i = 0; i < ROWS * DIM; i++) states[i] = wr_test_normal(&random);
    for (size_t i = 0; i < DIM; i++) u[i] = wr_test_normal(&random) * .2f, v[i] = wr_test_normal(&random) * .2f;
    wr_interaction head = {.dim = DIM, .weight = w, .term = u, .passage = v, .bias = .25f};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t type[ROWS] = {0};
        uint32_t cu[2] = {0, (uint32_t)(sizes[s].nq + sizes[s].np)};
        float got;
        memset(type + sizes[s].nq, 1, sizes[s].np);
        wr_batch batch = {.type = type, .cu = cu, .nseq = 1};
        cr_assert_eq(wr_interaction_run(&head, states, &batch, cu, &arena, &got), WR_OK);
        cr_assert_leq(arena.used, wr_interaction_arena_bytes(DIM, cu[1]));
        double want = score_of(&head, states, sizes[s].nq, states + sizes[s].nq * DIM, sizes[s].np);
        cr_assert_float_eq(got, want, 3e-6, "%zu and %zu rows: %.9g, expected %.9g", sizes[s].nq, sizes[s].np, got,
                           want);
        wr_arena_rollback(&arena, 0);
    }
    wr_arena_release(&arena);
}

Test(interaction, states_of_zero_are_no_division_by_zero)
{
    static const float states[5 * 8], ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    wr_interaction head = {.dim = 8, .weight = ones, .term = ones, .passage = ones, .bias = .5f};
    uint32_t cu[2] = {0, 5};
    uint8_t type[5] = {0, 0, 0, 1, 1};
    float got;
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 1 << 16), WR_OK);
    wr_batch batch = {.type = type, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_interaction_run(&head, states, &batch, cu, &arena, &got), WR_OK);
    cr_assert_eq(got, .5f);
    wr_arena_release(&arena);
}

/* ---- batches ---- */

enum { NSEQ = 48 };

typedef struct pairs {
    uint32_t id[NSEQ * POSITIONS], cu[NSEQ + 1];
    uint8_t type[NSEQ * POSITIONS];
    wr_batch batch;
} pairs;

/* Pairs of random parts; so many in a row have the same query, as a list that is ranked has it. */
static pairs *random_pairs(size_t alike)
{
    static pairs p;
    wr_test_random random = {11};
    uint32_t nq = 0;
    for (size_t s = 0; s < NSEQ; s++) {
        bool again = s % alike;
        if (!again) nq = 2 + (uint32_t)wr_test_below(&random, 12);
        uint32_t begin = p.cu[s], n = nq + 2 + (uint32_t)wr_test_below(&random, POSITIONS - nq - 1);
        for (uint32_t t = 0; t < n; t++) {
            p.id[begin + t] = again && t < nq ? p.id[p.cu[s - 1] + t] : (uint32_t)wr_test_below(&random, VOCAB);
            p.type[begin + t] = t >= nq;
        }
        p.cu[s + 1] = begin + n;
    }
    p.batch = (wr_batch){.id = p.id, .type = p.type, .cu = p.cu, .nseq = NSEQ};
    return &p;
}

static void score(const wr_model *model, const wr_batch *batch, const wr_effort *effort, float *out)
{
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, 64 << 20), WR_OK);
    cr_assert_eq(wr_model_score_with(model, batch, effort, &arena, NULL, out), WR_OK);
    cr_assert_eq(arena.used, 0, "the arena is rolled back");
    wr_arena_release(&arena);
}

static void check_singles(const wr_model *model, const pairs *p, const wr_effort *effort)
{
    float all[NSEQ], one;
    score(model, &p->batch, effort, all);
    for (size_t s = 0; s < NSEQ; s++) {
        uint32_t alone[2] = {0, p->cu[s + 1] - p->cu[s]};
        wr_batch single = {.id = p->id + p->cu[s], .type = p->type + p->cu[s], .cu = alone, .nseq = 1};
        score(model, &single, effort, &one);
        cr_assert_eq(memcmp(&one, &all[s], sizeof one), 0, "join %zu, exit %zu, keep %g: pair %zu",
                     wr_model_info_get(model)->join_layer, effort->exit, effort->keep, s);
    }
}

Test(interaction, a_batch_equals_singles_bit_for_bit_whoever_shares_a_query)
{
    static const wr_effort efforts[] = {{0}, {.exit = 1}, {.exit = 2}, {.keep = .4f}, {.exit = 2, .keep = .7f}};
    static const char *const precisions[] = {NULL, "int8"};
    for (size_t p = 0; p < 2; p++)
        for (size_t join = 0; join <= LAYERS; join++) {
            wr_model *model = joined_at(join, precisions[p]);
            for (size_t e = 0; e < sizeof efforts / sizeof *efforts; e++)
                for (size_t alike = 1; alike <= NSEQ; alike *= alike == 1 ? 6 : 8)
                    check_singles(model, random_pairs(alike), &efforts[e]);
            wr_model_close(model);
        }
}

/* Scores by another process, whose kernels are those of `isa`. */
static const float *scores_on(const char *isa, const char *precision)
{
    float *out = mmap(NULL, 4 * NSEQ * sizeof *out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    wr_test_dir();
    pid_t child = fork();
    if (child == 0) {
        setenv("WEIR_ISA", isa, 1);
        wr_model *model = open_in(GOLDEN, precision);
        for (size_t e = 0; e < LAYERS + 1; e++)
            score(model, &random_pairs(NSEQ)->batch, &(wr_effort){.exit = e}, out + e * NSEQ);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return out;
}

Test(interaction, every_instruction_set_gives_the_same_bits)
{
    static const char *const levels[] = {"avx512", "avx512_vnni"};
    wr_kernels k;
    if (!wr_kernels_for("avx2", &k)) cr_skip_test("BLAS multiplies here");
    for (int bytes = 0; bytes < 2; bytes++) {
        const float *want = scores_on("avx2", bytes ? "int8" : NULL);
        for (size_t i = 0; i < 2 && wr_kernels_for(levels[i], &k); i++)
            cr_assert_eq(memcmp(want, scores_on(levels[i], bytes ? "int8" : NULL), 4 * NSEQ * sizeof *want), 0, "%s",
                         levels[i]);
    }
}

Test(interaction, threads_and_a_deadline_change_no_bit)
{
    wr_text text[MAX_TEXTS], query = {"how old is the weir?", 20};
    float alone[MAX_TEXTS], crowd[MAX_TEXTS], hurried[MAX_TEXTS];
    bool done[MAX_TEXTS];
    json_t *root = expected();
    size_t n = texts_of(root, text);
    wr_pool *pool;
    wr_budget budget;
    wr_err err;
    wr_model *model = open_in(GOLDEN, NULL);
    cr_assert_eq(wr_pool_open(&pool, 4, wr_model_thread_init, &err), WR_OK);
    cr_assert_eq(wr_score_texts(model, NULL, query, text, n, NULL, alone, done, NULL), WR_OK);
    cr_assert_eq(wr_score_texts(model, pool, query, text, n, NULL, crowd, done, NULL), WR_OK);
    wr_budget_start(&budget, NULL, 1e9, 0, 0);
    cr_assert_eq(wr_score_texts(model, pool, query, text, n, &budget, hurried, done, NULL), WR_OK);
    cr_assert_eq(memcmp(alone, crowd, n * sizeof *alone), 0);
    cr_assert_eq(memcmp(alone, hurried, n * sizeof *alone), 0);
    wr_pool_close(pool);
    wr_model_close(model);
    json_decref(root);
}

Test(interaction, tokens_are_dropped_only_where_the_parts_have_met)
{
    static const wr_effort all = {.keep = 1}, some = {.keep = .3f};
    float plain[NSEQ], got[NSEQ];
    const wr_batch *batch = &random_pairs(1)->batch;
    for (size_t join = 0; join <= LAYERS; join++) {
        wr_model *model = joined_at(join, NULL);
        score(model, batch, NULL, plain);
        score(model, batch, &all, got);
        cr_assert_eq(memcmp(plain, got, sizeof got), 0);
        score(model, batch, &some, got);
        cr_assert_eq(memcmp(plain, got, sizeof got) == 0, join >= LAYERS - 1, "join %zu", join);
        wr_model_close(model);
    }
}

Test(interaction, arena_bytes_are_enough)
{
    float out[NSEQ];
    wr_arena arena;
    wr_model *model = open_in(GOLDEN, NULL);
    for (size_t n = 1; n <= NSEQ; n += 5) {
        wr_batch batch = random_pairs(NSEQ)->batch;
        batch.nseq = n;
        cr_assert_eq(wr_arena_init(&arena, wr_model_arena_bytes(model, batch.cu[n], POSITIONS + 12)), WR_OK);
        cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, out), WR_OK, "%zu pairs", n);
        wr_arena_release(&arena);
    }
    wr_model_close(model);
}

/* ---- what it says of itself, and what is refused ---- */

Test(interaction, info_tells_where_the_parts_meet)
{
    wr_model *model = open_in(GOLDEN, NULL);
    const wr_model_info *info = wr_model_info_get(model);
    cr_assert_eq(info->kind, WR_MODEL_CROSS);
    cr_assert_eq(info->nlabels, 1);
    cr_assert(info->joins);
    cr_assert_eq(info->join_layer, 2);
    cr_assert_eq(info->nexits, 3);
    cr_assert_eq(info->max_doc_tokens, 36);
    wr_model_close(model);
}

Test(interaction, parts_are_cut_longest_first_beside_four_special_tokens)
{
    wr_model *model = open_in(GOLDEN, NULL);
    uint32_t many[50] = {0}, id[64];
    uint8_t type[64];
    bool cut;
    wr_tokens a = {.id = many, .n = 3}, b = {.id = many, .n = 50}, none = {.id = many};
    const wr_tokenizer *tok = wr_model_tokenizer(model);
    cr_assert_eq(wr_tokenizer_parts(tok, &a, &b, 36, id, type, &cut), 36);
    cr_assert(cut && id[0] == 2 && id[4] == 3 && id[5] == 2 && id[35] == 3);
    for (size_t i = 0; i < 36; i++) cr_assert_eq(type[i], i >= 5);
    cr_assert_eq(wr_tokenizer_parts(tok, &b, &b, 37, id, type, &cut), 37);
    cr_assert(type[17] == 0 && id[17] == 3 && type[18] == 1 && id[18] == 2);
    cr_assert_eq(wr_tokenizer_parts(tok, &none, &none, 36, id, type, &cut), 4);
    cr_assert_not(cut);
    cr_assert_eq(wr_tokenizer_parts(tok, &a, &b, 3, id, type, &cut), 3);
    wr_model_close(model);
}

Test(interaction, a_batch_that_does_not_tell_two_parts_is_refused)
{
    static const uint8_t bad[][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {0, 1, 0, 1}, {0, 0, 2, 2}, {1, 0, 0, 1}};
    uint32_t id[4] = {2, 3, 2, 3}, cu[2] = {0, 4};
    float out;
    wr_arena arena;
    wr_model *model = open_in(GOLDEN, NULL);
    cr_assert_eq(wr_arena_init(&arena, 16 << 20), WR_OK);
    wr_batch batch = {.id = id, .cu = cu, .nseq = 1};
    cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, &out), WR_EARG, "no types");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        batch.type = bad[i];
        cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, &out), WR_EARG, "types %zu", i);
    }
    batch.type = (const uint8_t[]){0, 0, 1, 1};
    cr_assert_eq(wr_model_score(model, &batch, &arena, NULL, &out), WR_OK);
    cr_assert_eq(wr_model_embed(model, &batch, &arena, NULL, &out), WR_EARG, "no embedder");
    wr_arena_release(&arena);
    wr_model_close(model);
}

static void refuses(change edit, const char *word, const char *other)
{
    wr_model *model = (wr_model *)1;
    wr_err err = {0};
    cr_assert_eq(wr_model_open(&model, changed(&edit), NULL, &err), WR_EFORMAT, "%s", err.text);
    cr_assert_null(model);
    cr_assert(strstr(err.text, word) && strstr(err.text, other), "%s", err.text);
}

Test(interaction, a_join_that_is_no_layer_is_refused)
{
    static const char *const bad[] = {"4", "-1", "1.5", "\"2\"", "99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses((change){"config.json", "\"join_layer\"", "2", bad[i]}, "join_layer", "0 to 3");
    refuses((change){"config.json", "", "\"join_layer\"", "\"another\""}, "join_layer", "no ");
}

Test(interaction, a_head_that_is_not_whole_is_refused)
{
    static const char *const names[] = {"\"interaction.weight\"",         "\"interaction.term.weight\"",
                                        "\"interaction.passage.weight\"", "\"interaction.passage.bias\"",
                                        "\"exits.1.interaction.weight\"", "\"exits.1.interaction.passage.bias\""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char other[64], name[64];
        snprintf(other, sizeof other, "%s", names[i]);
        snprintf(name, sizeof name, "%.*s", (int)strlen(names[i]) - 2, names[i] + 1);
        other[strlen(other) - 2] = 'X';
        refuses((change){"model.safetensors", "", names[i], other}, name, "missing");
    }
    refuses((change){"model.safetensors", "\"interaction.term.weight\"", "[1,20]", "[20,1]"}, "interaction.term.weight",
            "[1, 20]");
    refuses((change){"model.safetensors", "\"exits.1.interaction.passage.weight\"", "[1,20]", "[20,1]"},
            "exits.1.interaction.passage.weight", "[1, 20]");
    refuses((change){"model.safetensors", "\"interaction.weight\"", "[2]", "[8]"}, "model.safetensors", "");
}

Test(interaction, an_exit_without_a_head_has_the_models_own)
{
    float one[NSEQ], two[NSEQ];
    const wr_batch *batch = &random_pairs(1)->batch;
    wr_model *model = open_in(GOLDEN, NULL);
    score(model, batch, &(wr_effort){.exit = 1}, one);
    wr_model_close(model);
    model = open_in(changed(&(change){"config.json", "exit_layers", "\n  1,", ""}), NULL);
    score(model, batch, &(wr_effort){.exit = 1}, two);
    cr_assert_neq(memcmp(one, two, sizeof one), 0, "what is not listed is not looked for");
    wr_model_close(model);
}
