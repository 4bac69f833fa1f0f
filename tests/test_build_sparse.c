/* Building an index with a dense and a sparse model: one pass of the encoder that both share against two, and how many
 * tokens of a document are kept. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "data/mapfile.h"
#include "indexer/batch.h"
#include "indexer/build.h"
#include "indexer/defaults.h"
#include "indexer/lexical.h"
#include "indexer/manifest.h"
#include "models/embed.h"
#include "models/find.h"
#include "models/safetensors_write.h"
#include "models/weights.h"
#include "tests/testlib.h"
#include "tests/testlib_model.h"

/* wr_test_path(), with room for every name. */
static const char *place(const char *name)
{
    enum { NAMES = 32 };
    static char path[NAMES][600], known[NAMES][64];
    static size_t n;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(known[i], name)) return path[i];
    cr_assert_lt(n, NAMES);
    snprintf(known[n], sizeof known[n], "%s", name);
    snprintf(path[n], sizeof path[n], "%s/%s", wr_test_dir(), name);
    return path[n++];
}

/* ---- a sparse model on a dense model's encoder ---- */

typedef struct partner {
    const char *strip, *add; /* prefix of the dense model's tensors, and what they get instead     */
    const char *spoil;       /* the tensor, by the dense model's name, one bit of which is changed */
    const char *drop;        /* or which is left out                                               */
    const char *config;      /* more members for config.json, with a comma in front                */
    bool int8_head;
} partner;

enum { MAX_TENSORS = 256, MAX_OWNED = 512 };

typedef struct output {
    wr_tensor tensor[MAX_TENSORS];
    void *owned[MAX_OWNED];
    size_t n, nowned;
} output;

static void *own(output *o, size_t bytes)
{
    cr_assert_lt(o->nowned, MAX_OWNED);
    void *memory = malloc(bytes ? bytes : 1);
    cr_assert(memory);
    return o->owned[o->nowned++] = memory;
}

static void add(output *o, const char *name, wr_dtype dtype, size_t rows, size_t cols, const void *data)
{
    char *copy = own(o, strlen(name) + 1);
    strcpy(copy, name);
    cr_assert_lt(o->n, MAX_TENSORS);
    wr_tensor *t = &o->tensor[o->n++];
    *t = (wr_tensor){.name = copy, .dtype = dtype, .ndim = rows ? 2 : 1, .data = data};
    t->dim[0] = rows ? rows : cols;
    if (rows) t->dim[1] = cols;
    t->bytes = (rows ? rows : 1) * cols * wr_dtype_bytes(dtype);
}

static float *random_floats(output *o, wr_test_random *random, size_t n, float centre, float scale)
{
    float *x = own(o, n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = centre + scale * wr_test_normal(random);
    return x;
}

static void add_head(output *o, size_t dim, size_t vocab, bool int8)
{
    static const char dense[] = "cls.predictions.transform.dense.weight";
    wr_test_random random = {dim};
    float *w = random_floats(o, &random, dim * dim, 0, 1.5f / (float)dim);
    if (int8) {
        int8_t *q = own(o, dim * dim);
        float *scale = own(o, dim * sizeof *scale);
        wr_round_rows(w, NULL, dim, dim, q, scale);
        add(o, dense, WR_I8, dim, dim, q);
        add(o, "cls.predictions.transform.dense.weight_scale", WR_F32, 0, dim, scale);
    } else {
        add(o, dense, WR_F32, dim, dim, w);
    }
    add(o, "cls.predictions.transform.dense.bias", WR_F32, 0, dim, random_floats(o, &random, dim, 0, .1f));
    add(o, "cls.predictions.transform.LayerNorm.weight", WR_F32, 0, dim, random_floats(o, &random, dim, 1, .1f));
    add(o, "cls.predictions.transform.LayerNorm.bias", WR_F32, 0, dim, random_floats(o, &random, dim, 0, .1f));
    add(o, "cls.predictions.bias", WR_F32, 0, vocab, random_floats(o, &random, vocab, 0, .1f));
}

/* The encoder's tensors, renamed; with what is to be wrong with them. */
static void take_over(output *o, const wr_tensors *from, const partner *p)
{
    for (size_t i = 0; i < wr_tensors_count(from); i++) {
        const wr_tensor *t = wr_tensors_at(from, i);
        char name[WR_MAX_TENSOR_NAME];
        if (p->drop && !strcmp(p->drop, t->name)) continue;
        cr_assert_eq(strncmp(t->name, p->strip, strlen(p->strip)), 0, "%s", t->name);
        snprintf(name, sizeof name, "%s%s", p->add, t->name + strlen(p->strip));
        add(o, name, t->dtype, t->ndim == 2 ? t->dim[0] : 0, t->dim[t->ndim - 1], t->data);
        if (!p->spoil || strcmp(p->spoil, t->name)) continue;
        unsigned char *changed = memcpy(own(o, t->bytes), t->data, t->bytes);
        changed[t->bytes / 2] ^= 1;
        o->tensor[o->n - 1].data = changed;
    }
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[600];
    wr_err err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(wr_file_replace(path, text, strlen(text), &err), WR_OK, "%s", err.text);
}

/* The dense model's config.json with another architecture. */
static void put_config(const char *dense, const char *dir, const char *more)
{
    static const char was[] = "\"BertModel\"";
    char path[600], *text, *at, *end, config[4096];
    size_t n;
    wr_err err;
    snprintf(path, sizeof path, "%s/config.json", dense);
    cr_assert_eq(wr_file_read(path, 2048, &text, &n, &err), WR_OK, "%s", err.text);
    cr_assert_not_null(at = strstr(text, was));
    cr_assert_not_null(end = strrchr(text, '}'));
    snprintf(config, sizeof config, "%.*s\"BertForMaskedLM\"%.*s%s}", (int)(at - text), text,
             (int)(end - at - (long)strlen(was)), at + strlen(was), more ? more : "");
    put(dir, "config.json", config);
    free(text);
}

static const char *make_partner(const char *dense, const char *name, partner p)
{
    const char *dir = place(name);
    char path[600], command[2048];
    output *o = calloc(1, sizeof *o);
    wr_tensors *from;
    wr_err err;
    snprintf(command, sizeof command,
             "rm -rf '%s' && mkdir -p '%s/1_SpladePooling' && for f in tokenizer.json vocab.txt tokenizer_config.json "
             "special_tokens_map.json sentence_bert_config.json; do [ ! -f '%s'/$f ] || cp '%s'/$f '%s'/; done",
             dir, dir, dense, dense, dir);
    cr_assert_eq(system(command), 0);
    put_config(dense, dir, p.config);
    put(dir, "modules.json",
        "[{\"idx\":0,\"path\":\"\",\"type\":\"sentence_transformers.models.MLMTransformer\"},"
        "{\"idx\":1,\"path\":\"1_SpladePooling\",\"type\":\"sentence_transformers.models.SpladePooling\"}]");
    put(dir, "1_SpladePooling/config.json", "{\"pooling_strategy\":\"max\",\"activation_function\":\"log1p_relu\"}");
    put(dir, "idf.json", "{\"a\": 3.5, \"e\": 2, \"##s\": 0.25, \"river\": 5}");
    cr_assert_eq(wr_tensors_open(&from, dense, &err), WR_OK, "%s", err.text);
    take_over(o, from, &p);
    snprintf(path, sizeof path, "%sembeddings.word_embeddings.weight", p.strip);
    const wr_tensor *word = wr_tensors_find(from, path);
    cr_assert_not_null(word);
    add_head(o, word->dim[1], word->dim[0], p.int8_head);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    cr_assert_eq(wr_safetensors_write(path, o->tensor, o->n, &err), WR_OK, "%s", err.text);
    wr_tensors_close(from);
    for (size_t i = 0; i < o->nowned; i++) free(o->owned[i]);
    free(o);
    return dir;
}

/* ---- building with both ---- */

static const char *corpus(size_t n)
{
    static const char *const words[] = {"water", "river", "weir",  "wind", "fish", "old",    "new",
                                        "stone", "over",  "flows", "what", "how",  "bridge", "salmon"};
    const char *path = place("corpus.jsonl");
    wr_test_random random = {n};
    FILE *f = fopen(path, "w");
    cr_assert(f);
    for (size_t i = 0; i < n; i++) {
        fprintf(f, "{\"_id\":\"d%zu\",\"title\":\"%s\",\"text\":\"", i, i % 3 ? "" : words[i % 14]);
        for (size_t left = wr_test_below(&random, 25); left; left--)
            fprintf(f, "%s ", words[wr_test_below(&random, 14)]);
        fputs("\"}\n", f);
    }
    fclose(f);
    return path;
}

static wr_model *open_model(const char *dir, wr_model_options options)
{
    wr_model *model;
    wr_err err;
    cr_assert_eq(wr_model_open(&model, dir, &options, &err), WR_OK, "%s", err.text);
    return model;
}

static wr_build_report built(const char *out, wr_build_options o, unsigned threads)
{
    wr_build_report report;
    wr_pool *pool;
    wr_err err;
    cr_assert_eq(wr_pool_open(&pool, threads, wr_dense_thread_init, &err), WR_OK);
    o.out = place(out);
    o.bm25 = (wr_bm25_params){.9, .4};
    o.pool = pool;
    cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    wr_pool_close(pool);
    return report;
}

static char *text_of(const char *dir, const char *name)
{
    char path[600], *text;
    size_t n;
    wr_err err;
    snprintf(path, sizeof path, "%s/%s", place(dir), name);
    cr_assert_eq(wr_file_read(path, 1 << 22, &text, &n, &err), WR_OK, "%s", err.text);
    return text;
}

/* The manifest has checksums of everything else; its time and its own checksum do not count that. */
static void assert_same_index(const char *a, const char *b)
{
    char *x = text_of(a, "manifest.json"), *y = text_of(b, "manifest.json");
    char *const both[] = {x, y};
    for (size_t i = 0; i < 2; i++) {
        char *line = strstr(both[i], "  \"created\":");
        cr_assert_not_null(line);
        memset(line, ' ', strcspn(line, "\n"));
    }
    cr_assert_str_eq(x, y);
    free(x);
    free(y);
}

static void one_equals_two(const char *dense_dir, wr_model_options dense_options, const char *sparse_dir,
                           wr_build_options o)
{
    wr_model *dense = open_model(dense_dir, dense_options);
    wr_model *sparse = open_model(sparse_dir, (wr_model_options){.precision = dense_options.precision});
    wr_dir_remove(place("one"), NULL);
    wr_dir_remove(place("two"), NULL);
    o.dense = dense;
    o.sparse = sparse;
    cr_assert(built("one", o, 3).one_pass);
    o.two_passes = true;
    cr_assert_not(built("two", o, 1).one_pass);
    assert_same_index("one", "two");
    wr_model_close(dense);
    wr_model_close(sparse);
}

/* Whatever the pooling and the arithmetic, and whatever the tensors' prefix is. */
Test(build_sparse, one_pass_gives_the_bytes_of_two)
{
    const char *dense = place("dense");
    wr_test_model(dense, false, 5);
    const char *sparse = make_partner(dense, "sparse", (partner){.strip = "bert.", .add = ""});
    const wr_build_options o = {.corpus = corpus(150), .idf = WR_IDF_CORPUS};
    one_equals_two(dense, (wr_model_options){0}, sparse, o);
    one_equals_two(dense, (wr_model_options){.precision = "int8"}, sparse, o);
    one_equals_two(dense, (wr_model_options){.precision = "int8", .pooling = WR_POOL_CLS}, sparse, o);
    one_equals_two(dense, (wr_model_options){.precision = "int8", .pooling = WR_POOL_MAX}, sparse, o);
}

/* The encoder's bytes with a head of floats, and of bytes: both are read. */
Test(build_sparse, the_shipped_encoder_serves_a_sparse_head_too, .timeout = 300)
{
    const char *dense = "models/weir-dense";
    if (!wr_path_is_dir(dense)) cr_skip_test("models/weir-dense is not there");
    for (int int8 = 0; int8 < 2; int8++) {
        const char *sparse =
            make_partner(dense, "sparse", (partner){.strip = "", .add = "bert.", .int8_head = int8 != 0});
        one_equals_two(dense, (wr_model_options){0}, sparse, (wr_build_options){.corpus = corpus(12), .density = 50});
    }
}

static bool one_pass(const char *dense_dir, const char *sparse_dir, wr_model_options options)
{
    wr_model *dense = open_model(dense_dir, (wr_model_options){0}), *sparse = open_model(sparse_dir, options);
    bool shared = wr_model_one_pass(dense, sparse);
    cr_assert_not(wr_model_one_pass(sparse, dense));
    wr_model_close(dense);
    wr_model_close(sparse);
    return shared;
}

Test(build_sparse, encoders_that_differ_take_two_passes)
{
    const char *dense = place("dense"), *other = place("other");
    const partner same = {.strip = "bert.", .add = "bert."};
    wr_test_model(dense, false, 5);
    wr_test_model(other, false, 6);
    cr_assert(one_pass(dense, make_partner(dense, "s", same), (wr_model_options){0}));
    cr_assert_not(one_pass(other, make_partner(dense, "s", same), (wr_model_options){0}), "other weights");
    cr_assert_not(one_pass(dense, make_partner(dense, "s", same), (wr_model_options){.max_doc_tokens = 60}), "a limit");
    cr_assert_not(one_pass(dense, make_partner(dense, "s", same), (wr_model_options){.precision = "int8"}), "bytes");
    cr_assert_not(one_pass(dense, make_partner(dense, "s", same), (wr_model_options){.tokenizer_only = true}));
    static const char *const tensors[] = {"bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.bias",
                                          "bert.encoder.layer.0.attention.self.value.weight",
                                          "bert.encoder.layer.1.output.LayerNorm.weight"};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        partner p = same;
        p.spoil = tensors[i];
        cr_assert_not(one_pass(dense, make_partner(dense, "s", p), (wr_model_options){0}), "a bit of %s", tensors[i]);
    }
    const char *changed = make_partner(dense, "s", same);
    char *config = text_of("s", "config.json"), *eps = strstr(config, "1e-12");
    cr_assert_not_null(eps);
    memcpy(eps, "1e-05", 5);
    put(changed, "config.json", config);
    free(config);
    cr_assert_not(one_pass(dense, changed, (wr_model_options){0}), "a norm's epsilon");
    partner density = same;
    density.config = ",\"sparse_density\":9";
    cr_assert(one_pass(dense, make_partner(dense, "s", density), (wr_model_options){0}), "what no encoder reads");
    changed = make_partner(dense, "s", same);
    put(changed, "tokenizer_config.json", "{\"do_lower_case\": false}");
    cr_assert_not(one_pass(dense, changed, (wr_model_options){0}), "a tokenizer");
}

/* ---- density ---- */

/* The tokens that the index has of document d, and what a query with each would lose: weight * query weight. */
static size_t tokens_of(const wr_index *index, const wr_tokenizer *tok, uint32_t d, bool *has)
{
    size_t n = 0;
    for (uint32_t id = 0; id < wr_tokenizer_vocab_size(tok); id++) {
        const char *token = wr_tokenizer_token(tok, id);
        int64_t term = token ? wr_sparse_term(wr_index_sparse(index), token, strlen(token)) : -1;
        has[id] = term >= 0 && wr_sparse_impact(wr_index_sparse(index), (uint32_t)term, d) > 0;
        n += has[id];
    }
    return n;
}

static wr_index *open_index(const char *dir)
{
    wr_index *index;
    wr_err err;
    cr_assert_eq(wr_index_open(&index, place(dir), &err), WR_OK, "%s", err.text);
    return index;
}

/* No token that was left out weighs more, times the query's weight, than one that was kept. */
static void check_density(const char *dir, const wr_model *sparse, size_t density, bool weighed)
{
    wr_index *index = open_index(dir);
    wr_docreader *reader;
    wr_err err;
    wr_arena arena;
    const wr_idf *idf = wr_model_idf(sparse);
    bool has[512];
    cr_assert_eq(wr_index_info_get(index)->sparse_density, density);
    cr_assert_eq(wr_arena_init(&arena, 1 << 20), WR_OK);
    cr_assert_eq(wr_docreader_open(&reader, wr_index_docstore(index), &err), WR_OK);
    for (uint32_t d = 0; d < wr_index_ndocs(index); d++) {
        wr_doc doc;
        wr_text text;
        wr_token_weights w;
        float least = INFINITY, most = 0;
        cr_assert_eq(wr_docreader_get(reader, d, &doc), WR_OK);
        cr_assert_eq(wr_doc_join(&doc, &arena, &text), WR_OK);
        cr_assert_eq(wr_sparse_texts(sparse, NULL, &text, 1, false, NULL, &w, NULL), WR_OK);
        size_t n = tokens_of(index, wr_model_tokenizer(sparse), d, has), want = w.n;
        cr_assert_eq(n, density && density < want ? density : want);
        for (size_t i = 0; i < w.n; i++) {
            float loss = w.weight[i] * (weighed ? idf->weight[w.id[i]] : 1);
            if (has[w.id[i]])
                least = loss < least ? loss : least;
            else
                most = loss > most ? loss : most;
        }
        cr_assert_leq(most, least, "document %u", d);
        wr_token_weights_release(&w, 1);
    }
    wr_docreader_close(reader);
    wr_arena_release(&arena);
    wr_index_close(index);
}

Test(build_sparse, a_document_keeps_the_tokens_whose_loss_would_be_largest)
{
    const char *dense = place("dense");
    wr_test_model(dense, false, 7);
    const char *dir =
        make_partner(dense, "sparse", (partner){.strip = "bert.", .add = "bert.", .config = ",\"sparse_density\":9"});
    wr_model *sparse = open_model(dir, (wr_model_options){0});
    wr_build_options o = {.corpus = corpus(60), .sparse = sparse};
    cr_assert_eq(wr_model_info_get(sparse)->density, 9);
    wr_build_report model = built("model", o, 2);
    check_density("model", sparse, 9, true);
    cr_assert_leq(model.sparse_postings, 9 * 60);
    o.density = 4;
    cr_assert_lt(built("four", o, 1).sparse_postings, model.sparse_postings);
    check_density("four", sparse, 4, true);
    o.density = WR_DENSITY_ALL;
    cr_assert_gt(built("all", o, 1).sparse_postings, model.sparse_postings);
    check_density("all", sparse, 0, true);
    o.density = 4;
    o.idf = WR_IDF_CORPUS; /* the model's own table stands in */
    built("corpus", o, 1);
    check_density("corpus", sparse, 4, true);
    wr_model_close(sparse);
    char path[600];
    snprintf(path, sizeof path, "%s/idf.json", dir);
    cr_assert_eq(remove(path), 0);
    o.sparse = sparse = open_model(dir, (wr_model_options){0});
    o.idf = WR_IDF_AUTO;
    built("inferred", o, 1); /* no table: the document's weight alone */
    check_density("inferred", sparse, 4, false);
    wr_model_close(sparse);
}

Test(build_sparse, vectors_that_a_corpus_brings_are_thinned_too)
{
    const char *path =
        wr_test_text("vectors.jsonl", "{\"id\":\"a\",\"contents\":\"\",\"vector\":{\"x\":1,\"y\":3,\"z\":3,\"v\":3}}\n"
                                      "{\"id\":\"b\",\"contents\":\"\",\"vector\":{\"x\":1}}\n");
    const wr_build_options o = {.corpus = path, .format = WR_CORPUS_VECTORS, .density = 2};
    cr_assert_eq(built("index", o, 1).sparse_postings, 3);
    wr_index *index = open_index("index");
    cr_assert_geq(wr_sparse_term(wr_index_sparse(index), "y", 1), 0, "of equal ones the first are kept");
    cr_assert_geq(wr_sparse_term(wr_index_sparse(index), "z", 1), 0);
    cr_assert_lt(wr_sparse_term(wr_index_sparse(index), "v", 1), 0);
    cr_assert_eq(wr_index_info_get(index)->sparse_density, 2);
    wr_index_close(index);
}

/* ---- the documents' own words ---- */

/* Each weight is the model's and what the text has of the token, to the precision of impacts. */
static void check_words(const char *dir, const wr_model *sparse, double lambda)
{
    wr_index *index = open_index(dir);
    const wr_tokenizer *tok = wr_model_tokenizer(sparse);
    wr_docreader *reader;
    wr_arena arena;
    wr_err err;
    cr_assert_float_eq(wr_index_info_get(index)->sparse_lexical, lambda, 0);
    cr_assert_eq(wr_arena_init(&arena, 1 << 22), WR_OK);
    cr_assert_eq(wr_docreader_open(&reader, wr_index_docstore(index), &err), WR_OK);
    for (uint32_t d = 0; d < wr_index_ndocs(index); d++) {
        wr_doc doc;
        wr_text text;
        wr_token_weights w;
        wr_tokens tokens;
        float want[512] = {0};
        cr_assert_eq(wr_docreader_get(reader, d, &doc), WR_OK);
        cr_assert_eq(wr_doc_join(&doc, &arena, &text), WR_OK);
        cr_assert_eq(wr_sparse_texts(sparse, NULL, &text, 1, false, NULL, &w, NULL), WR_OK);
        cr_assert_eq(wr_tokenizer_encode(tok, text.bytes, text.n, &arena, SIZE_MAX, &tokens), WR_OK);
        for (size_t i = 0; i < w.n; i++) want[w.id[i]] = w.weight[i];
        for (uint32_t id = 0; id < wr_tokenizer_vocab_size(tok); id++) {
            uint32_t tf = 0;
            for (size_t t = 0; t < tokens.n; t++) tf += tokens.id[t] == id;
            bool rare = wr_model_idf(sparse)->weight[id] >= WR_LEXICAL_LEAST;
            if (tf && rare && !wr_tokenizer_is_special(tok, id)) want[id] += (float)lambda * wr_lexical_share(tf, tokens.n);
            const char *token = wr_tokenizer_token(tok, id);
            int64_t term = token ? wr_sparse_term(wr_index_sparse(index), token, strlen(token)) : -1;
            float got = term < 0 ? 0 : wr_sparse_impact(wr_index_sparse(index), (uint32_t)term, d);
            cr_assert_float_eq(got, want[id], 1e-3, "document %u, %s: %g, not %g", d, token, got, want[id]);
        }
        wr_token_weights_release(&w, 1);
    }
    wr_docreader_close(reader);
    wr_arena_release(&arena);
    wr_index_close(index);
}

Test(build_sparse, words_of_a_document_weigh_as_the_model_or_the_options_say)
{
    const char *dense = place("dense");
    wr_test_model(dense, false, 7);
    const char *dir = make_partner(
        dense, "sparse",
        (partner){.strip = "bert.", .add = "bert.", .config = ",\"sparse_lexical\":1.5,\"sparse_query_tf\":\"sqrt\""});
    wr_model *sparse = open_model(dir, (wr_model_options){0});
    wr_build_options o = {.corpus = corpus(60), .sparse = sparse};
    built("model", o, 2);
    check_words("model", sparse, 1.5);
    o.lexical = 0.5;
    built("half", o, 1);
    check_words("half", sparse, 0.5);
    o.lexical = WR_LEXICAL_NONE;
    built("none", o, 1);
    check_words("none", sparse, 0);
    wr_index *index = open_index("none");
    cr_assert_eq(wr_index_info_get(index)->sparse_query_tf, WR_QUERY_ROOT);
    wr_index_close(index);
    wr_model_close(sparse);
}

Test(build_sparse, one_pass_and_threads_give_words_the_same_weights)
{
    const char *dense = place("dense");
    wr_test_model(dense, false, 9);
    const char *sparse = make_partner(dense, "sparse",
                                      (partner){.strip = "bert.", .add = "bert.", .config = ",\"sparse_lexical\":1"});
    one_equals_two(dense, (wr_model_options){0}, sparse, (wr_build_options){.corpus = corpus(40), .density = 20});
}

Test(build_sparse, a_model_says_what_words_weigh_or_is_refused)
{
    static const char *const bad[] = {",\"sparse_lexical\":-1", ",\"sparse_lexical\":\"1\"", ",\"sparse_lexical\":1e9",
                                      ",\"sparse_query_tf\":\"log\""};
    const char *dense = place("dense");
    wr_test_model(dense, false, 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wr_model *m;
        wr_err err = {0};
        const char *dir = make_partner(dense, "s", (partner){.strip = "bert.", .add = "bert.", .config = bad[i]});
        cr_assert_neq(wr_model_open(&m, dir, &(wr_model_options){0}, &err), WR_OK, "%s", bad[i]);
        cr_assert_not_null(strstr(err.text, i < 3 ? "sparse_lexical" : "sparse_query_tf"), "%s", err.text);
    }
}

/* ---- weir index ---- */

static void run_index(const char *out, const char *const *more, size_t n)
{
    char *argv[16] = {"index", "--corpus", (char *)corpus(30), "--out", (char *)place(out), "--threads", "1"};
    for (size_t i = 0; i < n; i++) argv[7 + i] = (char *)more[i];
    cr_assert_eq(wr_cmd_index.run((int)(7 + n), argv), 0);
}

static void holds(const char *out, const char *dense, const char *sparse, size_t density, const char *pipeline)
{
    wr_index *index = open_index(out);
    const wr_index_info *info = wr_index_info_get(index);
    cr_assert_str_eq(info->dense_model_name, dense);
    cr_assert_str_eq(info->sparse_model_name, sparse);
    cr_assert_eq(info->sparse_density, density);
    if (pipeline) cr_assert_str_eq(info->default_pipeline, pipeline);
    wr_index_close(index);
}

/* Both default models are taken where they are found, each unless it is turned off. */
Test(build_sparse, weir_index_takes_the_default_models, .init = cr_redirect_stdout)
{
    static const char *const no_dense[] = {"--no-dense"}, *const no_sparse[] = {"--no-sparse"},
                             *const neither[] = {"--no-dense", "--no-sparse"},
                             *const density[] = {"--sparse-density", "3", "--idf", "corpus", "--sparse-lexical",
                                                    "0.5"};
    wr_err err;
    const char *models = place("models");
    cr_assert_eq(wr_dir_make(models, &err), WR_OK);
    wr_test_model(place("models/weir-dense"), false, 5);
    make_partner(place("models/weir-dense"), "models/weir-sparse",
                 (partner){.strip = "bert.", .add = "bert.", .config = ",\"sparse_density\":9"});
    cr_assert_eq(setenv("WEIR_MODELS", models, 1), 0);
    run_index("all", NULL, 0);
    holds("all", WR_DEFAULT_DENSE, WR_DEFAULT_SPARSE, 9, WR_PIPELINE_ALL);
    run_index("sparse", no_dense, 1);
    holds("sparse", "", WR_DEFAULT_SPARSE, 9, WR_PIPELINE_SPARSE);
    run_index("dense", no_sparse, 1);
    holds("dense", WR_DEFAULT_DENSE, "", 0, WR_PIPELINE_DENSE);
    run_index("words", neither, 2);
    holds("words", "", "", 0, WR_PIPELINE_WORDS);
    run_index("few", density, 6);
    holds("few", WR_DEFAULT_DENSE, WR_DEFAULT_SPARSE, 3, WR_PIPELINE_ALL);
    wr_index *index = open_index("few");
    cr_assert_float_eq(wr_index_info_get(index)->sparse_lexical, 0.5, 0);
    wr_index_close(index);
}
