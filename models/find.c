#include "models/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/mapfile.h"

/* Where `make install` puts models; the Makefile defines it. */
#ifndef WR_PREFIX
#define WR_PREFIX "/usr/local"
#endif

/* How far below build/ a program lies: build/release/weir, build/release/tests/test_x, build/release/tests/golden/x. */
#define BUILD_DEPTH 4

static bool is_file(const char *folder, const char *name, char *out)
{
    static const char end[] = ".gguf";
    size_t n = strlen(name), more = sizeof end - 1;
    if (n <= more || strcmp(name + n - more, end)) return false;
    return !wr_path_join(out, WR_MAX_PATH, folder, name) && wr_path_exists(out) && !wr_path_is_dir(out);
}

static bool is_model(const char *folder, const char *name, char *out)
{
    char file[WR_MAX_PATH];
    if (!wr_path_join(out, WR_MAX_PATH, folder, name) && wr_path_is_dir(out)) return true;
    int n = snprintf(file, sizeof file, "%s.gguf", name);
    return is_file(folder, name, out) || (n < (int)sizeof file && is_file(folder, file, out));
}

/* The folder named build that the program lies in, into out[WR_MAX_PATH]. */
static bool build_tree(char *out)
{
    ssize_t n = readlink("/proc/self/exe", out, WR_MAX_PATH - 1);
    if (n <= 0) return false;
    out[n] = 0;
    for (int up = 0; up < BUILD_DEPTH; up++) {
        char *slash = strrchr(out, '/');
        if (!slash) return false;
        *slash = 0;
        slash = strrchr(out, '/');
        if (slash && !strcmp(slash, "/build")) return true;
    }
    return false;
}

static bool in_build_tree(const char *name, const char *below, char *out)
{
    char build[WR_MAX_PATH], folder[WR_MAX_PATH + 16];
    if (!build_tree(build)) return false;
    snprintf(folder, sizeof folder, "%s/%s", build, below);
    return is_model(folder, name, out);
}

bool wr_model_in_place(const char *name, size_t place, char *out)
{
    const char *models = getenv("WEIR_MODELS");
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..")) return false;
    switch (place) {
    case 0: return models && *models && is_model(models, name, out);
    case 1: return is_model(WR_PREFIX "/share/weir/models", name, out);
    case 2: return in_build_tree(name, "../models", out);
    case 3: return in_build_tree(name, "models", out);
    default: return false;
    }
}

wr_status wr_model_find(const char *name, char *out, wr_err *err)
{
    for (size_t place = 0; place < WR_MODEL_PLACES; place++)
        if (wr_model_in_place(name, place, out)) return WR_OK;
    return wr_fail(err, WR_ENOTFOUND, "%s: no such model in WEIR_MODELS, %s/share/weir/models or the build tree", name,
                   WR_PREFIX);
}
