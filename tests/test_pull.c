/* weir pull against a small hub in this process: what it fetches, resumes, verifies and refuses. */
#include "tools/pull.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <microhttpd.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testlib.h"

enum { WEIGHTS = 200000, MAX_LOG = 64 };
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

struct hub_file {
    const char *name, *bytes;
    size_t size;
    bool lfs;
};

/* How the hub misbehaves; all false for a good one. */
static struct {
    bool break_first;    /* the first answer with weights ends after half of them */
    bool break_always;   /* every answer with weights ends after 10 bytes         */
    bool ignore_range;   /* always 200 and everything                             */
    bool shift_range;    /* 206, but from another place                           */
    bool flip_byte;      /* weights with one wrong bit                            */
    bool longer;         /* more bytes than listed                                */
    bool redirect;       /* files are on another host                             */
    bool unauthorized;   /* 401 to everything                                     */
    int busy;            /* so many 503 first                                     */
    const char *lacks;   /* 404 for this file                                     */
    const char *listing; /* instead of the true one                              */
} hub;

static char weights[WEIGHTS + 1], endpoint[64], elsewhere[64], lines[MAX_LOG][256];
static int nlines;
static struct MHD_Daemon *daemons[2];
static const struct hub_file files[] = {
    {".gitattributes", "x", 1, false},
    {"config.json", "{\"model_type\": \"bert\"}", 22, false},
    {"model.safetensors", weights, WEIGHTS, true},
    {"pytorch_model.bin", "old", 3, true},
    {"onnx/model.onnx", "no", 2, true},
    {"1_Pooling/config.json", "{}", 2, false},
    {"vocab.txt", "", 0, false},
};
enum { NFILES = sizeof files / sizeof *files };

static void hex_of(const unsigned char *sum, size_t n, char *hex)
{
    for (size_t i = 0; i < n; i++) sprintf(hex + 2 * i, "%02x", sum[i]);
}

static void listing(char *out)
{
    unsigned char sum[32];
    char hex[65];
    out += sprintf(out, "{\"id\": \"o/n\", \"sha\": \"" COMMIT "\", \"siblings\": [");
    for (int i = 0; i < NFILES; i++) {
        const struct hub_file *f = &files[i];
        out += sprintf(out, "%s{\"rfilename\": \"%s\", \"size\": %zu", i ? ", " : "", f->name, f->size);
        if (f->lfs) {
            SHA256((const unsigned char *)f->bytes, f->size, sum);
            hex_of(sum, 32, hex);
            out +=
                sprintf(out, ", \"blobId\": \"%040d\", \"lfs\": {\"sha256\": \"%s\", \"size\": %zu}}", 7, hex, f->size);
        } else {
            char blob[256];
            int n = sprintf(blob, "blob %zu", f->size) + 1;
            memcpy(blob + n, f->bytes, f->size);
            SHA1((const unsigned char *)blob, (size_t)n + f->size, sum);
            hex_of(sum, 20, hex);
            out += sprintf(out, ", \"blobId\": \"%s\"}", hex);
        }
    }
    sprintf(out, "]}");
}

struct body {
    const struct hub_file *file;
    size_t from, until; /* until: where the connection breaks */
};

static ssize_t read_body(void *ctx, uint64_t pos, char *buf, size_t max)
{
    const struct body *body = ctx;
    size_t at = body->from + pos;
    if (at >= body->until) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = body->until - at < max ? body->until - at : max;
    for (size_t i = 0; i < n; i++) buf[i] = at + i < body->file->size ? body->file->bytes[at + i] : '!';
    if (hub.flip_byte && body->file->bytes == weights && at <= 1000 && 1000 < at + n) buf[1000 - at] ^= 1;
    return (ssize_t)n;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned code, const char *text, const char *location)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (location) MHD_add_response_header(r, "Location", location);
    enum MHD_Result ok = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result answer_file(struct MHD_Connection *c, const struct hub_file *f, const char *range)
{
    char header[64];
    struct body *body = calloc(1, sizeof *body);
    size_t size = f->size + (hub.longer && f->bytes == weights ? 5 : 0);
    *body = (struct body){f, 0, size};
    if (range && !hub.ignore_range) body->from = strtoul(range + 6, NULL, 10);
    if (body->from >= size && body->from) return free(body), answer_text(c, 416, "", NULL);
    if (f->bytes == weights && hub.break_first) body->until = size / 2;
    if (f->bytes == weights && hub.break_always) body->until = body->from + 10;
    if (f->bytes == weights) hub.break_first = false;
    bool part = body->from > 0;
    sprintf(header, "bytes %zu-%zu/%zu", body->from + (hub.shift_range ? 1 : 0), size - 1, size);
    struct MHD_Response *r = MHD_create_response_from_callback(size - body->from, 4096, read_body, body, free);
    if (part) MHD_add_response_header(r, "Content-Range", header);
    enum MHD_Result ok = MHD_queue_response(c, part ? 206 : 200, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result answer(void *cls, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *data, size_t *ndata, void **con)
{
    (void)cls, (void)method, (void)version, (void)data, (void)ndata, (void)con;
    static char text[4096], location[512];
    const char *range = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    const char *token = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    if (nlines < MAX_LOG)
        snprintf(lines[nlines++], sizeof *lines, "%.100s %.20s %.20s%.40s", url, range ? range : "-",
                 !strncmp(host, "127.0.0.2", 9) ? "elsewhere " : "", token ? token : "-");
    if (hub.unauthorized) return answer_text(c, 401, "", NULL);
    if (hub.busy-- > 0) return answer_text(c, 503, "busy", NULL);
    if (!strcmp(url, "/api/models/o/n/revision/refs/pr/1") || !strcmp(url, "/api/models/o/n/revision/main")) {
        listing(text);
        return answer_text(c, 200, hub.listing ? hub.listing : text, NULL);
    }
    const char *name = !strncmp(url, "/cdn/", 5) ? url + 5 : strstr(url, COMMIT "/");
    if (name && name[0] == '0') name += strlen(COMMIT "/");
    for (int i = 0; name && i < NFILES; i++) {
        if (strcmp(name, files[i].name) || (hub.lacks && !strcmp(name, hub.lacks))) continue;
        if (!hub.redirect || url[1] == 'c') return answer_file(c, &files[i], range);
        snprintf(location, sizeof location, "%s/cdn/%s", elsewhere, name);
        return answer_text(c, 302, "moved", location);
    }
    return answer_text(c, 404, "", NULL);
}

static void start(int i, const char *ip, char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    inet_pton(AF_INET, ip, &at.sin_addr);
    daemons[i] = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR,
                                  &at, MHD_OPTION_END);
    cr_assert(daemons[i], "no local server at %s", ip);
    sprintf(address, "http://%s:%d", ip, MHD_get_daemon_info(daemons[i], MHD_DAEMON_INFO_BIND_PORT)->port);
}

static void setup(void)
{
    unsetenv("http_proxy");
    setenv("no_proxy", "*", 1);
    wr_test_random random = {1};
    for (size_t i = 0; i < WEIGHTS; i++) weights[i] = (char)wr_test_below(&random, 256);
    start(0, "127.0.0.1", endpoint);
    start(1, "127.0.0.2", elsewhere);
}

static void teardown(void)
{
    MHD_stop_daemon(daemons[0]);
    MHD_stop_daemon(daemons[1]);
}

static wr_pull_result result;
static wr_err err;

static wr_status pull_as(const char *repo, const char *revision, const char *token)
{
    wr_pull_options options = {
        .endpoint = endpoint, .token = token, .repo = repo, .revision = revision, .to = wr_test_dir(), .retry_ms = 1};
    err = (wr_err){0};
    nlines = 0;
    return wr_pull(&options, &result, &err);
}

static wr_status pull(void)
{
    return pull_as("o/n", "main", NULL);
}

static bool exists(const char *name)
{
    return !access(wr_test_path(name), F_OK);
}

static bool holds(const char *name, const char *bytes, size_t n)
{
    static char got[WEIGHTS + 16];
    FILE *f = fopen(wr_test_path(name), "rb");
    if (!f) return false;
    size_t len = fread(got, 1, sizeof got, f);
    fclose(f);
    return len == n && !memcmp(got, bytes, n);
}

/* How many requests begin so. */
static int requests(const char *prefix)
{
    int n = 0;
    for (int i = 0; i < nlines; i++) n += !strncmp(lines[i], prefix, strlen(prefix));
    return n;
}

#define WEIGHTS_URL "/o/n/resolve/" COMMIT "/model.safetensors"

TestSuite(pull, .init = setup, .fini = teardown, .timeout = 60);

Test(pull, fetches_what_weir_reads_and_nothing_else)
{
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert(holds("config.json", files[1].bytes, files[1].size));
    cr_assert(holds("1_Pooling/config.json", "{}", 2));
    cr_assert(holds("vocab.txt", "", 0));
    cr_assert(!exists("onnx") && !exists(".gitattributes") && !exists("pytorch_model.bin"));
    cr_assert(!exists("model.safetensors.part"));
    cr_assert_eq(result.files, 4);
    cr_assert_eq(result.fetched, 4);
    cr_assert_eq(result.bytes, WEIGHTS + 22 + 2);
    cr_assert_str_eq(result.commit, COMMIT);
}

Test(pull, a_second_pull_fetches_nothing)
{
    cr_assert_eq(pull(), WR_OK);
    cr_assert_eq(pull(), WR_OK);
    cr_assert_eq(result.fetched, 0);
    cr_assert_eq(result.files, 4);
    cr_assert_eq(nlines, 1, "only the listing is asked for");
}

Test(pull, a_changed_file_is_fetched_again)
{
    cr_assert_eq(pull(), WR_OK);
    wr_test_file("config.json", "{\"model_type\": \"berT\"}", 22);
    cr_assert_eq(pull(), WR_OK);
    cr_assert_eq(result.fetched, 1);
    cr_assert(holds("config.json", files[1].bytes, files[1].size));
}

Test(pull, a_revision_with_slashes_is_one_part_of_the_address)
{
    cr_assert_eq(pull_as("o/n", "refs/pr/1", NULL), WR_OK, "%s", err.text);
}

Test(pull, a_broken_connection_is_resumed)
{
    hub.break_first = true;
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert_eq(requests(WEIGHTS_URL " - "), 1);
    cr_assert_eq(requests(WEIGHTS_URL " bytes=100000- "), 1);
    cr_assert_eq(result.bytes, WEIGHTS + 22 + 2, "no byte came twice");
}

Test(pull, the_rest_of_an_earlier_pull_is_used)
{
    wr_test_file("model.safetensors.part", weights, 150000);
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert_eq(requests(WEIGHTS_URL " bytes=150000- "), 1);
    cr_assert_eq(result.bytes, 50000 + 22 + 2);
}

Test(pull, a_complete_part_is_verified_and_named)
{
    wr_test_file("model.safetensors.part", weights, WEIGHTS);
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert_eq(requests(WEIGHTS_URL), 0);
}

Test(pull, a_part_of_something_else_is_replaced)
{
    static char other[WEIGHTS + 100];
    size_t sizes[] = {1000, WEIGHTS, sizeof other};
    for (size_t i = 0; i < 3; i++) {
        unlink(wr_test_path("model.safetensors"));
        wr_test_file("model.safetensors.part", other, sizes[i]);
        cr_assert_eq(pull(), WR_OK, "%zu bytes: %s", sizes[i], err.text);
        cr_assert(holds("model.safetensors", weights, WEIGHTS));
    }
}

Test(pull, a_hub_without_ranges_sends_all_again)
{
    hub.break_first = hub.ignore_range = true;
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert_eq(requests(WEIGHTS_URL), 2);
}

Test(pull, another_range_than_asked_is_refused)
{
    hub.break_first = hub.shift_range = true;
    cr_assert_eq(pull(), WR_EFORMAT);
    cr_assert(strstr(err.text, "another range"), "%s", err.text);
}

Test(pull, a_connection_that_breaks_without_end_goes_on_while_bytes_come)
{
    hub.break_always = true; /* ten bytes an answer: 20,000 answers would be needed */
    wr_test_file("model.safetensors.part", weights, WEIGHTS - 95);
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert_eq(requests(WEIGHTS_URL), 10);
}

Test(pull, a_hub_that_stays_busy_is_given_up)
{
    hub.busy = 1000;
    cr_assert_eq(pull(), WR_EIO);
    cr_assert(strstr(err.text, "503"), "%s", err.text);
    cr_assert_eq(nlines, WR_PULL_TRIES);
}

Test(pull, a_hub_that_is_busy_for_a_moment_is_waited_for)
{
    hub.busy = 2;
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
}

Test(pull, wrong_bytes_are_refused_and_not_kept)
{
    hub.flip_byte = true;
    cr_assert_eq(pull(), WR_EFORMAT);
    cr_assert(strstr(err.text, "model.safetensors: its sha256 is"), "%s", err.text);
    cr_assert(!exists("model.safetensors") && !exists("model.safetensors.part"));
}

Test(pull, a_small_file_is_checked_by_its_git_hash)
{
    hub.listing = "{\"siblings\": [{\"rfilename\": \"config.json\", \"size\": 22,"
                  " \"blobId\": \"0000000000000000000000000000000000000001\"}], \"sha\": \"" COMMIT "\"}";
    cr_assert_eq(pull(), WR_EFORMAT);
    cr_assert(strstr(err.text, "config.json: its git hash is"), "%s", err.text);
    cr_assert(!exists("config.json"));
}

Test(pull, more_bytes_than_listed_are_refused)
{
    hub.longer = true;
    cr_assert_eq(pull(), WR_EFORMAT);
    cr_assert(strstr(err.text, "longer"), "%s", err.text);
    cr_assert(!exists("model.safetensors"));
}

Test(pull, a_missing_file_or_model_is_named)
{
    hub.lacks = "vocab.txt";
    cr_assert_eq(pull(), WR_ENOTFOUND);
    cr_assert(strstr(err.text, "vocab.txt"), "%s", err.text);
    cr_assert_eq(pull_as("o/other", "main", NULL), WR_ENOTFOUND);
    cr_assert(strstr(err.text, "o/other"), "%s", err.text);
    hub.unauthorized = true;
    cr_assert_eq(pull(), WR_EIO);
    cr_assert(strstr(err.text, "HF_TOKEN"), "%s", err.text);
}

Test(pull, a_name_that_leaves_the_folder_is_refused_before_anything_is_written)
{
    const char *evil[] = {"../evil", "/etc/evil", "a/../../evil", "a//b",  "a\\\\b", "./a",
                          "a/",      "",          "a\\u0000b",    "x.part"};
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"siblings\": [{\"rfilename\": \"config.json\"}, {\"rfilename\": \"%s\"}]}",
                 evil[i]);
        hub.listing = text;
        cr_assert_eq(pull(), WR_EFORMAT, "%s", evil[i]);
        cr_assert(strstr(err.text, "unsafe") || strstr(err.text, "JSON"), "%s", err.text);
        cr_assert(!exists("config.json"));
    }
}

Test(pull, a_link_at_the_place_of_the_part_is_not_followed)
{
    wr_test_file("victim", "safe", 4);
    cr_assert_eq(symlink("victim", wr_test_path("config.json.part")), 0);
    cr_assert_eq(pull(), WR_EIO);
    cr_assert(holds("victim", "safe", 4));
}

Test(pull, the_token_goes_to_the_endpoint_alone)
{
    hub.redirect = true;
    cr_assert_eq(pull_as("o/n", "main", "hf_secret"), WR_OK, "%s", err.text);
    cr_assert(holds("model.safetensors", weights, WEIGHTS));
    cr_assert_eq(requests("/api/models/o/n/revision/main - Bearer hf_secret"), 1);
    cr_assert_eq(requests(WEIGHTS_URL " - Bearer hf_secret"), 1);
    cr_assert_eq(requests("/cdn/model.safetensors - elsewhere -"), 1);
    cr_assert_eq(requests("/cdn/"), 4);
}

Test(pull, a_redirected_file_is_resumed_too)
{
    hub.redirect = hub.break_first = true;
    cr_assert_eq(pull(), WR_OK, "%s", err.text);
    cr_assert_eq(requests("/cdn/model.safetensors bytes=100000- elsewhere"), 1);
}

Test(pull, arguments_are_checked_before_any_request)
{
    const char *repos[] = {"", "name", "a/b/c", "../x", "a/..", "a b/c", "a/b?x", "/a", "a/"};
    for (size_t i = 0; i < sizeof repos / sizeof *repos; i++)
        cr_assert_eq(pull_as(repos[i], "main", NULL), WR_EARG, "%s", repos[i]);
    cr_assert_eq(pull_as("o/n", "", NULL), WR_EARG);
    cr_assert_eq(pull_as("o/n", "main", "a\r\nHost: b"), WR_EARG);
    strcpy(endpoint, "ftp://127.0.0.1");
    cr_assert_eq(pull(), WR_EARG);
    cr_assert_eq(nlines, 0);
}

/* Reads a listing of these names (separated by spaces) and returns the wanted ones, as text. */
static const char *wanted(const char *names, const char *const *pattern, size_t npatterns)
{
    static char json[4096], out[1024];
    char copy[1024], *save = NULL;
    wr_pull_list list;
    strcpy(copy, names);
    int n = sprintf(json, "{\"siblings\": [");
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
        n += sprintf(json + n, "%s{\"rfilename\": \"%s\"}", json[n - 1] == '[' ? "" : ",", name);
    sprintf(json + n, "]}");
    out[0] = '\0';
    if (wr_pull_list_read(&list, json, strlen(json), "test", pattern, npatterns, NULL)) return "none";
    for (size_t i = 0; i < list.n; i++) sprintf(out + strlen(out), "%s%s", i ? " " : "", list.file[i].name);
    wr_pull_list_release(&list);
    return out;
}

Test(pull_list, safetensors_come_before_pickles)
{
    cr_assert_str_eq(wanted("config.json model.safetensors pytorch_model.bin tf_model.h5", NULL, 0),
                     "config.json model.safetensors");
    cr_assert_str_eq(wanted("config.json pytorch_model.bin training_args.bin", NULL, 0),
                     "config.json pytorch_model.bin");
}

Test(pull_list, shards_come_with_their_index)
{
    const char *all = "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json";
    cr_assert_str_eq(wanted(all, NULL, 0), all);
    cr_assert_str_eq(wanted("consolidated.safetensors model.safetensors", NULL, 0), "model.safetensors");
    cr_assert_str_eq(wanted("other.safetensors", NULL, 0), "other.safetensors");
}

Test(pull_list, a_folder_chooses_for_itself)
{
    const char *all = "modules.json model.safetensors 2_Dense/config.json 2_Dense/pytorch_model.bin"
                      " query_0_SparseStaticEmbedding/model.safetensors document_0_MLMTransformer/tokenizer.json";
    cr_assert_str_eq(wanted(all, NULL, 0), all);
    cr_assert_str_eq(wanted("onnx/config.json 1_Pooling/deep/config.json openvino/model.safetensors", NULL, 0), "none");
}

Test(pull_list, one_gguf_is_a_model_and_many_are_a_choice)
{
    cr_assert_str_eq(wanted("README.md a.gguf", NULL, 0), "README.md a.gguf");
    cr_assert_str_eq(wanted("a.gguf b.gguf", NULL, 0), "none");
    const char *pattern[] = {"b.*", "x*"};
    cr_assert_str_eq(wanted("a.gguf b.gguf", pattern, 2), "b.gguf");
}

Test(pull_list, an_answer_of_another_kind_is_refused)
{
    const char *bad[] = {"",
                         "[]",
                         "{}",
                         "{\"siblings\": 3}",
                         "{\"siblings\": [3]}",
                         "{\"siblings\": [{\"rfilename\": 3}]}",
                         "{\"siblings\": [{\"rfilename\": \"config.json\", \"size\": -1}]}",
                         "{\"siblings\": [{\"rfilename\": \"config.json\", \"size\": \"1\"}]}"};
    wr_pull_list list;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(wr_pull_list_read(&list, bad[i], strlen(bad[i]), "test", NULL, 0, NULL), WR_EFORMAT, "%s", bad[i]);
        cr_assert_eq(list.file, NULL);
    }
}
