#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "indexer/manifest.h"
#include "tools/command.h"

/* Where the bytes are: the files, and for postings what is inside. */
struct part {
    const char *name, *what;
    uint64_t bytes;
};

enum { PARTS_MAX = WR_FILE_COUNT + 3 };

static const char *const file_holds[WR_FILE_COUNT] = {"texts, by number and by docno (LMDB)", "passage -> document",
                                                      "BM25 impact postings", "vectors", "dense index (FAISS)",
                                                      "learned sparse postings", "weights of a query's tokens",
                                                      "vectors and clusters for approximate sparse search"};

static size_t list_parts(const wr_manifest *m, const wr_sparse_stats *s, struct part part[PARTS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        if (!m->file[i].present) continue;
        part[n++] = (struct part){wr_index_file_name[i], file_holds[i], m->file[i].bytes};
        if (i != WR_FILE_BM25) continue;
        part[n++] = (struct part){"  terms", "dictionary", s->bytes_terms};
        part[n++] = (struct part){"  blocks", "block maxima and offsets", s->bytes_blocks};
        part[n++] = (struct part){"  postings", "docids and impacts", s->bytes_postings};
    }
    return n;
}

static void print_text(const wr_index_info *i, const wr_sparse_stats *s, const struct part *part, size_t n,
                       uint64_t total)
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
    printf("\n%-14s %15s %12s  %s\n", "file", "bytes", "a document", "holds");
    for (size_t p = 0; p < n; p++)
        printf("%-14s %15" PRIu64 " %12.1f  %s\n", part[p].name, part[p].bytes,
               (double)part[p].bytes / (double)i->documents, part[p].what);
    printf("%-14s %15" PRIu64 " %12.1f\n", "total", total, (double)total / (double)i->documents);
}

static wr_status print_json(const wr_manifest *m, const wr_index_info *i, const wr_sparse_stats *s, uint64_t total)
{
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
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:o, s:o, s:I, s:o}", "index", i->name, "generation",
                  i->generation, "created", i->created, "weir", i->version, "documents", (json_int_t)i->documents,
                  "passages", (json_int_t)i->passages, "default_pipeline", i->default_pipeline, "bm25", bm25, "dense",
                  dense, "bytes", (json_int_t)total, "files", files);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(root);
    return text ? WR_OK : WR_ENOMEM;
}

static wr_status stats(const char *dir, bool json, wr_err *err)
{
    wr_index *index = NULL;
    wr_manifest m = {0};
    wr_sparse_stats s;
    struct part part[PARTS_MAX];
    wr_status st = wr_index_open(&index, dir, err);
    if (!st) st = wr_manifest_load(&m, dir, err);
    if (st) goto done;
    const wr_index_info *info = wr_index_info_get(index);
    wr_sparse_stats_get(wr_index_bm25(index), &s);
    uint64_t total = 0;
    for (size_t i = 0; i < WR_FILE_COUNT; i++) total += m.file[i].bytes;
    if (!json)
        print_text(info, &s, part, list_parts(&m, &s, part), total);
    else if ((st = print_json(&m, info, &s, total)))
        wr_fail(err, st, "%s: out of memory", dir);
done:
    wr_manifest_release(&m);
    wr_index_close(index);
    return st;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    const struct wr_option options[] = {{"json", NULL, "the numbers as JSON", WR_OPT_FLAG, &json}, {0}};
    wr_err err = {0};
    size_t n = 0;
    wr_status st = wr_options_parse(&wr_cmd_stats, options, argc, argv, &dir, 1, &n);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    st = n == 1 ? stats(dir, json, &err) : wr_fail(&err, WR_EARG, "no index named, expected DIR");
    return st ? wr_command_fail(&wr_cmd_stats, st, &err) : 0;
}

const struct wr_command wr_cmd_stats = {
    .name = "stats",
    .usage = "weir stats DIR [--json]",
    .summary = "says where the bytes of an index are",
    .run = run,
};
