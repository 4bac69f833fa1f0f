#include "indexer/factory.h"

#include <stdbool.h>
#include <string.h>

#define ANY SIZE_MAX /* bounded by the vectors' dim */

static const struct word {
    const char *name;
    size_t min, max; /* of the numbers that follow; max 0: none may */
} words[] = {
    {"IVF", 1, 1u << 24}, /* more lists than that are no use before a billion vectors   */
    {"HNSW", 4, 256},     /* links: 0 and 1 make FAISS's level table endless or empty   */
    {"NSG", 4, 256},      {"Flat", 0, 0},   {"SQ", 4, 8},     {"SQfp", 16, 16},  {"PQ", 1, ANY},   {"OPQ", 1, ANY},
    {"PCA", 1, ANY},      {"PCAR", 1, ANY}, {"PCAW", 1, ANY}, {"PCAWR", 1, ANY}, {"RR", 1, ANY},   {"ITQ", 1, ANY},
    {"L2norm", 0, 0},     {"L2Norm", 0, 0}, {"Pad", 1, 4096}, {"RFlat", 0, 0},   {"Refine", 0, 0},
};

/* What may follow a number: bits ("x8", "x4fs", "x4fsr") and "no polysemous training". */
#define BITS_MAX 12 /* 4,096 centroids a part; 16 bits need more training vectors than most corpora have */

static size_t letters(const char *p)
{
    size_t n = 0;
    while ((p[n] >= 'A' && p[n] <= 'Z') || (p[n] >= 'a' && p[n] <= 'z')) n++;
    /* L2norm is the one word with a digit inside */
    return n == 1 && (!strncmp(p, "L2norm", 6) || !strncmp(p, "L2Norm", 6)) ? 6 : n;
}

static bool is(const char *p, size_t n, const char *word)
{
    return strlen(word) == n && !strncmp(p, word, n);
}

static const struct word *word_of(const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(p, n, words[i].name)) return &words[i];
    return NULL;
}

/* A number of at most nine digits; more is more than any limit. */
static size_t number(const char **p)
{
    size_t value = 0;
    for (size_t digits = 0; **p >= '0' && **p <= '9'; ++*p)
        if (++digits < 10)
            value = 10 * value + (size_t)(**p - '0');
        else
            value = ANY - 1;
    return value;
}

/* Where the reading of a string stands. */
typedef struct reader {
    const char *text, *at;
    const struct word *word; /* whose numbers are being read; NULL before the first */
    bool bits;               /* the next number follows an "x" */
    size_t dim;
    wr_factory *factory;
} reader;

static bool is_suffix(const char *p, size_t n)
{
    return is(p, n, "x") || is(p, n, "np") || is(p, n, "fs") || is(p, n, "fsr");
}

static wr_status read_word(reader *r, size_t n, wr_err *err)
{
    const struct word *word = word_of(r->at, n);
    if (!word && !(r->word && is_suffix(r->at, n)))
        return wr_fail(err, WR_EARG,
                       "dense index '%s': '%.*s' is none of the words that weir knows (Flat, HNSW, IVF, NSG, SQ, PQ, "
                       "OPQ, PCA, RR, ITQ, L2norm, Pad, RFlat, Refine)",
                       r->text, (int)n, r->at);
    if (word) r->word = word;
    r->bits = !word && is(r->at, n, "x");
    r->at += n;
    bool quantizer = word && (is("PQ", 2, word->name) || is("OPQ", 3, word->name));
    if (quantizer && r->factory->centroids < 256)
        r->factory->centroids = 256; /* of 8 bits, unless more are asked for */
    return WR_OK;
}

static wr_status read_number(reader *r, wr_err *err)
{
    const char *name = r->bits ? "x" : r->word ? r->word->name : "";
    size_t value = number(&r->at), min = r->bits || !r->word ? 1 : r->word->min;
    size_t max = r->bits ? BITS_MAX : r->word ? r->word->max : 0;
    if (max == ANY) max = r->dim;
    if (value < min || value > max)
        return wr_fail(err, WR_EARG, "dense index '%s': a number after '%s' is outside %zu to %zu", r->text, name, min,
                       max);
    if (is("IVF", 3, name)) r->factory->nlist = value;
    size_t centroids = is("IVF", 3, name) ? value : r->bits ? (size_t)1 << value : 0;
    if (centroids > r->factory->centroids) r->factory->centroids = centroids;
    r->bits = false;
    return WR_OK;
}

wr_status wr_factory_parse(wr_factory *factory, const char *text, size_t dim, uint64_t count, wr_err *err)
{
    *factory = (wr_factory){0};
    if (!*text || strlen(text) > WR_MAX_FACTORY)
        return wr_fail(err, WR_EARG, "dense index '%.80s': expected 1 to %d characters, such as HNSW32", text,
                       WR_MAX_FACTORY);
    reader r = {.text = text, .at = text, .dim = dim, .factory = factory};
    while (*r.at) {
        size_t n = letters(r.at);
        wr_status st = WR_OK;
        if (n)
            st = read_word(&r, n, err);
        else if (*r.at >= '0' && *r.at <= '9')
            st = read_number(&r, err);
        else if (strchr(",_()", *r.at))
            r.at++;
        else
            st = wr_fail(err, WR_EARG, "dense index '%s': the character '%c' has no place in it", text, *r.at);
        if (st) return st;
    }
    if (count && factory->nlist > count)
        return wr_fail(err, WR_EARG,
                       "dense index '%s': %zu lists need at least %zu passages to train on, there are %zu", text,
                       factory->nlist, factory->nlist, (size_t)count);
    return WR_OK;
}
