#include "indexer/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/version.h"
#include "indexer/batch.h"
#include "indexer/build_sparse.h"
#include "indexer/defaults.h"
#include "indexer/generation.h"

typedef struct builder {
    const wr_build_options *o;
    wr_build_report *report;
    const wr_model_info *model; /* NULL without dense */
    wr_generation generation;
    wr_corpus *corpus;
    wr_doc_batch *batch;
    wr_docstore_writer *docs;
    wr_sparse_writer *bm25;
    wr_vectors_writer *vectors;
    wr_sparse_build *sparse; /* NULL without */
    const wr_tokenizer *tok; /* whose ids are stored: the dense model's, else the sparse one's; NULL without both */
    size_t max_ids;
    float *rows;   /* [WR_BATCH_DOCS, dim] */
    bool one_pass; /* one pass of the encoder gives rows and learned weights */
} builder;

static double seconds_since(uint64_t began)
{
    return (double)(wr_clock_now(&wr_clock_system) - began) / 1e9;
}

static void tell(const builder *b, const char *phase)
{
    uint64_t done = 0, total = 0;
    if (!b->o->progress) return;
    wr_corpus_progress(b->corpus, &done, &total);
    b->o->progress(b->o->arg, phase, b->report->documents, done, total);
}

static const char *factory_of(const builder *b)
{
    return b->o->factory ? b->o->factory : wr_dense_default_factory(b->report->documents);
}

static wr_status path_of(const builder *b, enum wr_index_file which, char path[PATH_MAX], wr_err *err)
{
    return wr_generation_file(&b->generation, which, path, err);
}

/* ---- opening what is written to; everything that can be refused is refused before the first document ---- */

static wr_status open_dense(builder *b, wr_err *err)
{
    char path[PATH_MAX];
    if (!b->o->dense) return WR_OK;
    b->model = wr_model_info_get(b->o->dense);
    if (b->model->kind != WR_MODEL_EMBED)
        return wr_fail(err, WR_EARG, "%s: a %s makes no vectors, expected an embedder", b->model->path,
                       b->model->kind == WR_MODEL_CROSS ? "cross-encoder" : "learned sparse model");
    wr_status st = b->o->factory ? wr_dense_check(b->o->factory, b->model->dim, err) : WR_OK;
    if (st) return st;
    if (!(b->rows = malloc(WR_BATCH_DOCS * b->model->dim * sizeof *b->rows)))
        return wr_fail(err, WR_ENOMEM, "index: out of memory");
    st = path_of(b, WR_FILE_VECTORS, path, err);
    return st ? st : wr_vectors_writer_open(&b->vectors, path, b->model->dim, err);
}

static wr_status open_all(builder *b, wr_err *err)
{
    char path[PATH_MAX];
    wr_status st = wr_batch_open(&b->batch, b->o->analyzer ? b->o->analyzer : "english", err);
    if (!st) st = wr_corpus_open(&b->corpus, b->o->corpus, b->o->format, err);
    if (!st) st = path_of(b, WR_FILE_DOCS, path, err);
    if (!st) st = wr_docstore_writer_open(&b->docs, path, err);
    if (!st) st = wr_sparse_writer_open(&b->bm25, b->generation.path, 0, err);
    if (!st) st = wr_sparse_build_open(&b->sparse, b->o, &b->generation, wr_corpus_format_of(b->corpus), err);
    return st ? st : open_dense(b, err);
}

/* Both models' texts go through the encoder once where it is the same in both. */
static void settle_passes(builder *b)
{
    b->one_pass = b->model && b->sparse && wr_sparse_build_encodes(b->sparse) && !b->o->two_passes &&
                  wr_model_one_pass(b->o->dense, b->o->sparse);
    b->report->one_pass = b->one_pass;
}

/* Ids are kept up to the model's positions, more than its limit where that is lower: a cross-encoder may take more. */
static void settle_tokens(builder *b)
{
    const wr_model *model = b->o->dense ? b->o->dense : b->o->sparse;
    if (!model) return;
    b->tok = wr_model_tokenizer(model);
    b->max_ids = wr_model_info_get(model)->positions;
}

/* ---- documents ---- */

static wr_status write_documents(builder *b, wr_err *err)
{
    const wr_doc_batch *batch = b->batch;
    wr_status st = WR_OK;
    if (b->tok) st = wr_batch_tokenise(b->batch, b->tok, b->max_ids, b->o->pool, err);
    for (size_t i = 0; i < batch->n && !st; i++) {
        st = wr_docstore_writer_add(b->docs, &batch->doc[i], err);
        if (!st && b->tok) st = wr_docstore_writer_add_tokens(b->docs, &batch->ids[i], err);
    }
    return st;
}

static wr_status write_terms(builder *b, wr_err *err)
{
    wr_doc_batch *batch = b->batch;
    wr_status st = wr_batch_analyse(batch, b->o->pool, err);
    for (size_t i = 0; i < batch->n && !st; i++) {
        const wr_batch_terms *t = &batch->terms[i];
        st = wr_sparse_writer_add(b->bm25, t->term, t->len, t->n, err);
    }
    return st;
}

/* weights [batch->n] are filled where one pass gives both. */
static wr_status write_vectors(builder *b, wr_token_weights *weights, wr_err *err)
{
    bool cut[WR_BATCH_DOCS];
    const wr_build_options *o = b->o;
    const wr_doc_batch *batch = b->batch;
    if (!b->model) return WR_OK;
    wr_status st = b->one_pass ? wr_embed_sparse_tokens(o->dense, o->sparse, o->pool, batch->ids, batch->n, NULL,
                                                        b->rows, weights, cut)
                               : wr_embed_tokens(o->dense, o->pool, batch->ids, batch->n, false, NULL, b->rows, cut);
    if (st)
        return wr_fail(err, st, "documents %s to %s: cannot be encoded: %s", batch->doc[0].docno,
                       batch->doc[batch->n - 1].docno, wr_status_name(st));
    for (size_t i = 0; i < batch->n; i++) b->report->documents_cut += cut[i];
    if (b->one_pass)
        for (size_t i = 0; i < batch->n; i++) b->report->sparse_documents_cut += cut[i];
    return wr_vectors_writer_add(b->vectors, b->rows, batch->n, err);
}

static wr_status write_encoded(builder *b, wr_err *err)
{
    wr_token_weights weights[WR_BATCH_DOCS] = {0};
    wr_build_report *r = b->report;
    uint64_t t = wr_clock_now(&wr_clock_system);
    wr_status st = write_vectors(b, weights, err);
    r->seconds_dense += seconds_since(t);
    t = wr_clock_now(&wr_clock_system);
    if (!st && b->sparse)
        st = wr_sparse_build_add(b->sparse, b->batch, b->one_pass ? weights : NULL, &r->sparse_documents_cut, err);
    r->seconds_sparse += seconds_since(t);
    wr_token_weights_release(weights, WR_BATCH_DOCS);
    return st;
}

static wr_status stream(builder *b, wr_err *err)
{
    wr_build_report *r = b->report;
    for (;;) {
        uint64_t t = wr_clock_now(&wr_clock_system);
        wr_status st = wr_batch_read(b->batch, b->corpus, err);
        if (st || b->batch->n == 0) return st;
        if ((st = write_documents(b, err))) return st;
        r->seconds_read += seconds_since(t);
        t = wr_clock_now(&wr_clock_system);
        if ((st = write_terms(b, err))) return st;
        r->seconds_postings += seconds_since(t);
        if ((st = write_encoded(b, err))) return st;
        r->documents += b->batch->n;
        tell(b, "documents");
    }
}

/* ---- what comes after the last document ---- */

static wr_status count_postings(const char *path, uint64_t *n, wr_err *err)
{
    wr_sparse *sparse;
    wr_sparse_stats s;
    wr_status st = wr_sparse_open(&sparse, path, err);
    if (st) return st;
    wr_sparse_stats_get(sparse, &s);
    *n = s.npostings;
    wr_sparse_close(sparse);
    return WR_OK;
}

/* One passage for each document, until long documents are cut into several. */
static wr_status write_passages(builder *b, wr_err *err)
{
    char path[PATH_MAX];
    wr_file *file = NULL;
    wr_status st = path_of(b, WR_FILE_PASSAGES, path, err);
    if (!st) st = wr_file_create(&file, path, "WRPASSAG", 1, err);
    if (st) return st;
    for (uint32_t i = 0; i < b->report->documents; i++) wr_file_write(file, &i, sizeof i);
    return wr_file_commit(file, err);
}

static wr_status commit_lexical(builder *b, wr_err *err)
{
    char path[PATH_MAX];
    wr_docstore_writer *docs = b->docs;
    wr_sparse_writer *bm25 = b->bm25;
    uint64_t t = wr_clock_now(&wr_clock_system);
    tell(b, "docstore");
    b->docs = NULL;
    wr_status st = wr_docstore_writer_commit(docs, err);
    if (!st) st = write_passages(b, err);
    b->report->seconds_read += seconds_since(t);
    if (!st) st = path_of(b, WR_FILE_BM25, path, err);
    if (st) return st;
    t = wr_clock_now(&wr_clock_system);
    tell(b, "postings");
    b->bm25 = NULL;
    st = wr_sparse_writer_commit_bm25(bm25, path, &b->o->bm25, err);
    if (!st) st = count_postings(path, &b->report->bm25_postings, err);
    b->report->seconds_postings += seconds_since(t);
    return st;
}

static wr_status commit_dense(builder *b, wr_err *err)
{
    char vectors[PATH_MAX], faiss[PATH_MAX];
    wr_vectors_writer *writer = b->vectors;
    if (!writer) return WR_OK;
    b->vectors = NULL;
    wr_status st = wr_vectors_writer_commit(writer, err);
    if (!st) st = path_of(b, WR_FILE_VECTORS, vectors, err);
    if (!st) st = path_of(b, WR_FILE_FAISS, faiss, err);
    if (st) return st;
    uint64_t t = wr_clock_now(&wr_clock_system);
    tell(b, "graph");
    st = wr_dense_build(vectors, factory_of(b), b->o->fast_build, faiss, err);
    b->report->seconds_graph += seconds_since(t);
    return st;
}

static wr_status commit_sparse(builder *b, wr_err *err)
{
    char path[PATH_MAX];
    if (!b->sparse) return WR_OK;
    uint64_t t = wr_clock_now(&wr_clock_system);
    tell(b, "sparse");
    wr_status st = wr_sparse_build_commit(b->sparse, b->report->documents, err);
    if (!st) st = path_of(b, WR_FILE_SPARSE, path, err);
    if (!st) st = count_postings(path, &b->report->sparse_postings, err);
    b->report->seconds_sparse += seconds_since(t);
    b->report->has_sparse = true;
    return st;
}

/* ---- publishing ---- */

static const char *default_pipeline(const builder *b)
{
    if (!b->sparse) return b->model ? WR_PIPELINE_DENSE : WR_PIPELINE_WORDS;
    if (b->model) return WR_PIPELINE_ALL;
    return wr_corpus_format_has_vectors(wr_corpus_format_of(b->corpus)) ? WR_PIPELINE_VECTORS : WR_PIPELINE_SPARSE;
}

static const char *pooling_name(wr_pooling pooling)
{
    return pooling == WR_POOL_CLS ? "cls" : pooling == WR_POOL_MAX ? "max" : "mean";
}

static void describe_dense(const builder *b, wr_index_info *info)
{
    info->has_dense = true;
    info->dense_model_path = b->model->path;
    info->dense_model_sha256 = b->model->sha256;
    info->dense_model_name = b->model->name;
    info->dense_dim = b->model->dim;
    info->dense_pooling = pooling_name(b->model->pooling);
    info->dense_normalize = b->model->normalize;
    info->dense_max_doc_tokens = b->model->max_doc_tokens;
    info->dense_max_query_tokens = b->model->max_query_tokens;
    info->dense_factory = factory_of(b);
    info->dense_fast_build = b->o->fast_build;
    info->documents_cut = b->report->documents_cut;
}

static wr_status add_files(builder *b, wr_manifest *m, wr_err *err)
{
    bool have[WR_FILE_COUNT];
    wr_status st = WR_OK;
    wr_manifest_expects(&m->info, have);
    for (enum wr_index_file i = 0; i < WR_FILE_COUNT && !st; i++) {
        char path[PATH_MAX];
        if (!have[i]) continue;
        st = path_of(b, i, path, err);
        if (!st) st = wr_manifest_add(m, i, path, b->o->pool, err);
    }
    return st;
}

static wr_status publish(builder *b, wr_err *err)
{
    wr_manifest m = {0};
    char created[24], sha256[WR_SHA256_HEX];
    wr_generation_time(created);
    wr_corpus_sha256(b->corpus, sha256);
    m.info = (wr_index_info){.generation = b->generation.name,
                             .created = created,
                             .version = WR_VERSION,
                             .corpus_sha256 = sha256,
                             .corpus_format = wr_corpus_format_name(wr_corpus_format_of(b->corpus)),
                             .analyzer = b->o->analyzer ? b->o->analyzer : "english",
                             .default_pipeline = default_pipeline(b),
                             .k1 = b->o->bm25.k1,
                             .b = b->o->bm25.b,
                             .documents = b->report->documents,
                             .passages = b->report->documents};
    if (b->model) describe_dense(b, &m.info);
    if (b->tok) m.info.tokenizer_sha256 = wr_tokenizer_sha256(b->tok);
    m.info.max_ids = b->max_ids;
    if (b->sparse) wr_sparse_build_describe(b->sparse, &m.info);
    m.info.sparse_documents_cut = b->report->sparse_documents_cut;
    tell(b, "checksums");
    wr_status st = add_files(b, &m, err);
    if (!st) st = wr_generation_publish(&b->generation, &m, err);
    wr_manifest_release(&m);
    return st;
}

static void release(builder *b)
{
    wr_docstore_writer_abort(b->docs);
    wr_sparse_writer_abort(b->bm25);
    wr_vectors_writer_abort(b->vectors);
    wr_sparse_build_close(b->sparse);
    wr_batch_close(b->batch);
    if (b->corpus) wr_corpus_close(b->corpus);
    free(b->rows);
    wr_generation_end(&b->generation);
}

wr_status wr_build(const wr_build_options *options, wr_build_report *report, wr_err *err)
{
    builder b = {.o = options, .report = report};
    *report = (wr_build_report){0};
    if (!(options->bm25.k1 >= 0 && options->bm25.k1 <= WR_MAX_K1 && options->bm25.b >= 0 && options->bm25.b <= 1))
        return wr_fail(err, WR_EARG, "k1 %g and b %g: expected 0 to %d and 0 to 1", options->bm25.k1, options->bm25.b,
                       WR_MAX_K1);
    settle_tokens(&b);
    wr_status st = wr_generation_begin(&b.generation, options->out, err);
    if (st) return st;
    st = open_all(&b, err);
    if (!st) settle_passes(&b);
    if (!st) st = stream(&b, err);
    if (!st && report->documents == 0)
        st = wr_fail(err, WR_EFORMAT, "%s: no documents in it, expected at least one", options->corpus);
    if (!st) st = commit_lexical(&b, err);
    if (!st) st = commit_sparse(&b, err);
    if (!st) st = commit_dense(&b, err);
    if (!st) st = publish(&b, err);
    if (!st) snprintf(report->generation, sizeof report->generation, "%s", b.generation.name);
    release(&b);
    return st;
}
