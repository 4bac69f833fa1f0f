#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/budget.h"
#include "data/command.h"
#include "data/mapfile.h"
#include "indexer/build.h"
#include "indexer/cmd_stats.h"
#include "indexer/lexical.h"
#include "indexer/manifest.h"
#include "models/find.h"

/* --sparse-density, --sparse-lexical are not given. */
#define NO_DENSITY SIZE_MAX
#define NO_LEXICAL (-DBL_MAX)

struct args {
    const char *corpus, *out, *format, *dense, *sparse, *sparse_index, *idf, *factory, *pooling, *max_tokens, *analyzer, *progress;
    const char *precision;
    bool no_dense, no_sparse, fast_build;
    double k1, b, prune_ratio, lexical;
    size_t threads, density;
};

/* ---- progress ---- */

enum progress { SILENT, BAR, JSON_LINES };

struct view {
    enum progress kind;
    uint64_t began, shown; /* ns */
    char phase[16];
};

/* A terminal is drawn ten times a second at most; a program gets a line a second and one for every phase. */
static bool due(struct view *v, const char *phase, uint64_t now)
{
    bool changed = strncmp(v->phase, phase, sizeof v->phase - 1) != 0;
    uint64_t step = v->kind == BAR ? 100000000u : 1000000000u;
    if (!changed && now - v->shown < step) return false;
    snprintf(v->phase, sizeof v->phase, "%s", phase);
    v->shown = now;
    return true;
}

static void draw_bar(const char *phase, double seconds, uint64_t docs, uint64_t done, uint64_t total)
{
    enum { WIDTH = 24 };
    static const char hashes[] = "########################", dots[] = "........................";
    fprintf(stderr, "\r\033[K%-9s", phase);
    if (total && done <= total) {
        int filled = (int)((double)done / (double)total * WIDTH);
        fprintf(stderr, " [%.*s%.*s] %3.0f %%", filled, hashes, WIDTH - filled, dots,
                100 * (double)done / (double)total);
    }
    fprintf(stderr, "  %" PRIu64 " documents", docs);
    if (seconds > 0) fprintf(stderr, ", %.0f/s", (double)docs / seconds);
    if (total && done && done < total) {
        double left = seconds * (double)(total - done) / (double)done;
        fprintf(stderr, ", %d:%02d left", (int)(left / 60), (int)left % 60);
    }
    fflush(stderr);
}

static void show(void *arg, const char *phase, uint64_t docs, uint64_t done, uint64_t total)
{
    struct view *v = arg;
    uint64_t now = wr_clock_now(&wr_clock_system);
    if (!due(v, phase, now)) return;
    double seconds = (double)(now - v->began) / 1e9;
    if (v->kind == BAR)
        draw_bar(phase, seconds, docs, done, total);
    else
        fprintf(stderr,
                "{\"phase\":\"%s\",\"documents\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bytes_total\":%" PRIu64
                ",\"seconds\":%.3f}\n",
                phase, docs, done, total, seconds);
}

static wr_status read_progress(const char *text, enum progress *kind, wr_err *err)
{
    *kind = SILENT;
    if (!strcmp(text, "json"))
        *kind = JSON_LINES;
    else if (!strcmp(text, "auto"))
        *kind = isatty(STDERR_FILENO) ? BAR : SILENT;
    else if (strcmp(text, "none"))
        return wr_fail(err, WR_EARG, "--progress %s: expected auto, json or none", text);
    return WR_OK;
}

/* ---- the model ---- */

static wr_status read_pooling(const char *text, wr_pooling *pooling, wr_err *err)
{
    static const char *const names[] = {"cls", "mean", "max"};
    static const wr_pooling values[] = {WR_POOL_CLS, WR_POOL_MEAN, WR_POOL_MAX};
    *pooling = WR_POOL_AUTO;
    for (size_t i = 0; text && i < 3; i++)
        if (!strcmp(text, names[i])) *pooling = values[i];
    if (!text || *pooling != WR_POOL_AUTO) return WR_OK;
    return wr_fail(err, WR_EARG, "--pooling %s: expected cls, mean or max", text);
}

/* "N" or "N,Q"; 2 is [CLS] and [SEP] alone. */
static wr_status read_max_tokens(const char *text, wr_model_options *options, wr_err *err)
{
    size_t value[2] = {0, 0}, n = 0;
    const char *p = text;
    bool ok = true;
    while (p && ok && n < 2) {
        size_t digits = strspn(p, "0123456789");
        ok = digits > 0 && digits < 8 && (p[digits] == 0 || (p[digits] == ',' && n == 0));
        if (ok) value[n++] = strtoul(p, NULL, 10);
        p = ok && p[digits] ? p + digits + 1 : NULL;
    }
    for (size_t i = 0; i < n; i++) ok &= value[i] >= 2;
    if (!ok) return wr_fail(err, WR_EARG, "--max-tokens %s: expected N or N,Q, each at least 2", text);
    options->max_doc_tokens = value[0];
    options->max_query_tokens = value[1];
    return WR_OK;
}

/* What the documents bring, where that can be told without reading them twice. */
static wr_status tell_format(const struct args *a, wr_corpus_format *format, wr_err *err)
{
    wr_corpus *corpus;
    if (*format != WR_CORPUS_AUTO || !strcmp(a->corpus, "-")) return WR_OK;
    wr_status st = wr_corpus_open(&corpus, a->corpus, *format, err);
    if (st) return st;
    if (wr_corpus_format_has_vectors(wr_corpus_format_of(corpus))) *format = wr_corpus_format_of(corpus);
    wr_corpus_close(corpus);
    return WR_OK;
}

static bool has_lexical(const struct args *a)
{
    return a->lexical > NO_LEXICAL;
}

static wr_status read_idf(const struct args *a, wr_build_options *build, wr_err *err)
{
    if (a->no_sparse && a->sparse) return wr_fail(err, WR_EARG, "--no-sparse and --sparse exclude each other");
    build->no_sparse = a->no_sparse;
    build->prune_ratio = a->prune_ratio;
    build->density = a->density == NO_DENSITY ? 0 : a->density ? a->density : WR_DENSITY_ALL;
    if (a->density != NO_DENSITY && a->density > WR_MAX_DENSITY)
        return wr_fail(err, WR_EARG, "--sparse-density %zu: expected at most %zu, or 0 for no limit", a->density,
                       WR_MAX_DENSITY);
    build->lexical = a->lexical > 0 ? a->lexical : has_lexical(a) ? WR_LEXICAL_NONE : 0;
    if (has_lexical(a) && !(a->lexical >= 0 && a->lexical <= WR_MAX_LEXICAL))
        return wr_fail(err, WR_EARG, "--sparse-lexical %g: expected 0 to %g", a->lexical, WR_MAX_LEXICAL);
    if (!(a->prune_ratio >= 0 && a->prune_ratio < 1))
        return wr_fail(err, WR_EARG, "--prune-ratio %g: expected 0 to below 1", a->prune_ratio);
    if (a->sparse_index) {
        if (strcmp(a->sparse_index, "exact") && strcmp(a->sparse_index, "approx"))
            return wr_fail(err, WR_EARG, "--sparse-index %s: expected exact or approx", a->sparse_index);
        build->sparse_index = a->sparse_index[0] == 'e' ? WR_SPARSE_INDEX_EXACT : WR_SPARSE_INDEX_APPROX;
    }
    if (!a->idf) return WR_OK;
    build->idf = !strcmp(a->idf, "model") ? WR_IDF_MODEL : !strcmp(a->idf, "corpus") ? WR_IDF_CORPUS
                 : !strcmp(a->idf, "both") ? WR_IDF_BOTH : WR_IDF_FILE;
    build->idf_file = a->idf;
    if (build->idf != WR_IDF_FILE || wr_path_exists(a->idf)) return WR_OK;
    return wr_fail(err, WR_EARG, "--idf %s: expected model, corpus, both or a file of token weights", a->idf);
}

/* The default model's folder; where it is nowhere, what is left out is said. */
static bool find_default(const char *name, const char *what, const char *option, char found[WR_MAX_PATH])
{
    wr_err err;
    if (!wr_model_find(name, found, &err)) return true;
    fprintf(stderr, "weir index: no %s is built: %s; %s MODEL names another model\n", what, err.text, option);
    return false;
}

/* The sparse model that was named, its tokenizer alone where the documents bring their weights; else the default one,
 * or none when it is nowhere. A corpus of vectors has its own vocabulary. */
static wr_status open_sparse(const struct args *a, wr_corpus_format format, wr_model **model, wr_err *err)
{
    wr_model_options options = {.precision = a->precision,
                                .prune_ratio = a->prune_ratio,
                                .tokenizer_only = wr_corpus_format_has_vectors(format)};
    char found[WR_MAX_PATH];
    *model = NULL;
    if (a->no_sparse || (!a->sparse && options.tokenizer_only)) return WR_OK;
    wr_status st = read_max_tokens(a->max_tokens, &options, err);
    if (st) return st;
    if (a->sparse) return wr_model_open(model, a->sparse, &options, err);
    if (!find_default(WR_DEFAULT_SPARSE, "learned sparse index", "--sparse", found)) return WR_OK;
    return wr_model_open(model, found, &options, err);
}

/* The model that was named; else the default one, or none when it is nowhere (*model stays NULL). A corpus of vectors is
 * not encoded unless that is asked for: its texts are often missing. */
static wr_status open_model(const struct args *a, wr_corpus_format format, wr_model **model, wr_err *err)
{
    wr_model_options options = {.precision = a->precision};
    char found[WR_MAX_PATH];
    *model = NULL;
    if (a->no_dense && a->dense) return wr_fail(err, WR_EARG, "--no-dense and --dense exclude each other");
    if (a->no_dense || (!a->dense && wr_corpus_format_has_vectors(format))) return WR_OK;
    wr_status st = read_pooling(a->pooling, &options.pooling, err);
    if (!st) st = read_max_tokens(a->max_tokens, &options, err);
    if (st) return st;
    if (a->dense) return wr_model_open(model, a->dense, &options, err);
    if (!find_default(WR_DEFAULT_DENSE, "dense index", "--dense", found)) return WR_OK;
    return wr_model_open(model, found, &options, err);
}

static void tell_passes(const wr_model *dense, const wr_model *sparse)
{
    if (wr_model_one_pass(dense, sparse))
        fprintf(stderr, "weir index: %s and %s have one encoder, through which each text goes once\n",
                wr_model_info_get(dense)->name, wr_model_info_get(sparse)->name);
}

/* ---- the summary ---- */

static void print_size(const char *name, uint64_t bytes)
{
    printf("  %-14s %10.1f MB\n", name, (double)bytes / 1e6);
}

static void summary(const struct args *a, bool dense, const wr_build_report *r, double seconds)
{
    wr_manifest m;
    wr_err err;
    printf("%s/%s: %" PRIu64 " documents in %.1f s (%.0f/s)\n", a->out, r->generation, r->documents, seconds,
           (double)r->documents / seconds);
    printf("  reading and storing %.1f s, postings %.1f s", r->seconds_read, r->seconds_postings);
    if (dense)
        printf(", %s %.1f s, dense index %.1f s",
               r->one_pass ? "vectors and learned weights (one pass of the encoder)" : "vectors", r->seconds_dense,
               r->seconds_graph);
    if (r->has_sparse) printf(", learned sparse %.1f s", r->seconds_sparse);
    printf("\n");
    if (!wr_manifest_load(&m, a->out, &err)) {
        for (size_t i = 0; i < WR_FILE_COUNT; i++)
            if (m.file[i].present) print_size(wr_index_file_name[i], m.file[i].bytes);
        wr_print_costs(&m, r->bm25_postings, r->sparse_postings);
        if (dense)
            printf("  dense index    %13s%s\n"
                   "  %" PRIu64 " of %" PRIu64 " documents were longer than %zu tokens and were cut\n",
                   m.info.dense_factory, a->fast_build ? " (fast build)" : "", r->documents_cut, r->documents,
                   m.info.dense_max_doc_tokens);
        if (r->has_sparse && !strcmp(m.info.sparse_documents, "model"))
            printf("  %" PRIu64 " of %" PRIu64 " documents were longer than %zu tokens and were cut for sparse.bin\n",
                   r->sparse_documents_cut, r->documents, m.info.sparse_max_doc_tokens);
    }
    wr_manifest_release(&m);
}

/* ---- the command ---- */

static wr_status check(const struct args *a, wr_build_options *build, struct view *view, wr_err *err)
{
    if (!a->corpus && !a->factory) return wr_fail(err, WR_EARG, "no corpus named, expected --corpus PATH");
    if (!a->corpus &&
        (a->dense || a->no_dense || a->max_tokens || a->pooling || a->sparse || a->idf || a->density != NO_DENSITY ||
         has_lexical(a)))
        return wr_fail(err, WR_EARG, "without --corpus only the dense index is built anew: the model stays as it is");
    if (!a->out) return wr_fail(err, WR_EARG, "no place for the index, expected --out DIR");
    if (a->threads > 1024) return wr_fail(err, WR_EARG, "--threads %zu: at most 1024", a->threads);
    wr_status st = read_progress(a->progress, &view->kind, err);
    if (!st) st = read_idf(a, build, err);
    return st ? st : wr_corpus_format_parse(a->format, &build->format, err);
}

static wr_status index_corpus(const struct args *a, wr_err *err)
{
    struct view view = {.began = wr_clock_now(&wr_clock_system)};
    wr_build_options build = {.corpus = a->corpus,
                              .out = a->out,
                              .analyzer = a->analyzer,
                              .bm25 = {a->k1, a->b},
                              .factory = a->factory,
                              .fast_build = a->fast_build,
                              .arg = &view};
    wr_build_report report;
    wr_model *model = NULL, *sparse = NULL;
    wr_pool *pool = NULL;
    wr_status st = check(a, &build, &view, err);
    if (!st && a->corpus) st = tell_format(a, &build.format, err);
    if (!st && a->corpus) st = open_model(a, build.format, &model, err);
    if (!st && a->corpus) st = open_sparse(a, build.format, &sparse, err);
    if (!st) st = wr_pool_open(&pool, (unsigned)a->threads, wr_dense_thread_init, err);
    if (st) goto done;
    build.dense = model;
    build.sparse = sparse;
    build.pool = pool;
    build.progress = view.kind == SILENT ? NULL : show;
    if (view.kind == BAR && model && sparse) tell_passes(model, sparse);
    view.began = wr_clock_now(&wr_clock_system);
    st = a->corpus ? wr_build(&build, &report, err) : wr_rebuild(a->out, a->factory, a->fast_build, pool, &report, err);
    if (view.kind == BAR) fprintf(stderr, "\r\033[K");
    if (!st) summary(a, model || !a->corpus, &report, (double)(wr_clock_now(&wr_clock_system) - view.began) / 1e9);
done:
    wr_pool_close(pool);
    wr_model_close(model);
    wr_model_close(sparse);
    return st;
}

static int run(int argc, char **argv)
{
    struct args a = {.format = "auto", .progress = "auto", .k1 = 0.9, .b = 0.4, .density = NO_DENSITY, .lexical = NO_LEXICAL};
    const struct wr_option options[] = {
        {"corpus", "PATH", "a BEIR folder, a file (.gz is read as is), or - for standard input", WR_OPT_TEXT,
         &a.corpus},
        {"out", "DIR", "the index directory; a new generation beside the one it may hold", WR_OPT_TEXT, &a.out},
        {"format", "NAME", "auto, beir, jsonl, msmarco, trec, or vectors or ciff, whose documents bring weights (auto)",
         WR_OPT_TEXT, &a.format},
        {"dense", "MODEL", "encodes documents with MODEL (" WR_DEFAULT_DENSE " where it is found)", WR_OPT_TEXT,
         &a.dense},
        {"no-dense", NULL, "builds no dense index", WR_OPT_FLAG, &a.no_dense},
        {"sparse", "MODEL",
         "learned sparse postings of documents by MODEL, whose tokens queries have (" WR_DEFAULT_SPARSE
         " where it is found)",
         WR_OPT_TEXT, &a.sparse},
        {"no-sparse", NULL, "builds no learned sparse index, also of a corpus of vectors", WR_OPT_FLAG, &a.no_sparse},
        {"sparse-index", "exact|approx", "with approx also what sparse[mode=approx] searches (by size)", WR_OPT_TEXT,
         &a.sparse_index},
        {"idf", "model|corpus|both|FILE", "what a query's tokens weigh (as the model says; without a table the model runs)",
         WR_OPT_TEXT, &a.idf},
        {"prune-ratio", "R", "drops learned weights up to this share of a document's largest (0)", WR_OPT_DOUBLE,
         &a.prune_ratio},
        {"sparse-density", "N", "keeps N learned tokens for each 640 bytes of a document, 0 = all (as the model says)",
         WR_OPT_SIZE, &a.density},
        {"sparse-lexical", "X", "weight of a document's own words beside the learned ones, 0 = none (as the model says)",
         WR_OPT_DOUBLE, &a.lexical},
        {"dense-index", "FACTORY",
         "FAISS's factory string: Flat, HNSW32, IVF256,SQ8, ... (by size); without --corpus, of the vectors in DIR",
         WR_OPT_TEXT, &a.factory},
        {"pooling", "NAME", "cls, mean or max (as the model says)", WR_OPT_TEXT, &a.pooling},
        {"max-tokens", "N[,Q]", "longest document and query, in tokens (as the model says)", WR_OPT_TEXT,
         &a.max_tokens},
        {"analyzer", "NAME", "english, none, or another language of Snowball's (english)", WR_OPT_TEXT, &a.analyzer},
        {"k1", "X", "BM25's k1 (0.9)", WR_OPT_DOUBLE, &a.k1},
        {"b", "X", "BM25's b (0.4)", WR_OPT_DOUBLE, &a.b},
        {"precision", "P", "arithmetic of the models: fp32, bf16 or int8 (as they are stored)", WR_OPT_TEXT,
         &a.precision},
        {"threads", "N", "threads that compute (as many as this process may use)", WR_OPT_SIZE, &a.threads},
        {"fast-build", NULL, "builds FAISS's index on all threads; its bytes may differ from run to run", WR_OPT_FLAG,
         &a.fast_build},
        {"progress", "KIND", "auto, json or none (auto: a bar on a terminal)", WR_OPT_TEXT, &a.progress},
        {0}};
    wr_err err = {0};
    size_t n = 0;
    wr_status st = wr_options_parse(&wr_cmd_index, options, argc, argv, NULL, 0, &n);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = index_corpus(&a, &err);
    return st ? wr_command_fail(&wr_cmd_index, st, &err) : 0;
}

const struct wr_command wr_cmd_index = {
    .name = "index",
    .usage = "weir index --corpus PATH --out DIR [--dense MODEL | --no-dense] [--sparse MODEL] [options]\n"
             "       weir index --out DIR --dense-index FACTORY [--fast-build]",
    .summary = "builds an index of a corpus",
    .run = run,
};
