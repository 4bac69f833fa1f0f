#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/command.h"
#include "indexer/cmd_stats.h"
#include "indexer/manifest.h"

/* Where the bytes are: the files, and for postings what is inside. */
struct part {
    const char *name, *what;
    uint64_t bytes;
};

enum { PARTS_MAX = WR_FILE_COUNT + 10 };

static const char *const file_holds[WR_FILE_COUNT] = {"texts, by number and by docno (LMDB)",
                                                      "passage -> document",
                                                      "BM25 impact postings",
                                                      "vectors",
                                                      "dense index (FAISS)",
                                                      "learned sparse postings",
                                                      "weights of a query's tokens",
                                                      "vectors and clusters for approximate sparse search"};

static size_t add_postings(const wr_sparse_stats *s, struct part *part)
{
    part[0] = (struct part){"  terms", "dictionary", s->bytes_terms};
    part[1] = (struct part){"  blocks", "block maxima and offsets", s->bytes_blocks};
    part[2] = (struct part){"  postings", "docids and impacts", s->bytes_postings};
    return 3;
}

static size_t add_clusters(const wr_sparse_ann *clusters, struct part *part)
{
    wr_sparse_ann_stats s;
    wr_sparse_ann_stats_get(clusters, &s);
    part[0] = (struct part){"  forward", "every passage's vector", s.bytes_forward};
    part[1] = (struct part){"  lists", "clusters and their summaries", s.bytes_lists};
    part[2] = (struct part){"  directory", "of the lists", s.bytes_directory};
    return 3;
}

static size_t list_parts(const wr_index *index, const wr_manifest *m, const wr_sparse_stats *bm25,
                         const wr_sparse_report *sparse, struct part part[PARTS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        if (!m->file[i].present) continue;
        part[n++] = (struct part){wr_index_file_name[i], file_holds[i], m->file[i].bytes};
        uint64_t ids = i == WR_FILE_DOCS ? wr_docstore_token_bytes(wr_index_docstore(index)) : 0;
        if (ids) part[n++] = (struct part){"  tokens", "token ids of texts", ids};
        if (i == WR_FILE_BM25) n += add_postings(bm25, part + n);
        if (i == WR_FILE_SPARSE) n += add_postings(&sparse->postings, part + n);
        if (i == WR_FILE_CLUSTERS) n += add_clusters(wr_index_clusters(index), part + n);
    }
    return n;
}

/* ---- what a document takes ---- */

enum kind { BM25, SPARSE, DENSE, KINDS };

static uint64_t bytes_of(const wr_manifest *m, enum kind kind)
{
    const wr_manifest_file *f = m->file;
    if (kind == BM25) return f[WR_FILE_BM25].bytes;
    if (kind == SPARSE) return f[WR_FILE_SPARSE].bytes + f[WR_FILE_CLUSTERS].bytes;
    return f[WR_FILE_VECTORS].bytes + f[WR_FILE_FAISS].bytes;
}

static double each(const wr_manifest *m, uint64_t n)
{
    return (double)n / (double)m->info.documents;
}

void wr_print_costs(const wr_manifest *m, uint64_t bm25_postings, uint64_t sparse_postings)
{
    static const char *const name[KINDS] = {"BM25", "learned sparse", "dense"};
    const uint64_t postings[KINDS] = {bm25_postings, sparse_postings, 0};
    printf("  a document:\n");
    for (enum kind k = 0; k < KINDS; k++) {
        if (!bytes_of(m, k)) continue;
        printf("    %-14s %10.1f bytes", name[k], each(m, bytes_of(m, k)));
        if (postings[k]) printf(", %.1f postings", each(m, postings[k]));
        printf("\n");
    }
}

/* Adds the same to the object of a kind of index. */
static json_t *with_costs(json_t *object, const wr_manifest *m, enum kind kind, uint64_t postings)
{
    if (!json_is_object(object)) return object;
    json_object_set_new(object, "bytes_per_document", json_real(each(m, bytes_of(m, kind))));
    if (kind != DENSE) json_object_set_new(object, "postings_per_document", json_real(each(m, postings)));
    return object;
}

/* ---- printing ---- */

static void print_sparse(const wr_index_info *i, const wr_sparse_report *r)
{
    const wr_spread *s = &r->spread;
    printf("  learned sparse: documents by %s, queries by %s",
           !strcmp(i->sparse_documents, "model") ? i->sparse_model_name : "vectors that they brought",
           !strcmp(i->sparse_query, "idf")     ? "a table of weights"
           : !strcmp(i->sparse_query, "model") ? "the model"
                                               : "weights that they bring");
    printf("; %" PRIu64 " terms, %" PRIu64 " postings\n", r->postings.nterms, r->postings.npostings);
    printf("    terms a passage: mean %.1f, least %u, 5 %% %u, median %u, 95 %% %u, 99 %% %u, most %u; %" PRIu64
           " have none\n",
           s->mean, s->least, s->p5, s->median, s->p95, s->p99, s->most, s->empty);
    printf("    FLOPS (terms that both have): two passages %.3f", s->flops);
    if (r->nqueries)
        printf("; a query and a passage %.3f, of %zu queries of %.1f terms", r->flops, r->nqueries, r->query_terms);
    printf("\n");
    if (!strcmp(i->sparse_documents, "model"))
        printf("    %zu tokens; %" PRIu64 " documents were cut\n", i->sparse_max_doc_tokens, i->sparse_documents_cut);
    if (i->sparse_density) printf("    at most %zu terms for each 640 bytes of a document were kept\n", i->sparse_density);
    if (i->sparse_lexical > 0) printf("    weights hold the documents' own words, %g times\n", i->sparse_lexical);
}

static void print_text(const wr_index_info *i, const wr_manifest *m, const wr_sparse_stats *s,
                       const wr_sparse_report *sparse, const struct part *part, size_t n, uint64_t total)
{
    printf("%s/%s, built %s by weir %s\n", i->dir, i->generation, i->created, i->version);
    printf("  %" PRIu64 " documents, %" PRIu64 " passages; %s corpus, default pipeline %s\n", i->documents, i->passages,
           i->corpus_format, i->default_pipeline);
    printf("  BM25: analyzer %s, k1 %g, b %g; %" PRIu64 " terms, %" PRIu64 " postings, %.1f terms a passage\n",
           i->analyzer, i->k1, i->b, s->nterms, s->npostings, s->avg_length);
    if (i->has_dense)
        printf("  dense: %s, %zu components, %s pooling%s, %zu tokens, index %s%s; %" PRIu64 " documents were cut\n",
               i->dense_model_name, i->dense_dim, i->dense_pooling, i->dense_normalize ? ", normalised" : "",
               i->dense_max_doc_tokens, i->dense_factory, i->dense_fast_build ? " (fast build)" : "", i->documents_cut);
    if (i->has_sparse) print_sparse(i, sparse);
    wr_print_costs(m, s->npostings, sparse->postings.npostings);
    printf("\n%-14s %15s %12s  %s\n", "file", "bytes", "a document", "holds");
    for (size_t p = 0; p < n; p++)
        printf("%-14s %15" PRIu64 " %12.1f  %s\n", part[p].name, part[p].bytes,
               (double)part[p].bytes / (double)i->documents, part[p].what);
    printf("%-14s %15" PRIu64 " %12.1f\n", "total", total, (double)total / (double)i->documents);
}

static json_t *sparse_json(const wr_index *index, const wr_index_info *i, const wr_sparse_report *r)
{
    const wr_sparse_stats *p = &r->postings;
    const wr_spread *s = &r->spread;
    if (!i->has_sparse) return json_null();
    json_t *counts = json_pack("{s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:I}", "mean", s->mean, "min", (int)s->least, "p5",
                               (int)s->p5, "p50", (int)s->median, "p95", (int)s->p95, "p99", (int)s->p99, "max",
                               (int)s->most, "empty", (json_int_t)s->empty);
    json_t *sparse = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:f, s:I, s:f, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:f}", "model", i->sparse_model_name,
        "model_sha256", i->sparse_model_sha256, "documents", i->sparse_documents, "query", i->sparse_query, "idf",
        i->sparse_idf, "prune_ratio", i->sparse_prune_ratio, "density", (json_int_t)i->sparse_density, "lexical",
        i->sparse_lexical, "query_tf", i->sparse_query_tf == WR_QUERY_ROOT ? "sqrt" : "set", "documents_cut",
        (json_int_t)i->sparse_documents_cut, "terms", (json_int_t)p->nterms, "postings", (json_int_t)p->npostings,
        "bytes_terms", (json_int_t)p->bytes_terms, "bytes_blocks", (json_int_t)p->bytes_blocks, "bytes_postings",
        (json_int_t)p->bytes_postings, "nonzeros", counts, "flops_documents", s->flops);
    if (sparse && r->nqueries)
        json_object_update_new(sparse, json_pack("{s:f, s:I, s:f}", "flops", r->flops, "queries",
                                                 (json_int_t)r->nqueries, "query_terms", r->query_terms));
    if (!sparse || !wr_index_clusters(index)) return sparse;
    wr_sparse_ann_stats a;
    wr_sparse_ann_stats_get(wr_index_clusters(index), &a);
    json_object_set_new(sparse, "clusters",
                        json_pack("{s:I, s:I, s:I, s:I, s:I}", "postings", (json_int_t)a.postings, "clusters",
                                  (json_int_t)a.clusters, "bytes_forward", (json_int_t)a.bytes_forward, "bytes_lists",
                                  (json_int_t)a.bytes_lists, "bytes_directory", (json_int_t)a.bytes_directory));
    return sparse;
}

static wr_status print_json(const wr_index *index, const wr_manifest *m, const wr_sparse_stats *s,
                            const wr_sparse_report *sparse, uint64_t total)
{
    const wr_index_info *i = wr_index_info_get(index);
    json_t *files = json_object();
    for (size_t f = 0; f < WR_FILE_COUNT; f++)
        if (m->file[f].present)
            json_object_set_new(files, wr_index_file_name[f], json_integer((json_int_t)m->file[f].bytes));
    json_t *bm25 = json_pack("{s:s, s:f, s:f, s:I, s:I, s:f, s:I, s:I, s:I}", "analyzer", i->analyzer, "k1", i->k1, "b",
                             i->b, "terms", (json_int_t)s->nterms, "postings", (json_int_t)s->npostings, "avg_length",
                             s->avg_length, "bytes_terms", (json_int_t)s->bytes_terms, "bytes_blocks",
                             (json_int_t)s->bytes_blocks, "bytes_postings", (json_int_t)s->bytes_postings);
    json_t *dense = !i->has_dense
                        ? json_null()
                        : json_pack("{s:s, s:s, s:I, s:s, s:b, s:I, s:s, s:b, s:I}", "model", i->dense_model_name,
                                    "model_sha256", i->dense_model_sha256, "dim", (json_int_t)i->dense_dim, "pooling",
                                    i->dense_pooling, "normalize", (int)i->dense_normalize, "max_doc_tokens",
                                    (json_int_t)i->dense_max_doc_tokens, "factory", i->dense_factory, "fast_build",
                                    (int)i->dense_fast_build, "documents_cut", (json_int_t)i->documents_cut);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:o, s:o, s:o, s:I, s:o}", "index", i->name, "generation",
                  i->generation, "created", i->created, "weir", i->version, "documents", (json_int_t)i->documents,
                  "passages", (json_int_t)i->passages, "default_pipeline", i->default_pipeline, "bm25",
                  with_costs(bm25, m, BM25, s->npostings), "dense", with_costs(dense, m, DENSE, 0), "sparse",
                  with_costs(sparse_json(index, i, sparse), m, SPARSE, sparse->postings.npostings), "bytes",
                  (json_int_t)total, "files", files);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(root);
    return text ? WR_OK : WR_ENOMEM;
}

struct args {
    const char *dir, *topics, *sparse;
    bool json;
};

static wr_status stats(const struct args *a, wr_err *err)
{
    wr_index *index = NULL;
    wr_manifest m = {0};
    wr_sparse_stats s;
    wr_sparse_report sparse;
    struct part part[PARTS_MAX];
    wr_status st = wr_index_open(&index, a->dir, err);
    if (!st) st = wr_manifest_load(&m, a->dir, err);
    if (!st) st = wr_sparse_report_make(index, a->topics, a->sparse, &sparse, err);
    if (st) goto done;
    wr_sparse_stats_get(wr_index_bm25(index), &s);
    uint64_t total = 0;
    for (size_t i = 0; i < WR_FILE_COUNT; i++) total += m.file[i].bytes;
    if (!a->json)
        print_text(wr_index_info_get(index), &m, &s, &sparse, part, list_parts(index, &m, &s, &sparse, part), total);
    else if ((st = print_json(index, &m, &s, &sparse, total)))
        wr_fail(err, st, "%s: out of memory", a->dir);
done:
    wr_manifest_release(&m);
    wr_index_close(index);
    return st;
}

static int run(int argc, char **argv)
{
    struct args a = {0};
    const struct wr_option options[] = {
        {"json", NULL, "the numbers as JSON", WR_OPT_FLAG, &a.json},
        {"topics", "FILE", "queries: how much of the learned sparse postings they meet (FLOPS)", WR_OPT_TEXT,
         &a.topics},
        {"sparse", "MODEL", "learned sparse model instead of the one that the index names", WR_OPT_TEXT, &a.sparse},
        {0}};
    wr_err err = {0};
    size_t n = 0;
    wr_status st = wr_options_parse(&wr_cmd_stats, options, argc, argv, &a.dir, 1, &n);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = n == 1 ? stats(&a, &err) : wr_fail(&err, WR_EARG, "no index named, expected DIR");
    return st ? wr_command_fail(&wr_cmd_stats, st, &err) : 0;
}

const struct wr_command wr_cmd_stats = {
    .name = "stats",
    .usage = "weir stats DIR [--json] [--topics FILE]",
    .summary = "says where the bytes of an index are",
    .run = run,
};
