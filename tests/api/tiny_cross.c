/* tiny_cross DIR: writes a cross-encoder that any machine can run and nobody has trained: BERT with two layers of 32,
 * one label, letters as its vocabulary and seeded weights, as a Hugging Face directory. Its scores mean nothing, but they
 * are scores. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN = 32, FFN = 64, LAYERS = 2, POSITIONS = 128, MAX_TENSORS = 64 };

static struct tensor { char name[96]; size_t rows, cols; } tensors[MAX_TENSORS]; /* cols 0: a vector */
static size_t ntensors;

static FILE *create(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file) perror(path), exit(1);
    return file;
}

static size_t write_vocab(const char *dir)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.,;:?!'()-";
    FILE *file = create(dir, "vocab.txt");
    fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", file);
    for (const char *c = letters; *c; c++) fprintf(file, "%c\n##%c\n", *c, *c);
    fclose(file);
    return 5 + 2 * strlen(letters);
}

static void write_config(const char *dir, size_t vocab)
{
    FILE *file = create(dir, "config.json");
    fprintf(file,
            "{\"model_type\": \"bert\", \"architectures\": [\"BertForSequenceClassification\"], \"vocab_size\": %zu,\n"
            " \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": 2,\n"
            " \"max_position_embeddings\": %d, \"type_vocab_size\": 2, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12,\n"
            " \"id2label\": {\"0\": \"LABEL_0\"}, \"label2id\": {\"LABEL_0\": 0}, \"pad_token_id\": 0}\n",
            vocab, HIDDEN, FFN, LAYERS, POSITIONS);
    fclose(file);
    file = create(dir, "tokenizer_config.json");
    fputs("{\"do_lower_case\": true, \"tokenizer_class\": \"BertTokenizer\", \"model_max_length\": 128}\n", file);
    fclose(file);
}

static void add(const char *name, size_t rows, size_t cols)
{
    struct tensor *t = &tensors[ntensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
}

static void add_linear(const char *name, size_t out, size_t in)
{
    char text[96];
    snprintf(text, sizeof text, "%s.weight", name);
    add(text, out, in);
    snprintf(text, sizeof text, "%s.bias", name);
    add(text, out, 0);
}

static void add_layer(int i)
{
    static const struct { const char *name; size_t out, in; } part[] = {
        {"attention.self.query", HIDDEN, HIDDEN}, {"attention.self.key", HIDDEN, HIDDEN},
        {"attention.self.value", HIDDEN, HIDDEN}, {"attention.output.dense", HIDDEN, HIDDEN},
        {"attention.output.LayerNorm", HIDDEN, 0}, {"intermediate.dense", FFN, HIDDEN},
        {"output.dense", HIDDEN, FFN}, {"output.LayerNorm", HIDDEN, 0}};
    for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
        char name[96];
        snprintf(name, sizeof name, "bert.encoder.layer.%d.%s", i, part[p].name);
        add_linear(name, part[p].out, part[p].in);
    }
}

static float next_weight(const struct tensor *t, uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* SplitMix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    double uniform = (double)((z ^ z >> 31) >> 11) / 9007199254740992.0 - 0.5;
    if (strstr(t->name, "LayerNorm.weight")) return 1;
    return (float)(uniform * (t->cols ? 2.0 / sqrt((double)t->cols) : 0.1));
}

static void write_weights(const char *dir)
{
    static char header[16384];
    size_t n = 0, offset = 0;
    uint64_t state = 1;
    for (size_t i = 0; i < ntensors; i++) {
        const struct tensor *t = &tensors[i];
        size_t bytes = t->rows * (t->cols ? t->cols : 1) * sizeof(float);
        n += (size_t)snprintf(header + n, sizeof header - n, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":", i ? ',' : '{', t->name);
        n += (size_t)snprintf(header + n, sizeof header - n, t->cols ? "[%zu,%zu]" : "[%zu]", t->rows, t->cols);
        n += (size_t)snprintf(header + n, sizeof header - n, ",\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    header[n++] = '}';
    while (n % 8) header[n++] = ' ';
    FILE *file = create(dir, "model.safetensors");
    uint64_t length = n; /* little-endian, as every machine we run on */
    fwrite(&length, sizeof length, 1, file);
    fwrite(header, 1, n, file);
    for (size_t i = 0; i < ntensors; i++)
        for (size_t j = 0; j < tensors[i].rows * (tensors[i].cols ? tensors[i].cols : 1); j++) {
            float w = next_weight(&tensors[i], &state);
            fwrite(&w, sizeof w, 1, file);
        }
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 2) return fprintf(stderr, "tiny_cross DIR\n"), 2;
    size_t vocab = write_vocab(argv[1]);
    write_config(argv[1], vocab);
    add("bert.embeddings.word_embeddings.weight", vocab, HIDDEN);
    add("bert.embeddings.position_embeddings.weight", POSITIONS, HIDDEN);
    add("bert.embeddings.token_type_embeddings.weight", 2, HIDDEN);
    add_linear("bert.embeddings.LayerNorm", HIDDEN, 0);
    for (int i = 0; i < LAYERS; i++) add_layer(i);
    add_linear("bert.pooler.dense", HIDDEN, HIDDEN);
    add_linear("classifier", 1, HIDDEN);
    write_weights(argv[1]);
    return 0;
}
