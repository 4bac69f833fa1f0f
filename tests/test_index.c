/* The manifest, and an index that is opened by it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hash.h"
#include "indexer/build.h"
#include "indexer/manifest.h"
#include "tests/testlib.h"

static char zeros[65] = "0000000000000000000000000000000000000000000000000000000000000000";

/* A manifest of two blocks of documents and one of everything else, dense or not. */
static void make(wr_manifest *m, bool dense, const char *factory)
{
    *m = (wr_manifest){.info = {.generation = "gen-000012",
                                .created = "2026-11-24T12:00:00Z",
                                .version = "0.1.0",
                                .corpus_sha256 = zeros,
                                .corpus_format = "beir",
                                .analyzer = "english",
                                .default_pipeline = "bm25:100",
                                .k1 = 0.9,
                                .b = 0.4,
                                .documents = 10,
                                .passages = 10}};
    if (dense) {
        m->info.has_dense = true;
        m->info.dense_model_path = "/models/M\xc3\xbcller \"x\"";
        m->info.dense_model_sha256 = zeros;
        m->info.dense_model_name = "x";
        m->info.dense_factory = factory;
        m->info.dense_pooling = "mean";
        m->info.dense_dim = 384;
        m->info.dense_max_doc_tokens = 256;
        m->info.dense_max_query_tokens = 30;
        m->info.dense_normalize = true;
        m->info.documents_cut = 3;
    }
    bool expected[WR_FILE_COUNT];
    wr_manifest_expects(&m->info, expected);
    for (size_t i = 0; i < WR_FILE_COUNT; i++) {
        if (!expected[i]) continue;
        m->file[i].present = true;
        m->file[i].bytes = i == 0 ? WR_BLOCK_BYTES + 1 : 100;
        m->file[i].nblocks = i == 0 ? 2 : 1;
        m->file[i].xxh3 = calloc(2, sizeof(uint64_t));
        m->file[i].xxh3[0] = 0xfedcba9876543210u + i;
    }
}

Test(index, a_manifest_is_read_as_it_was_written)
{
    for (int dense = 0; dense < 3; dense++) {
        wr_manifest m, got;
        wr_err err;
        char *text, *again;
        size_t n, m2;
        make(&m, dense, dense == 1 ? "Flat" : "HNSW32");
        cr_assert_eq(wr_manifest_text(&m, &text, &n, &err), WR_OK, "%s", err.text);
        cr_assert_eq(wr_manifest_parse(&got, text, n, "manifest.json", &err), WR_OK, "%s", err.text);
        cr_assert_eq(wr_manifest_text(&got, &again, &m2, &err), WR_OK);
        cr_assert_str_eq(text, again);
        cr_assert_eq(got.info.k1, 0.9);
        cr_assert_eq(got.info.has_dense, dense > 0);
        if (dense) cr_assert_str_eq(got.info.dense_model_path, "/models/M\xc3\xbcller \"x\"");
        cr_assert_eq(got.file[0].bytes, WR_BLOCK_BYTES + 1);
        cr_assert_eq(got.file[0].nblocks, 2);
        cr_assert_eq(got.file[1].xxh3[0], 0xfedcba9876543211u);
        free(text);
        free(again);
        wr_manifest_release(&m);
        wr_manifest_release(&got);
    }
}

/* The text with `from` replaced by `to` and its checksum made right again, as a forger would. */
static char *forge(const char *from, const char *to)
{
    wr_manifest m;
    wr_err err;
    char *text, *forged = malloc(100000);
    size_t n;
    make(&m, true, "HNSW32");
    cr_assert_eq(wr_manifest_text(&m, &text, &n, &err), WR_OK);
    wr_manifest_release(&m);
    char *at = strstr(text, from);
    cr_assert_not_null(at, "%s", from);
    sprintf(forged, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    free(text);
    char *kept = malloc(100000), *out = kept;
    for (char *line = forged, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        if (!strncmp(line, "  \"created\":", 12) || !strncmp(line, "  \"xxh3\":", 9)) continue;
        memcpy(out, line, (size_t)(next - line));
        out += next - line;
    }
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)wr_checksum(kept, (size_t)(out - kept)));
    memcpy(strstr(forged, "\n  \"xxh3\": \"") + 12, hex, 16);
    free(kept);
    return forged;
}

Test(index, every_field_of_a_manifest_is_checked)
{
    static const struct {
        const char *from, *to, *field;
        wr_status status;
    } wrong[] = {
        {"\"format\": 1", "\"format\": 2", "format 2", WR_EUNSUPPORTED},
        {"\"format\": 1", "\"format\": \"1\"", "format: expected", WR_EFORMAT},
        {"gen-000012", "gen-12", "generation", WR_EFORMAT},
        {"gen-000012", "../../etc", "generation", WR_EFORMAT},
        {"gen-000012", "gen-000000", "generation", WR_EFORMAT},
        {"\"docs.mdb\"", "\"../docs.mdb\"", "name", WR_EFORMAT},
        {"\"docs.mdb\"", "\"bm25.bin\"", "name", WR_EFORMAT},
        {"\"docs.mdb\"", "\"/etc/passwd\"", "name", WR_EFORMAT},
        {"\"bytes\": 1048577", "\"bytes\": 0", "bytes", WR_EFORMAT},
        {"\"bytes\": 1048577", "\"bytes\": -1", "bytes", WR_EFORMAT},
        {"\"bytes\": 1048577", "\"bytes\": 9007199254740993", "bytes", WR_EFORMAT},
        {"\"bytes\": 1048577", "\"bytes\": 1e6", "bytes", WR_EFORMAT},
        {"\"bytes\": 1048577", "\"bytes\": 1048576", "xxh3", WR_EFORMAT},
        {"\"block_bytes\": 1048576", "\"block_bytes\": 1", "block_bytes", WR_EFORMAT},
        {"fedcba9876543210", "fedcba987654321g", "xxh3", WR_EFORMAT},
        {"\"k1\": 0.9", "\"k1\": -1", "bm25.k1", WR_EFORMAT},
        {"\"b\": 0.4", "\"b\": 1.01", "bm25.b", WR_EFORMAT},
        {"\"dim\": 384", "\"dim\": 0", "dense.dim", WR_EFORMAT},
        {"\"dim\": 384", "\"dim\": 99999999", "dense.dim", WR_EFORMAT},
        {"HNSW32", "HNSW0", "dense.factory", WR_EFORMAT},
        {"\"HNSW32\"", "\"Flat\"", "dense.faiss", WR_EFORMAT},
        {"\"documents_cut\": 3", "\"documents_cut\": 11", "documents_cut", WR_EFORMAT},
        {"\"base\": 0", "\"base\": 1", "base", WR_EFORMAT},
        {"\"passages\": 10", "\"passages\": 4294967296", "passages", WR_EFORMAT},
        {"\"passages\": 10", "\"passages\": 9", "documents", WR_EFORMAT},
        {"2026-11-24T12:00:00Z", "yesterday", "created", WR_EFORMAT},
        {"\"normalize\": true", "\"normalize\": 1", "dense.normalize", WR_EFORMAT},
        {"\"analyzer\": \"english\"", "\"analyzer\": \"eng\\u0000lish\"", "analyzer", WR_EFORMAT},
        {"\"weir\": \"0.1.0\"", "\"weir\": null", "weir", WR_EFORMAT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wr_manifest m;
        wr_err err = {0};
        char *text = forge(wrong[i].from, wrong[i].to);
        wr_status st = wr_manifest_parse(&m, text, strlen(text), "manifest.json", &err);
        cr_assert_eq(st, wrong[i].status, "%s: %s: %s", wrong[i].to, wr_status_name(st), err.text);
        cr_assert(strstr(err.text, wrong[i].field), "%s: %s", wrong[i].to, err.text);
        wr_manifest_release(&m);
        free(text);
    }
}

Test(index, a_manifest_edited_by_hand_is_refused)
{
    wr_manifest m, got;
    wr_err err;
    char *text;
    size_t n;
    make(&m, false, "Flat");
    cr_assert_eq(wr_manifest_text(&m, &text, &n, &err), WR_OK);
    memcpy(strstr(text, "bm25:100"), "bm25:200", 8);
    cr_assert_eq(wr_manifest_parse(&got, text, n, "manifest.json", &err), WR_EFORMAT);
    cr_assert_str_eq(err.text, "manifest.json: its checksum does not match its text: damaged, or edited by hand");
    wr_manifest_release(&got);
    wr_manifest_release(&m);
    free(text);
}

Test(index, a_folder_without_a_manifest_is_no_index)
{
    wr_err err;
    wr_index *x;
    cr_assert_eq(wr_index_open(&x, wr_test_dir(), &err), WR_ENOTFOUND);
    cr_assert_null(x);
    cr_assert(strstr(err.text, "no index there"), "%s", err.text);
    cr_assert_eq(wr_index_fsck(wr_test_dir(), NULL, NULL, &err), WR_ENOTFOUND);
}

Test(index, a_missing_and_a_longer_file_are_named)
{
    wr_err err;
    wr_build_report report;
    wr_index *x;
    wr_build_options o = {.corpus = wr_test_text("c", "{\"_id\":\"a\",\"text\":\"x\"}"),
                          .out = wr_test_path("index"),
                          .bm25 = {0.9, 0.4}};
    cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    for (size_t i = 0; i < WR_FILE_VECTORS; i++) {
        char path[300], kept[310];
        snprintf(path, sizeof path, "%s/gen-000001/%s", o.out, wr_index_file_name[i]);
        snprintf(kept, sizeof kept, "%s.kept", path);
        cr_assert_eq(rename(path, kept), 0);
        cr_assert_eq(wr_index_open(&x, o.out, &err), WR_EFORMAT);
        cr_assert(strstr(err.text, wr_index_file_name[i]) && strstr(err.text, "missing"), "%s", err.text);
        cr_assert_eq(rename(kept, path), 0);
        FILE *f = fopen(path, "a");
        fputc(0, f);
        fclose(f);
        cr_assert_eq(wr_index_open(&x, o.out, &err), WR_EFORMAT);
        cr_assert(strstr(err.text, wr_index_file_name[i]) && strstr(err.text, "the manifest says"), "%s", err.text);
        wr_build(&o, &report, &err);
        snprintf(path, sizeof path, "rm -rf %s", o.out);
        cr_assert_eq(system(path), 0);
        cr_assert_eq(wr_build(&o, &report, &err), WR_OK, "%s", err.text);
    }
}

Test(index, generations_have_six_to_nine_digits)
{
    uint32_t n;
    cr_assert(wr_generation_parse("gen-000001", &n) && n == 1);
    cr_assert(wr_generation_parse("gen-123456789", &n) && n == 123456789);
    static const char *const wrong[] = {"gen-000000", "gen-1", "gen-0000000001", "gen-00001a",
                                        "gen-",       "x",     "gen-000001/"};
    for (size_t i = 0; i < 7; i++) cr_assert_not(wr_generation_parse(wrong[i], &n), "%s", wrong[i]);
}
