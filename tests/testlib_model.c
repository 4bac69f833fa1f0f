#include "tests/testlib_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/mapfile.h"
#include "tests/testlib.h"

#define DIM 32
#define HEADS 4
#define FFN 64
#define LAYERS 2
#define POSITIONS 64

/* [PAD] [UNK] [CLS] [SEP] [MASK], then letters and their continuations: every word has a tokenisation. */
static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
#define VOCAB (5 + 2 * 36)

typedef struct writer {
    char header[16384];
    size_t n;       /* characters of header */
    size_t offset;  /* bytes of data so far */
    float *data;
    wr_test_random random;
} writer;

static void tensor(writer *w, const char *name, size_t rows, size_t cols, float scale, float shift)
{
    size_t count = rows * (cols ? cols : 1), begin = w->offset;
    w->offset += count * sizeof(float);
    w->data = realloc(w->data, w->offset);
    if (!w->data) abort();
    for (size_t i = 0; i < count; i++) w->data[begin / sizeof(float) + i] = shift + scale * wr_test_normal(&w->random);
    char shape[64];
    if (cols) snprintf(shape, sizeof shape, "%zu,%zu", rows, cols);
    else snprintf(shape, sizeof shape, "%zu", rows);
    w->n += (size_t)snprintf(w->header + w->n, sizeof w->header - w->n,
                             "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                             w->n > 1 ? "," : "", name, shape, begin, w->offset);
}

static void linear(writer *w, const char *prefix, size_t out, size_t in)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", prefix);
    tensor(w, name, out, in, .2f, 0);
    snprintf(name, sizeof name, "%s.bias", prefix);
    tensor(w, name, out, 0, .02f, 0);
}

static void norm(writer *w, const char *prefix)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", prefix);
    tensor(w, name, DIM, 0, .05f, 1);
    snprintf(name, sizeof name, "%s.bias", prefix);
    tensor(w, name, DIM, 0, .05f, 0);
}

static void layer(writer *w, size_t i)
{
    static const struct {
        const char *name;
        size_t out, in;
    } part[] = {{"attention.self.query", DIM, DIM},   {"attention.self.key", DIM, DIM},
                {"attention.self.value", DIM, DIM},   {"attention.output.dense", DIM, DIM},
                {"intermediate.dense", FFN, DIM},     {"output.dense", DIM, FFN}};
    char name[128];
    for (size_t p = 0; p < sizeof part / sizeof *part; p++) {
        snprintf(name, sizeof name, "bert.encoder.layer.%zu.%s", i, part[p].name);
        linear(w, name, part[p].out, part[p].in);
    }
    snprintf(name, sizeof name, "bert.encoder.layer.%zu.attention.output.LayerNorm", i);
    norm(w, name);
    snprintf(name, sizeof name, "bert.encoder.layer.%zu.output.LayerNorm", i);
    norm(w, name);
}

static void put(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[512];
    wr_err err;
    if (wr_path_join(path, sizeof path, dir, name) || wr_file_replace(path, bytes, n, &err)) abort();
}

/* A cross-encoder's head; with a seed of its own where that is not 0. */
static void head(writer *w, const char *pooler, const char *classifier, uint64_t seed)
{
    if (seed) w->random = (wr_test_random){seed};
    linear(w, pooler, DIM, DIM);
    linear(w, classifier, 1, DIM);
}

static void put_weights(const char *dir, const wr_test_exits *wanted)
{
    writer w = {.header = "{", .n = 1, .random = {wanted->seed}};
    tensor(&w, "bert.embeddings.word_embeddings.weight", VOCAB, DIM, 1, 0);
    tensor(&w, "bert.embeddings.position_embeddings.weight", POSITIONS, DIM, .1f, 0);
    tensor(&w, "bert.embeddings.token_type_embeddings.weight", 2, DIM, .1f, 0);
    norm(&w, "bert.embeddings.LayerNorm");
    for (size_t i = 0; i < wanted->layers; i++) layer(&w, i);
    if (wanted->cross) head(&w, "bert.pooler.dense", "classifier", wanted->head);
    if (wanted->cross && wanted->exit) head(&w, "exits.1.pooler.dense", "exits.1.classifier", wanted->exit);
    w.header[w.n++] = '}';
    size_t total = 8 + w.n + w.offset;
    unsigned char *file = malloc(total);
    if (!file) abort();
    for (size_t i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)w.n >> (8 * i));
    memcpy(file + 8, w.header, w.n);
    memcpy(file + 8 + w.n, w.data, w.offset);
    put(dir, "model.safetensors", file, total);
    free(file);
    free(w.data);
}

static void put_vocab(const char *dir)
{
    char text[2048];
    size_t n = 0;
    for (size_t i = 0; i < 5; i++) n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", specials[i]);
    for (int i = 0; i < 72; i++) {
        const char *alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%c\n", i < 36 ? "" : "##", alphabet[i % 36]);
    }
    put(dir, "vocab.txt", text, n);
}

void wr_test_model(const char *dir, bool cross, uint64_t seed)
{
    wr_test_model_exits(dir, &(wr_test_exits){.cross = cross, .layers = LAYERS, .seed = seed});
}

void wr_test_model_exits(const char *dir, const wr_test_exits *wanted)
{
    bool cross = wanted->cross;
    char config[1024];
    wr_err err;
    if (wr_dir_make(dir, &err)) abort();
    int n = snprintf(config, sizeof config,
                     "{\"model_type\":\"bert\",\"architectures\":[\"%s\"],\"hidden_size\":%d,\"num_hidden_layers\":%zu,"
                     "\"num_attention_heads\":%d,\"intermediate_size\":%d,\"hidden_act\":\"gelu\","
                     "\"max_position_embeddings\":%d,\"type_vocab_size\":2,\"vocab_size\":%d,\"layer_norm_eps\":1e-12,"
                     "\"pad_token_id\":0%s%s}",
                     cross ? "BertForSequenceClassification" : "BertModel", DIM, wanted->layers, HEADS, FFN,
                     POSITIONS, VOCAB, cross ? ",\"id2label\":{\"0\":\"LABEL_0\"}" : "",
                     wanted->exit ? ",\"exit_layers\":[1]" : "");
    put(dir, "config.json", config, (size_t)n);
    put_vocab(dir);
    put_weights(dir, wanted);
    if (cross) return;
    static const char modules[] =
        "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"},"
        "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"},"
        "{\"idx\":2,\"name\":\"2\",\"path\":\"2_Normalize\",\"type\":\"sentence_transformers.models.Normalize\"}]";
    static const char pooling[] = "{\"word_embedding_dimension\":32,\"pooling_mode_mean_tokens\":true}";
    char path[512];
    put(dir, "modules.json", modules, sizeof modules - 1);
    if (wr_path_join(path, sizeof path, dir, "1_Pooling") || wr_dir_make(path, &err)) abort();
    put(path, "config.json", pooling, sizeof pooling - 1);
}
