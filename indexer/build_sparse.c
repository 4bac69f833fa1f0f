#include "indexer/build_sparse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/arena.h"
#include "data/mapfile.h"
#include "indexer/lexical.h"
#include "models/embed.h"

_Static_assert(WR_MAX_TOKEN_BYTES <= WR_MAX_TERM_BYTES, "every token that a corpus brings can be a term");

struct wr_sparse_build {
    const wr_build_options *o;
    const wr_generation *generation;
    const wr_model_info *model; /* NULL without */
    bool imported;              /* the corpus brings the weights */
    const char *query, *idf;    /* as in wr_index_info */
    wr_sparse_writer *writer;
    wr_idf table;   /* of --idf file; else filled at the end */
    wr_arena arena; /* of one document                       */
    uint32_t *df;   /* [vocabulary] --idf corpus of texts    */
    uint64_t *seen; /* [vocabulary] the last document that had the token, from 1 */
    uint64_t ndocs;
    bool clusters;
    size_t density; /* tokens kept of a document, 0 = all */
    float lexical;  /* 0 = documents' own words weigh nothing */
    wr_term_counts counts;
};

/* Address space for the ids of a document of 64 MiB, a token for each byte. */
#define DOCUMENT_SPACE ((size_t)1 << 30)

/* ---- what queries will be ---- */

static wr_status settle_query(wr_sparse_build *b, wr_err *err)
{
    const wr_build_options *o = b->o;
    b->query = b->idf = "none";
    if (!b->model) {
        if (o->idf == WR_IDF_AUTO) return WR_OK;
        return wr_fail(err, WR_EARG, "--idf: there is no model whose tokens it could weigh, expected --sparse MODEL");
    }
    bool both = o->idf == WR_IDF_BOTH || (o->idf == WR_IDF_AUTO && b->model->idf_documents && !b->imported);
    if (o->idf == WR_IDF_CORPUS || o->idf == WR_IDF_FILE || b->model->has_idf) {
        b->query = "idf";
        b->idf = o->idf == WR_IDF_CORPUS ? "corpus" : o->idf == WR_IDF_FILE ? "file" : both ? "both" : "model";
        return WR_OK;
    }
    if (o->idf == WR_IDF_MODEL || o->idf == WR_IDF_BOTH)
        return wr_fail(err, WR_EARG,
                       "--idf %s: %s has no table of query weights (idf.json, "
                       "query_token_weights.txt, query_0_SparseStaticEmbedding)",
                       o->idf == WR_IDF_BOTH ? "both" : "model", b->model->path);
    if (b->model->kind != WR_MODEL_SPARSE)
        return wr_fail(err, WR_EARG,
                       "%s: no learned sparse model: it can cut queries into tokens, but not weigh them, "
                       "expected --idf corpus or --idf FILE",
                       b->model->path);
    b->query = "model";
    return WR_OK;
}

/* Whether documents are counted for the table. */
static bool counts(const wr_sparse_build *b)
{
    return !strcmp(b->idf, "corpus") || !strcmp(b->idf, "both");
}

static wr_status open_table(wr_sparse_build *b, wr_err *err)
{
    const wr_tokenizer *tok = b->model ? wr_model_tokenizer(b->o->sparse) : NULL;
    if (!strcmp(b->idf, "file")) return wr_idf_read(&b->table, b->o->idf_file, tok, err);
    if (!counts(b) || b->imported) return WR_OK;
    size_t n = wr_tokenizer_vocab_size(tok);
    b->df = calloc(n + 1, sizeof *b->df);
    b->seen = calloc(n + 1, sizeof *b->seen);
    return b->df && b->seen ? WR_OK : wr_fail(err, WR_ENOMEM, "index: out of memory");
}

/* What the documents' own tokens are counted in. */
static wr_status open_words(wr_sparse_build *b, wr_err *err)
{
    if (b->imported) return WR_OK;
    b->lexical = (float)(b->o->lexical > 0 ? b->o->lexical : b->o->lexical < 0 ? 0 : b->model->lexical);
    size_t n = wr_tokenizer_vocab_size(wr_model_tokenizer(b->o->sparse));
    if (wr_term_counts_init(&b->counts, n) || wr_arena_init(&b->arena, DOCUMENT_SPACE))
        return wr_fail(err, WR_ENOMEM, "index: out of memory");
    return WR_OK;
}

wr_status wr_sparse_build_open(wr_sparse_build **build, const wr_build_options *options,
                               const wr_generation *generation, wr_corpus_format format, wr_err *err)
{
    *build = NULL;
    bool imported = wr_corpus_format_has_vectors(format) && !options->no_sparse;
    if (!imported && !options->sparse) {
        if (options->idf == WR_IDF_AUTO) return WR_OK;
        return wr_fail(err, WR_EARG, "--idf: no learned sparse index is being built, expected --sparse MODEL");
    }
    wr_sparse_build *b = calloc(1, sizeof *b);
    if (!b) return wr_fail(err, WR_ENOMEM, "index: out of memory");
    b->o = options;
    b->generation = generation;
    b->imported = imported;
    b->model = options->sparse ? wr_model_info_get(options->sparse) : NULL;
    b->density = options->density ? options->density : b->model && !imported ? b->model->density : 0;
    if (b->density == WR_DENSITY_ALL) b->density = 0;
    wr_status st = WR_OK;
    if (!imported && b->model->kind != WR_MODEL_SPARSE)
        st = wr_fail(err, WR_EARG, "%s: no learned sparse model, expected a masked language model", b->model->path);
    if (!st) st = settle_query(b, err);
    if (!st) st = open_table(b, err);
    if (!st) st = open_words(b, err);
    if (!st) st = wr_sparse_writer_open(&b->writer, generation->path, 0, err);
    if (st)
        wr_sparse_build_close(b);
    else
        *build = b;
    return st;
}

void wr_sparse_build_close(wr_sparse_build *b)
{
    if (!b) return;
    wr_sparse_writer_abort(b->writer);
    wr_idf_release(&b->table);
    wr_arena_release(&b->arena);
    wr_term_counts_release(&b->counts);
    free(b->df);
    free(b->seen);
    free(b);
}

bool wr_sparse_build_encodes(const wr_sparse_build *b)
{
    return !b->imported;
}

/* ---- what is kept of a document ---- */

/* A document's tokens on their way to the postings. */
typedef struct row {
    const char **token; /* [n] */
    uint32_t *len;
    float *weight;
    float *loss; /* what a query that has the token loses without it; NULL where all are kept */
    size_t n, limit; /* of n, 0 = none */
} row;

static wr_status row_init(row *r, size_t limit, size_t n, wr_err *err)
{
    *r = (row){.limit = limit,
               .token = malloc((n + 1) * sizeof *r->token),
               .len = malloc((n + 1) * sizeof *r->len),
               .weight = malloc((n + 1) * sizeof *r->weight)};
    bool limited = limit && n > limit;
    if (limited) r->loss = malloc(n * sizeof *r->loss);
    return r->token && r->len && r->weight && (r->loss || !limited) ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
}

static void row_release(row *r)
{
    free(r->token);
    free(r->len);
    free(r->weight);
    free(r->loss);
}

/* What queries' tokens weigh, as far as it is known while documents stream by; a table of the corpus comes at the end,
 * the model's own stands in for it. */
static const wr_idf *known_table(const wr_sparse_build *b)
{
    return b->table.n ? &b->table : b->model ? wr_model_idf(b->o->sparse) : NULL;
}

/* id < 0: no token of the model's. */
static float query_weight(const wr_sparse_build *b, int64_t id)
{
    const wr_idf *idf = known_table(b);
    if (!idf) return 1;
    return id >= 0 && (size_t)id < idf->n ? idf->weight[id] : 0;
}

static void row_add(row *r, const wr_sparse_build *b, const char *token, float weight, int64_t id)
{
    if (r->loss) r->loss[r->n] = weight * query_weight(b, id);
    r->token[r->n] = token;
    r->len[r->n] = (uint32_t)strlen(token);
    r->weight[r->n++] = weight;
}

static int largest_first(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Keeps the limit's number of tokens whose loss is largest, in their order; of equal losses the first. */
static wr_status thin(row *r, wr_err *err)
{
    size_t limit = r->limit;
    if (!r->loss || r->n <= limit) return WR_OK;
    float *sorted = malloc(r->n * sizeof *sorted);
    if (!sorted) return wr_fail(err, WR_ENOMEM, "out of memory");
    memcpy(sorted, r->loss, r->n * sizeof *sorted);
    qsort(sorted, r->n, sizeof *sorted, largest_first);
    float least = sorted[limit - 1];
    size_t ties = 0, kept = 0;
    for (size_t i = 0; i < limit; i++) ties += !(sorted[i] > least);
    for (size_t i = 0; i < r->n; i++) {
        bool tie = !(r->loss[i] > least) && !(r->loss[i] < least);
        if (!(r->loss[i] > least) && !(tie && ties)) continue;
        ties -= tie;
        r->token[kept] = r->token[i];
        r->len[kept] = r->len[i];
        r->weight[kept++] = r->weight[i];
    }
    r->n = kept;
    free(sorted);
    return WR_OK;
}

static wr_status write_row(wr_sparse_build *b, row *r, wr_err *err)
{
    wr_status st = thin(r, err);
    return st ? st : wr_sparse_writer_add_weights(b->writer, r->token, r->len, r->weight, r->n, err);
}

/* ---- documents ---- */

static wr_status add_imported(wr_sparse_build *b, const wr_doc *doc, wr_err *err)
{
    const wr_tokenizer *tok = b->model ? wr_model_tokenizer(b->o->sparse) : NULL;
    row r;
    float max = 0;
    wr_status st = row_init(&r, b->density, doc->ntokens, err);
    for (size_t i = 0; i < doc->ntokens; i++) max = doc->weight[i] > max ? doc->weight[i] : max;
    for (size_t i = 0; i < doc->ntokens && !st; i++) {
        if (!(doc->weight[i] > (float)b->o->prune_ratio * max)) continue;
        row_add(&r, b, doc->token[i], doc->weight[i], tok && r.loss ? wr_tokenizer_id(tok, doc->token[i]) : -1);
    }
    if (!st) st = write_row(b, &r, err);
    row_release(&r);
    return st ? wr_fail_prefix(err, "document %s", doc->docno) : WR_OK;
}

/* The density holds for a text of WR_DENSITY_BYTES or less, and in proportion for as much as the model reads of a longer
 * one. */
static size_t limit_of(const wr_sparse_build *b, size_t bytes)
{
    size_t longest = b->model->max_doc_tokens * WR_BYTES_OF_TOKEN;
    if (bytes > longest) bytes = longest;
    if (bytes <= WR_DENSITY_BYTES) return b->density;
    return b->density * bytes / WR_DENSITY_BYTES;
}

/* Ids become tokens. A vocabulary that holds a token twice finds it under one id alone. */
static wr_status add_encoded(wr_sparse_build *b, const wr_token_weights *w, size_t bytes, wr_err *err)
{
    const wr_tokenizer *tok = wr_model_tokenizer(b->o->sparse);
    row r;
    wr_status st = row_init(&r, limit_of(b, bytes), w->n, err);
    for (size_t i = 0; i < w->n && !st; i++) {
        const char *text = wr_tokenizer_token(tok, w->id[i]);
        if (wr_tokenizer_id(tok, text) != (int64_t)w->id[i]) continue;
        row_add(&r, b, text, w->weight[i], (int64_t)w->id[i]);
    }
    if (!st) st = write_row(b, &r, err);
    row_release(&r);
    return st;
}

/* All tokens of the batch's document i, also where the batch's ids end before. Borrowed until the next document. */
static wr_status tokens_of(wr_sparse_build *b, const wr_doc_batch *batch, size_t i, wr_tokens *tokens)
{
    const wr_tokenizer *tok = wr_model_tokenizer(b->o->sparse);
    const wr_text *text = &batch->text[i];
    if (wr_batch_ids_serve(batch, tok, 0) && !batch->ids[i].cut) {
        *tokens = batch->ids[i];
        return WR_OK;
    }
    return wr_tokenizer_encode(tok, text->bytes, text->n, &b->arena, SIZE_MAX, tokens);
}

/* Which tokens a document has, however often. */
static void count(wr_sparse_build *b, const wr_tokens *tokens)
{
    for (size_t t = 0; t < tokens->n; t++) {
        uint32_t id = tokens->id[t];
        b->df[id] += b->seen[id] != b->ndocs;
        b->seen[id] = b->ndocs;
    }
}

/* The model's weights and those of the text's own words, w in the arena. */
static wr_status with_words(wr_sparse_build *b, const wr_token_weights *learned, const wr_tokens *tokens,
                            wr_token_weights *w)
{
    size_t room = learned->n + tokens->n;
    w->id = wr_arena_alloc(&b->arena, (room + 1) * sizeof *w->id);
    w->weight = wr_arena_alloc(&b->arena, (room + 1) * sizeof *w->weight);
    if (!w->id || !w->weight) return WR_ENOMEM;
    w->n = learned->n;
    if (w->n) memcpy(w->id, learned->id, w->n * sizeof *w->id);
    if (w->n) memcpy(w->weight, learned->weight, w->n * sizeof *w->weight);
    wr_lexical_add(&b->counts, wr_model_tokenizer(b->o->sparse), tokens, known_table(b), b->lexical, w);
    return WR_OK;
}

static wr_status add_text(wr_sparse_build *b, const wr_doc_batch *batch, size_t i, const wr_token_weights *learned,
                          wr_err *err)
{
    wr_tokens tokens;
    wr_token_weights w = *learned;
    b->ndocs++;
    wr_arena_reset(&b->arena, (size_t)1 << 20);
    wr_status st = b->df || b->lexical > 0 ? tokens_of(b, batch, i, &tokens) : WR_OK;
    if (!st && b->lexical > 0) st = with_words(b, learned, &tokens, &w);
    if (st) return wr_fail(err, st, "document %s: no memory for its tokens", batch->doc[i].docno);
    if (b->df) count(b, &tokens);
    st = add_encoded(b, &w, batch->text[i].n, err);
    return st ? wr_fail_prefix(err, "document %s", batch->doc[i].docno) : WR_OK;
}

static wr_status add_weights(wr_sparse_build *b, const wr_doc_batch *batch, const wr_token_weights *weights,
                             wr_err *err)
{
    wr_status st = WR_OK;
    for (size_t i = 0; i < batch->n && !st; i++) st = add_text(b, batch, i, &weights[i], err);
    return st;
}

static wr_status encode(wr_sparse_build *b, const wr_doc_batch *batch, uint64_t *cut, wr_err *err)
{
    wr_token_weights out[WR_BATCH_DOCS];
    bool was_cut[WR_BATCH_DOCS];
    wr_status st =
        wr_batch_ids_serve(batch, wr_model_tokenizer(b->o->sparse), b->model->max_doc_tokens)
            ? wr_sparse_tokens(b->o->sparse, b->o->pool, batch->ids, batch->n, NULL, out, was_cut)
            : wr_sparse_texts(b->o->sparse, b->o->pool, batch->text, batch->n, false, NULL, out, was_cut);
    if (st)
        return wr_fail(err, st, "documents %s to %s: cannot be encoded: %s", batch->doc[0].docno,
                       batch->doc[batch->n - 1].docno, wr_status_name(st));
    st = add_weights(b, batch, out, err);
    for (size_t i = 0; i < batch->n; i++) *cut += was_cut[i];
    wr_token_weights_release(out, batch->n);
    return st;
}

wr_status wr_sparse_build_add(wr_sparse_build *b, const wr_doc_batch *batch, const wr_token_weights *weights,
                              uint64_t *cut, wr_err *err)
{
    wr_status st = WR_OK;
    if (!b->imported) return weights ? add_weights(b, batch, weights, err) : encode(b, batch, cut, err);
    for (size_t i = 0; i < batch->n && !st; i++) st = add_imported(b, &batch->doc[i], err);
    return st;
}

/* ---- the end ---- */

/* How many vectors have each token, from the postings that were just written. */
static wr_status count_postings(wr_sparse_build *b, const char *path, wr_err *err)
{
    const wr_tokenizer *tok = wr_model_tokenizer(b->o->sparse);
    size_t n = wr_tokenizer_vocab_size(tok);
    wr_sparse *sparse = NULL;
    wr_status st = wr_sparse_open(&sparse, path, err);
    if (!st && !(b->df = calloc(n + 1, sizeof *b->df))) st = wr_fail(err, WR_ENOMEM, "index: out of memory");
    for (uint32_t id = 0; id < n && !st; id++) {
        const char *token = wr_tokenizer_token(tok, id);
        int64_t term = token ? wr_sparse_term(sparse, token, strlen(token)) : -1;
        if (term >= 0) b->df[id] = wr_sparse_df(sparse, (uint32_t)term);
    }
    wr_sparse_close(sparse);
    return st;
}

static wr_status write_table(const wr_sparse_build *b, const wr_idf *table, wr_err *err)
{
    char path[PATH_MAX];
    wr_file *file = NULL;
    wr_status st = wr_generation_file(b->generation, WR_FILE_QUERY, path, err);
    if (!st) st = wr_file_create(&file, path, "WRQUERYW", 1, err);
    if (st) return st;
    wr_file_write(file, table->weight, table->n * sizeof *table->weight);
    return wr_file_commit(file, err);
}

/* The second file, for approximate search. */
static wr_status write_clusters(wr_sparse_build *b, const char *postings, uint64_t documents, wr_err *err)
{
    char path[PATH_MAX];
    wr_sparse *sparse = NULL;
    const wr_sparse_ann_params defaults = {0};
    b->clusters = b->o->sparse_index == WR_SPARSE_INDEX_APPROX ||
                  (b->o->sparse_index == WR_SPARSE_INDEX_AUTO && documents >= WR_CLUSTERS_FROM);
    if (!b->clusters) return WR_OK;
    wr_status st = wr_generation_file(b->generation, WR_FILE_CLUSTERS, path, err);
    if (!st) st = wr_sparse_open(&sparse, postings, err);
    if (!st) st = wr_sparse_ann_build(sparse, path, &defaults, b->o->pool, err);
    wr_sparse_close(sparse);
    return st;
}

static wr_status count_table(wr_sparse_build *b, uint64_t documents)
{
    const wr_tokenizer *tok = wr_model_tokenizer(b->o->sparse);
    if (!strcmp(b->idf, "corpus")) return wr_idf_compute(&b->table, b->df, documents, tok);
    size_t prior = b->model->idf_documents ? b->model->idf_documents : WR_IDF_DOCUMENTS;
    return wr_idf_blend(&b->table, b->df, documents, wr_model_idf(b->o->sparse), prior, tok);
}

wr_status wr_sparse_build_commit(wr_sparse_build *b, uint64_t documents, wr_err *err)
{
    char path[PATH_MAX];
    wr_sparse_writer *writer = b->writer;
    b->writer = NULL;
    wr_status st = wr_generation_file(b->generation, WR_FILE_SPARSE, path, err);
    if (st)
        wr_sparse_writer_abort(writer);
    else
        st = wr_sparse_writer_commit_weights(writer, path, err);
    if (!st) st = write_clusters(b, path, documents, err);
    if (st || strcmp(b->query, "idf")) return st;
    if (!strcmp(b->idf, "model")) return write_table(b, wr_model_idf(b->o->sparse), err);
    if (counts(b) && b->imported) st = count_postings(b, path, err);
    if (counts(b) && !st && count_table(b, documents)) st = wr_fail(err, WR_ENOMEM, "index: out of memory");
    return st ? st : write_table(b, &b->table, err);
}

void wr_sparse_build_describe(const wr_sparse_build *b, wr_index_info *info)
{
    info->has_sparse = true;
    info->sparse_documents = b->imported ? "vectors" : "model";
    info->sparse_query = b->query;
    info->sparse_idf = b->idf;
    info->sparse_clusters = b->clusters;
    info->sparse_density = b->density;
    info->sparse_lexical = (double)b->lexical;
    info->sparse_prune_ratio = b->imported ? b->o->prune_ratio : b->model->prune_ratio;
    if (!b->model) return;
    info->sparse_query_tf = !strcmp(b->query, "idf") ? b->model->query_tf : WR_QUERY_SET;
    info->sparse_model_path = b->model->path;
    info->sparse_model_sha256 = b->model->sha256;
    info->sparse_model_name = b->model->name;
    info->sparse_max_doc_tokens = b->model->max_doc_tokens;
    info->sparse_max_query_tokens = b->model->max_query_tokens;
}
