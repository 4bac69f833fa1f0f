/* kill -9 at 200 random moments of indexing: what is found afterwards is the generation before or the new one, whole.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "indexer/build.h"
#include "indexer/index.h"
#include "tests/testlib.h"

#ifdef __SANITIZE_ADDRESS__
enum { KILLS = 20 }; /* a build takes a second there */
#else
enum { KILLS = 200 };
#endif

/* Corpus number v has 400 + v documents, each of which says v. */
static size_t documents_of(unsigned v)
{
    return 400 + v;
}

static void write_corpus(const char *path, unsigned v)
{
    FILE *f = fopen(path, "w");
    for (size_t i = 0; i < documents_of(v); i++)
        fprintf(f, "{\"_id\":\"d%zu\",\"text\":\"version%u words of document %zu, number%zu\"}\n", i, v, i,
                i * 7 % 1000);
    fclose(f);
}

static wr_status build(const char *corpus, const char *out, wr_err *err)
{
    wr_build_report report;
    wr_build_options o = {.corpus = corpus, .out = out, .bm25 = {0.9, 0.4}};
    return wr_build(&o, &report, err);
}

static void sleep_us(size_t us)
{
    nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
}

/* Builds in another process and kills it after us microseconds. */
static void build_and_kill(const char *corpus, const char *out, size_t us)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        wr_err err;
        _exit(build(corpus, out, &err) ? 1 : 0);
    }
    sleep_us(us);
    kill(pid, SIGKILL);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_not(WIFEXITED(status) && WEXITSTATUS(status), "a build failed by itself");
}

/* Everything that the index holds is of one version: the one it says, of those that may be there. Returns it. */
static unsigned version_of(const char *out, unsigned before, unsigned now)
{
    wr_err err;
    wr_index *x;
    wr_docreader *r;
    wr_doc doc;
    char word[32];
    cr_assert_eq(wr_index_fsck(out, NULL, NULL, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_index_open(&x, out, &err), WR_OK, "%s", err.text);
    uint32_t n = wr_index_ndocs(x);
    unsigned v = n == documents_of(before) ? before : now;
    cr_assert_eq(n, documents_of(v));
    snprintf(word, sizeof word, "version%u", v);
    cr_assert_eq(wr_docreader_open(&r, wr_index_docstore(x), &err), WR_OK);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(wr_docreader_get(r, i, &doc), WR_OK);
        cr_assert(!strncmp(doc.text, word, strlen(word)) && doc.text[strlen(word)] == ' ', "%s", doc.text);
    }
    int64_t term = wr_sparse_term(wr_index_bm25(x), word, strlen(word));
    cr_assert_geq(term, 0);
    cr_assert_eq(wr_sparse_df(wr_index_bm25(x), (uint32_t)term), n);
    wr_docreader_close(r);
    wr_index_close(x);
    return v;
}

Test(kill, at_random_moments_leaves_the_old_generation_or_the_new_one)
{
    wr_err err;
    wr_test_random random = {2026};
    struct timespec a, b;
    char out[256], corpus[256];
    snprintf(out, sizeof out, "%s", wr_test_path("index"));
    snprintf(corpus, sizeof corpus, "%s", wr_test_path("corpus.jsonl"));
    write_corpus(corpus, 0);
    clock_gettime(CLOCK_MONOTONIC, &a);
    cr_assert_eq(build(corpus, out, &err), WR_OK, "%s", err.text);
    clock_gettime(CLOCK_MONOTONIC, &b);
    size_t whole_us = (size_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000), published = 0;
    unsigned before = 0;
    for (unsigned v = 1; v <= KILLS; v++) {
        write_corpus(corpus, v);
        build_and_kill(corpus, out, wr_test_below(&random, whole_us + whole_us / 2));
        unsigned now = version_of(out, before, v);
        published += now != before;
        before = now;
    }
    fprintf(stderr, "kill: %d builds of %zu us killed, %zu had published before\n", KILLS, whole_us, published);
    cr_assert_eq(build(corpus, out, &err), WR_OK, "%s", err.text);
    cr_assert_eq(version_of(out, KILLS, KILLS), KILLS);
}

Test(kill, of_a_first_build_leaves_no_index_or_a_whole_one)
{
    wr_err err;
    wr_test_random random = {7};
    char current[32], corpus[256];
    snprintf(corpus, sizeof corpus, "%s", wr_test_path("corpus.jsonl"));
    write_corpus(corpus, 5);
    for (int i = 0; i < 30; i++) {
        char out[256], name[16];
        snprintf(name, sizeof name, "index%d", i);
        snprintf(out, sizeof out, "%s", wr_test_path(name));
        build_and_kill(corpus, out, wr_test_below(&random, 30000));
        if (wr_index_current(out, current, sizeof current, &err) == WR_ENOTFOUND) continue;
        cr_assert_eq(version_of(out, 5, 5), 5);
    }
}
