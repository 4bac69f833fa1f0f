/* A whole server under load while its index is built again and switched, for ThreadSanitizer: clients on keep-alive
 * connections, HTTP's thread, coordinators, pool and reload all at once, a decoder among what they ask for, then the drain. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "data/mapfile.h"
#include "data/pool.h"
#include "indexer/build.h"
#include "server/api.h"
#include "tests/testlib_decoder.h"

enum { CLIENTS = 8, REQUESTS = 200, DOCUMENTS = 400, RELOADS = 4, COORDINATORS = 3 };

static char dir[4096], corpus[4200], index_dir[4200], decoder[4200];
static wr_http *http;
static atomic_size_t answered, shed, bad;

static void must(wr_status st, const wr_err *err)
{
    if (st) fprintf(stderr, "%s: %s\n", wr_status_name(st), err->text), exit(1);
}

static void write_corpus(void)
{
    static const char *const word[] = {"tide", "moon", "sea", "leaf", "autumn", "bread", "yeast", "ship", "keel", "bell"};
    FILE *file = fopen(corpus, "w");
    if (!file) perror(corpus), exit(1);
    for (unsigned i = 0; i < DOCUMENTS; i++)
        fprintf(file, "{\"_id\":\"d%u\",\"title\":\"%s\",\"text\":\"%s and %s, %s\"}\n", i, word[i % 10], word[i / 10 % 10],
                word[i / 3 % 10], word[i / 7 % 10]);
    fclose(file);
}

static void build(wr_pool *pool)
{
    const wr_build_options options = {.corpus = corpus, .format = WR_CORPUS_JSONL, .out = index_dir,
                                      .bm25 = {.k1 = 0.9, .b = 0.4}, .pool = pool};
    wr_build_report report;
    wr_err err = {0};
    must(wr_build(&options, &report, &err), &err);
}

static int dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sa.sin_port = htons((uint16_t)atoi(strrchr(wr_http_url(http), ':') + 1));
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa)) perror("connect"), exit(1);
    return fd;
}

/* Reads one answer and gives its status; 0 when the connection ended. */
static int answer(int fd)
{
    static _Thread_local char text[65536];
    size_t n = 0, want = SIZE_MAX;
    while (n < want && n + 1 < sizeof text) {
        ssize_t got = recv(fd, text + n, sizeof text - n - 1, 0);
        if (got <= 0) return 0;
        text[n += (size_t)got] = 0;
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end && length) want = (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10);
    }
    return atoi(text + 9);
}

static void client(void *arg)
{
    static const struct { const char *line, *body; int status; } kind[] = {
        {"POST /v1/search", "{\"query\":\"tide and moon\",\"k\":5}", 200},
        {"POST /v1/search", "{\"query\":\"bread yeast\",\"k\":3,\"budget_ms\":0.01}", 200},
        {"POST /v1/indexes/index/search", "{\"query\":\"ship bell\",\"k\":5,\"explain\":true}", 200},
        {"GET /v1/documents/d17", "", 200},
        {"POST /v1/search", "{\"query\":", 400},
        {"POST /v1/search", "{\"query\":\"tide\",\"k\":3,\"pipeline\":\"bm25:9 > list[window=3,stride=2]:5\"}", 200},
        {"POST /v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\",\"b\"]}", 200},
        {"POST /v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"],\"mode\":\"pointwise\",\"budget_ms\":9}", 200},
        {"POST /v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"],\"model\":\"none\"}", 422},
        {"GET /metrics", "", 200},
        {"GET /readyz", "", 200}};
    size_t seed = (size_t)arg;
    int fd = dial();
    for (size_t i = 0; i < REQUESTS; i++) {
        size_t k = (seed * 7 + i) % (sizeof kind / sizeof kind[0]);
        char request[1024];
        int n = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", kind[k].line,
                         strlen(kind[k].body), kind[k].body);
        if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) exit(1);
        int status = answer(fd);
        if (status == kind[k].status) atomic_fetch_add(&answered, 1);
        else if (status == 429) atomic_fetch_add(&shed, 1);
        else fprintf(stderr, "%s %s: %d\n", kind[k].line, kind[k].body, status), atomic_fetch_add(&bad, 1);
        if (i % 50 == 49) close(fd), fd = dial();
    }
    close(fd);
}

int main(void)
{
    wr_config config = {.listen = "127.0.0.1:0", .queue = 4, .connections = 64, .max_body = 1 << 20};
    wr_pool *pool;
    wr_api *api;
    wr_loaded *loaded;
    wr_catalog *catalog;
    wr_log *log;
    wr_thread *thread[CLIENTS];
    wr_err err = {0};
    snprintf(dir, sizeof dir, "%s/weir-stress.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir)) return perror(dir), 1;
    snprintf(corpus, sizeof corpus, "%s/corpus.jsonl", dir);
    snprintf(index_dir, sizeof index_dir, "%s/index", dir);
    snprintf(decoder, sizeof decoder, "%s/decoder", dir);
    write_corpus();
    wr_test_decoder_write(decoder, &(wr_test_decoder){.type = "qwen2", .seed = 3});
    must(wr_pool_open(&pool, 2, wr_ranker_thread_start, &err), &err);
    build(pool);
    const wr_index_spec spec = {.name = "index", .dir = index_dir};
    const char *const list[] = {decoder};
    const wr_loaded_options models = {.list = list, .nlist = 1};
    must(wr_log_open(&log, open("/dev/null", O_WRONLY), &err), &err);
    const wr_api_options options = {&config, pool, COORDINATORS, "stress", log};
    must(wr_api_open(&api, &options, &err), &err);
    must(wr_http_open(&http, &(wr_http_options){config.listen, config.max_body, config.connections, wr_api_handler(api)},
                      &err), &err);
    must(wr_loaded_open(&loaded, &models, &err), &err);
    must(wr_catalog_open(&catalog, &(wr_catalog_options){&spec, 1, 2 * COORDINATORS, loaded, pool}, &err), &err);
    wr_api_serve(api, catalog, loaded);
    for (size_t i = 0; i < CLIENTS; i++) must(wr_thread_start(&thread[i], client, (void *)(i + 1), &err), &err);
    for (int i = 0; i < RELOADS; i++) {
        char generation[64];
        build(pool);
        must(wr_catalog_reload(catalog, 0, generation, sizeof generation, &err), &err);
    }
    for (size_t i = 0; i < CLIENTS; i++) wr_thread_join(thread[i]);
    wr_api_drain(api);
    wr_http_refuse(http);
    while (wr_http_calls(http)) usleep(1000);
    wr_http_close(http);
    wr_api_close(api);
    wr_catalog_close(catalog);
    wr_loaded_close(loaded);
    wr_pool_close(pool);
    wr_log_close(log);
    wr_dir_remove(dir, &err);
    printf("%zu answered, %zu shed, %zu bad\n", answered, shed, bad);
    return bad || answered + shed != CLIENTS * REQUESTS || answered < CLIENTS * REQUESTS / 4; /* a decoder takes its time */
}
