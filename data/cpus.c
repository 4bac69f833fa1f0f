/* How many CPUs this process may use: the part of data/pool.h that reads the operating system's files.
 *
 * /proc/self/cgroup names our group in each hierarchy ("0::/a/b" for v2, "4:cpu,cpuacct:/a/b" for v1), mountinfo says
 * where that hierarchy is visible and which of its folders is the mount's top. The quota that counts is the smallest
 * one between our group and the top. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pool.h"

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == ',' || p[n] == 0 || p[n] == '\n')) return true;
    return false;
}

/* Our folder in the v2 hierarchy or in v1's cpu hierarchy. */
static bool own_group(const char *root, bool v2, char out[PATH_MAX])
{
    char name[PATH_MAX], line[PATH_MAX + 256];
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    FILE *f = fopen(name, "re");
    if (!f) return false;
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *controllers++ = 0;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        found = v2 ? !strcmp(line, "0") && !*controllers : has_word(controllers, "cpu");
        if (found) snprintf(out, PATH_MAX, "%s", path);
    }
    fclose(f);
    return found;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
    char *w = s;
    for (; *s; s++, w++) {
        *w = *s;
        if (s[0] != '\\' || s[1] < '0' || s[1] > '3' || s[2] < '0' || s[2] > '7' || s[3] < '0' || s[3] > '7') continue;
        *w = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
        s += 3;
    }
    *w = 0;
}

/* Where the hierarchy is mounted, and which of its folders is visible there as the top. */
static bool find_mount(const char *root, bool v2, char top[PATH_MAX], char where[PATH_MAX])
{
    char name[PATH_MAX], line[3 * PATH_MAX], type[64], options[1024];
    snprintf(name, sizeof name, "%s/proc/self/mountinfo", root);
    FILE *f = fopen(name, "re");
    if (!f) return false;
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        char *rest = strstr(line, " - ");
        if (!rest || sscanf(rest, " - %63s %*s %1023s", type, options) != 2) continue;
        if (strcmp(type, v2 ? "cgroup2" : "cgroup") != 0 || (!v2 && !has_word(options, "cpu"))) continue;
        _Static_assert(PATH_MAX >= 4096, "the widths below");
        found = sscanf(line, "%*s %*s %*s %4095s %4095s", top, where) == 2;
    }
    fclose(f);
    if (found) unescape(top), unescape(where);
    return found;
}

static bool read_words(const char *dir, const char *file, char *a, char *b, size_t cap)
{
    char name[2 * PATH_MAX + 64], line[128];
    snprintf(name, sizeof name, "%s/%s", dir, file);
    FILE *f = fopen(name, "re");
    if (!f) return false;
    bool ok = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    if (!ok) return false;
    char *save, *first = strtok_r(line, " \n", &save), *second = first ? strtok_r(NULL, " \n", &save) : NULL;
    snprintf(a, cap, "%s", first ? first : "");
    if (b) snprintf(b, cap, "%s", second ? second : "");
    return first != NULL;
}

static double folder_quota(const char *dir, bool v2)
{
    char quota[64], period[64];
    bool ok = v2 ? read_words(dir, "cpu.max", quota, period, sizeof quota)
                 : read_words(dir, "cpu.cfs_quota_us", quota, NULL, sizeof quota) &&
                       read_words(dir, "cpu.cfs_period_us", period, NULL, sizeof period);
    if (!ok) return INFINITY;
    double q = strtod(quota, NULL), p = strtod(period, NULL); /* "max" gives 0, "-1" is v1's "no quota" */
    return q > 0 && p > 0 ? q / p : INFINITY;
}

static double hierarchy_quota(const char *root, bool v2)
{
    char group[PATH_MAX], top[PATH_MAX], where[PATH_MAX], dir[3 * PATH_MAX];
    if (!own_group(root, v2, group) || !find_mount(root, v2, top, where)) return INFINITY;
    const char *below = group;
    size_t n = strcmp(top, "/") ? strlen(top) : 0;
    if (strncmp(group, top, n) == 0 && (group[n] == '/' || !group[n])) below = group + n;
    if (strstr(below, "/..")) below = ""; /* the group lies outside of what this mount shows */
    int len = snprintf(dir, sizeof dir, "%s%s%s", root, where, below);
    if (len < 0 || (size_t)len >= sizeof dir) return INFINITY;
    size_t stop = strlen(root) + strlen(where);
    double least = INFINITY;
    for (size_t end = (size_t)len;; dir[end] = 0) {
        double q = folder_quota(dir, v2);
        if (q < least) least = q;
        if (end <= stop) return least;
        while (end > stop && dir[end - 1] != '/') end--;
        if (end > stop) end--;
    }
}

double wr_cpu_quota(const char *root)
{
    double v2 = hierarchy_quota(root, true), v1 = hierarchy_quota(root, false);
    return v2 < v1 ? v2 : v1;
}

/* The kernel refuses a mask narrower than its own (EINVAL): widen until it fits. */
static unsigned affinity(void)
{
    for (size_t cpus = 1024; cpus <= (size_t)1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) return 1;
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        CPU_ZERO_S(bytes, set);
        int rc = sched_getaffinity(0, bytes, set), why = errno;
        int n = rc == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (rc == 0) return n > 0 ? (unsigned)n : 1;
        if (why != EINVAL) return 1;
    }
    return 1;
}

unsigned wr_cpu_count(void)
{
    unsigned n = affinity();
    double quota = ceil(wr_cpu_quota(""));
    if (quota < n) n = (unsigned)quota;
    return n ? n : 1;
}
