#include "indexer/generation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "data/mapfile.h"

static wr_status join(char out[PATH_MAX], const char *dir, const char *name, wr_err *err)
{
    if (!wr_path_join(out, PATH_MAX, dir, name)) return WR_OK;
    return wr_fail(err, WR_EARG, "%.200s: the path is too long", dir);
}

static wr_status take_lock(wr_generation *g, wr_err *err)
{
    char path[PATH_MAX];
    wr_status st = join(path, g->dir, "lock", err);
    if (st) return st;
    g->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (g->lock < 0) return wr_fail(err, WR_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (!flock(g->lock, LOCK_EX | LOCK_NB)) return WR_OK;
    st = errno == EWOULDBLOCK ? wr_fail(err, WR_EFULL, "%s: another builder is at work there", g->dir)
                              : wr_fail(err, WR_EIO, "%s: cannot lock: %s", path, strerror(errno));
    close(g->lock);
    g->lock = -1;
    return st;
}

/* Removes the generations for which gone(number) holds. */
static wr_status remove_where(const char *dir, bool (*gone)(uint32_t number, uint32_t limit), uint32_t limit,
                              wr_err *err)
{
    DIR *d = opendir(dir);
    wr_status st = WR_OK;
    if (!d) return wr_fail(err, WR_EIO, "%s: cannot list: %s", dir, strerror(errno));
    for (struct dirent *e; !st && (e = readdir(d));) {
        uint32_t number;
        char path[PATH_MAX];
        if (!wr_generation_parse(e->d_name, &number) || !gone(number, limit)) continue;
        st = join(path, dir, e->d_name, err);
        if (!st && wr_path_is_dir(path)) st = wr_dir_remove(path, err);
    }
    closedir(d);
    return st;
}

static bool above(uint32_t number, uint32_t limit)
{
    return number > limit;
}

static bool below(uint32_t number, uint32_t limit)
{
    return number < limit;
}

/* The newest generation below `number`, 0 when there is none. */
static uint32_t previous(const char *dir, uint32_t number)
{
    uint32_t best = 0, n;
    DIR *d = opendir(dir);
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));)
        if (wr_generation_parse(e->d_name, &n) && n < number && n > best) best = n;
    closedir(d);
    return best;
}

/* What the manifest names; 0 without a manifest. */
static wr_status published(const char *dir, uint32_t *number, wr_err *err)
{
    char name[WR_GENERATION_CAP];
    *number = 0;
    wr_status st = wr_index_current(dir, name, sizeof name, err);
    if (st == WR_ENOTFOUND) return WR_OK;
    if (st == WR_EFORMAT || st == WR_EUNSUPPORTED)
        return wr_fail_prefix(err, "%.200s holds an index that cannot be read, remove it to build anew", dir);
    if (!st) wr_generation_parse(name, number);
    return st;
}

static wr_status make_folder(wr_generation *g, wr_err *err)
{
    char tmp[PATH_MAX];
    uint32_t newest;
    wr_status st = published(g->dir, &newest, err);
    if (!st) st = join(tmp, g->dir, WR_MANIFEST_NAME ".tmp", err);
    if (st) return st;
    unlink(tmp); /* left by a crash, as are generations that no manifest ever named */
    if ((st = remove_where(g->dir, above, newest, err))) return st;
    if (newest >= 999999999) return wr_fail(err, WR_EFULL, "%s: generation %u is the last one", g->dir, newest);
    g->number = newest + 1;
    snprintf(g->name, sizeof g->name, "gen-%06u", g->number);
    st = join(g->path, g->dir, g->name, err);
    return st ? st : wr_dir_make(g->path, err);
}

wr_status wr_generation_begin(wr_generation *g, const char *dir, wr_err *err)
{
    *g = (wr_generation){.lock = -1};
    if (snprintf(g->dir, sizeof g->dir, "%s", dir) >= (int)sizeof g->dir || !*dir)
        return wr_fail(err, WR_EARG, "'%.200s': not a usable folder name", dir);
    wr_status st = wr_dir_make(dir, err);
    if (!st) st = take_lock(g, err);
    if (!st) st = make_folder(g, err);
    if (st && g->lock >= 0) {
        close(g->lock);
        g->lock = -1;
    }
    return st;
}

wr_status wr_generation_file(const wr_generation *g, enum wr_index_file which, char path[PATH_MAX], wr_err *err)
{
    return join(path, g->path, wr_index_file_name[which], err);
}

void wr_generation_time(char out[24])
{
    time_t now = time(NULL);
    struct tm utc;
    strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

wr_status wr_generation_publish(wr_generation *g, const wr_manifest *manifest, wr_err *err)
{
    char path[PATH_MAX], *text = NULL;
    size_t n;
    wr_status st = join(path, g->dir, WR_MANIFEST_NAME, err);
    if (!st) st = wr_dir_sync(g->path, err); /* the files themselves were synced by their writers */
    if (!st) st = wr_manifest_text(manifest, &text, &n, err);
    if (!st) st = wr_dir_sync(g->dir, err); /* gen-N itself must be there before anything names it */
    if (!st) st = wr_file_replace(path, text, n, err);
    free(text);
    if (st) { /* renamed, but not synced: what the manifest names must stay */
        char name[WR_GENERATION_CAP];
        g->published = !wr_index_current(g->dir, name, sizeof name, NULL) && !strcmp(name, g->name);
        return st;
    }
    g->published = true;
    /* From here on nothing can fail the build: what cannot be removed now is removed next time. */
    uint32_t last = previous(g->dir, g->number);
    if (last) remove_where(g->dir, below, last, NULL);
    return WR_OK;
}

void wr_generation_end(wr_generation *g)
{
    if (!g->published) wr_dir_remove(g->path, NULL);
    if (g->lock >= 0) close(g->lock);
    g->lock = -1;
}
