#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/command.h"
#include "tools/pull.h"

enum progress { SILENT, BAR, JSON_LINES };

struct view {
    enum progress kind;
    int64_t shown; /* bytes at the last line of JSON */
};

/* A line of JSON for each MiB: enough for a bar, not enough to slow a download. */
enum { JSON_STEP = 1 << 20 };

static void show(void *ctx, const char *name, int64_t done, int64_t total)
{
    struct view *view = ctx;
    if (view->kind == BAR && total > 0)
        fprintf(stderr, "\r\033[K%s  %.1f of %.1f MB", name, (double)done / 1e6, (double)total / 1e6);
    else if (view->kind == BAR)
        fprintf(stderr, "\r\033[K%s  %.1f MB", name, (double)done / 1e6);
    if (view->kind != JSON_LINES) return;
    if (done < view->shown) view->shown = 0; /* the next file */
    if (done != total && done - view->shown < JSON_STEP) return;
    view->shown = done;
    fprintf(stderr, "{\"file\": \"");
    for (const char *c = name; *c; c++) fprintf(stderr, *c == '"' ? "\\%c" : "%c", *c);
    fprintf(stderr, "\", \"done\": %" PRId64 ", \"total\": %" PRId64 "}\n", done, total);
}

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? value : otherwise;
}

/* Where a model goes when --to is not given: a folder of its name where weir looks for models, else right here. */
static char *default_folder(const char *repo)
{
    const char *slash = strchr(repo, '/'), *name = slash ? slash + 1 : repo, *models = environment("WEIR_MODELS", ".");
    char *path = NULL;
    return asprintf(&path, "%s/%s", models, name) < 0 ? NULL : path;
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

static int run(int argc, char **argv)
{
    const char *repo = NULL, *revision = "main", *to = NULL, *progress = "auto";
    struct wr_option_list include = {0};
    const struct wr_option options[] = {
        {"revision", "R", "branch, tag or commit (main)", WR_OPT_TEXT, &revision},
        {"to", "DIR", "folder to write to (WEIR_MODELS/NAME, or ./NAME)", WR_OPT_TEXT, &to},
        {"include", "GLOB", "fetch files that match instead of those weir reads; may repeat", WR_OPT_LIST, &include},
        {"progress", "KIND", "auto, json or none (auto: a bar on a terminal)", WR_OPT_TEXT, &progress},
        {0}};
    size_t n = 0;
    wr_err err = {0};
    wr_status st = wr_options_parse(&wr_cmd_pull, options, argc, argv, &repo, 1, &n);
    if (st == WR_STOPPED) return 0;
    if (st) return wr_exit_status(st);
    if (n != 1) {
        wr_fail(&err, WR_EARG, "no repository named, expected OWNER/NAME");
        return wr_command_fail(&wr_cmd_pull, WR_EARG, &err);
    }

    struct view view = {SILENT, 0};
    wr_pull_result result = {0};
    char *folder = to ? NULL : default_folder(repo);
    if (!to) to = folder;
    st = to ? read_progress(progress, &view.kind, &err) : wr_fail(&err, WR_ENOMEM, "out of memory");
    wr_pull_options pull = {.endpoint = environment("HF_ENDPOINT", "https://huggingface.co"),
                            .token = environment("HF_TOKEN", NULL),
                            .repo = repo,
                            .revision = revision,
                            .to = to,
                            .pattern = include.item,
                            .npatterns = include.n,
                            .retry_ms = 1000,
                            .progress = view.kind == SILENT ? NULL : show,
                            .ctx = &view};
    if (!st) st = wr_pull(&pull, &result, &err);
    if (view.kind == BAR) fprintf(stderr, "\r\033[K");
    if (!st)
        printf("%s: %zu files (%zu fetched, %.1f MB), revision %s\n", to, result.files, result.fetched,
               (double)result.bytes / 1e6, result.commit[0] ? result.commit : revision);
    int status = st ? wr_command_fail(&wr_cmd_pull, st, &err) : 0;
    free(folder);
    return status;
}

const struct wr_command wr_cmd_pull = {
    .name = "pull",
    .usage = "weir pull OWNER/NAME [--revision R] [--to DIR] [--include GLOB]... [--progress auto|json|none]",
    .summary = "fetches a model from a Hugging Face hub (HF_ENDPOINT, HF_TOKEN)",
    .run = run,
};
