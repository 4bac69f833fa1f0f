#include "tests/testlib.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/hash.h"
#include "data/mapfile.h"

static char folder[512];
static pid_t folder_owner;

static void remove_folder(void)
{
    if (folder[0] && getpid() == folder_owner) wr_dir_remove(folder, NULL);
    folder[0] = 0;
}

const char *wr_test_dir(void)
{
    if (folder[0]) return folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/weir-test-XXXXXX", base && *base ? base : "/tmp");
    cr_assert(mkdtemp(folder), "cannot make a temporary folder in %s", folder);
    folder_owner = getpid();
    atexit(remove_folder);
    return folder;
}

const char *wr_test_path(const char *name)
{
    static char path[16][1024];
    static unsigned turn;
    char *out = path[turn++ % 16];
    cr_assert(wr_path_join(out, sizeof path[0], wr_test_dir(), name) == WR_OK);
    return out;
}

const char *wr_test_file(const char *name, const void *bytes, size_t n)
{
    const char *path = wr_test_path(name);
    FILE *f = fopen(path, "wb");
    cr_assert(f, "cannot write %s", path);
    size_t put = n ? fwrite(bytes, 1, n, f) : 0;
    cr_assert(fclose(f) == 0 && put == n, "cannot write %s", path);
    return path;
}

const char *wr_test_text(const char *name, const char *text)
{
    return wr_test_file(name, text, strlen(text));
}

static uint64_t fake_now(void *arg)
{
    wr_test_clock *fake = arg;
    return atomic_fetch_add(&fake->now_ns, fake->step_ns);
}

void wr_test_clock_init(wr_test_clock *fake, uint64_t now_ns, uint64_t step_ns)
{
    fake->clock = (wr_clock){fake_now, fake};
    fake->step_ns = step_ns;
    atomic_init(&fake->now_ns, now_ns);
}

const char *wr_test_shared(const char *name)
{
    static char path[16][1024];
    static unsigned turn;
    const char *base = getenv("WEIR_SHARED");
    char *out = path[turn++ % 16];
    if (wr_path_join(out, sizeof path[0], base && *base ? base : "../shared", name)) return NULL;
    return wr_path_exists(out) ? out : NULL;
}

const char *wr_test_shared_or_skip(const char *name)
{
    const char *path = wr_test_shared(name);
    if (!path) cr_skip_test("../shared/%s is not there", name);
    return path;
}

#define SHIPPED "models/weir-dense"
#define MINILM "build/models/all-MiniLM-L6-v2"

const char *wr_test_embedder_or_skip(void)
{
    if (wr_path_exists(SHIPPED "/config.json")) return SHIPPED;
    if (!wr_path_exists(MINILM "/config.json")) cr_skip_test("neither " SHIPPED " nor " MINILM " is there");
    return MINILM;
}

/* Of the vocab.txt of bert-base-uncased, 30522 lines. */
#define UNCASED "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

const char *wr_test_uncased_or_skip(void)
{
    static const char *const models[] = {MINILM, SHIPPED};
    for (size_t i = 0; i < 2; i++) {
        char path[64], sha256[WR_SHA256_HEX];
        wr_err err;
        snprintf(path, sizeof path, "%s/vocab.txt", models[i]);
        if (!wr_sha256_file(path, sha256, &err) && !strcmp(sha256, UNCASED)) return models[i];
    }
    cr_skip_test("no model with the vocabulary of bert-base-uncased is there (tools/setup --minilm)");
    return NULL;
}
