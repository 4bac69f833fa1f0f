#include "tools/pull.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_LISTING = 16 << 20, /* 20,000 files at 800 bytes each                                       */
    MAX_REDIRECTS = 10,     /* a hub needs one or two                                               */
    CONNECT_S = 30,         /* a host that does not answer by then will not                         */
    STALL_S = 60,           /* no byte for so long: the connection is dead, try a new one           */
    MAX_WAIT_MS = 60000     /* between two tries, whatever the hub's Retry-After asks               */
};

/* One call of wr_pull. */
struct session {
    const wr_pull_options *options;
    wr_pull_result *result;
    CURL *curl;
    struct curl_slist *headers;
    char *endpoint; /* without a slash at its end */
    wr_err *err;
};

/* Where the body of one answer goes: to memory (a listing) or to a .part file (fd >= 0). */
struct sink {
    struct session *session;
    const wr_pull_file *file; /* NULL for a listing                                      */
    int fd;
    int64_t asked;   /* the Range that was asked for; 0 for all                  */
    int64_t given;   /* where the answer's Content-Range begins; -1 for none     */
    int64_t at;      /* bytes that are there                                     */
    bool begun;      /* the first piece has come                                 */
    bool resumed;    /* a piece was put behind older bytes                       */
    int disk_errno;  /* write or truncate failed                                 */
    const char *bad; /* the answer is refused: what is wrong with it             */
    char *text;      /* [at] a listing's bytes                                   */
};

enum outcome { DONE, AGAIN, FAILED };

/* printf into a new string, NULL when out of memory. */
static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) text = NULL;
    va_end(args);
    return text;
}

/* ---- addresses ---- */

static bool repo_is_valid(const char *repo)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t owner = strspn(repo, allowed);
    if (owner == 0 || owner > 96 || repo[owner] != '/' || repo[0] == '.') return false;
    size_t name = strspn(repo + owner + 1, allowed);
    return name > 0 && name <= 96 && repo[owner + 1] != '.' && !repo[owner + 1 + name];
}

/* Appends the percent-encoded parts of path to base: "base/a/b". Frees base. */
static char *append_path(CURL *curl, char *base, const char *path)
{
    while (base && *path) {
        size_t len = strcspn(path, "/");
        char *part = curl_easy_escape(curl, path, (int)len);
        char *longer = part ? format("%s/%s", base, part) : NULL;
        curl_free(part);
        free(base);
        base = longer;
        path += len + (path[len] == '/');
    }
    return base;
}

static char *listing_url(const struct session *s)
{
    char *revision = curl_easy_escape(s->curl, s->options->revision, 0);
    char *url =
        revision ? format("%s/api/models/%s/revision/%s?blobs=true", s->endpoint, s->options->repo, revision) : NULL;
    curl_free(revision);
    return url;
}

static char *file_url(const struct session *s, const char *name)
{
    const char *commit = s->result->commit[0] ? s->result->commit : s->options->revision;
    char *revision = curl_easy_escape(s->curl, commit, 0);
    char *base = revision ? format("%s/%s/resolve/%s", s->endpoint, s->options->repo, revision) : NULL;
    curl_free(revision);
    return append_path(s->curl, base, name);
}

/* ---- one request ---- */

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct sink *sink = ctx;
    n *= size;
    if (n >= 5 && !strncasecmp(line, "HTTP/", 5)) sink->given = -1; /* a new answer, behind a redirect */
    if (n > 21 && !strncasecmp(line, "content-range: bytes ", 21)) {
        int64_t start = 0;
        size_t i = 21;
        for (; i < n && line[i] >= '0' && line[i] <= '9' && start < INT64_MAX / 10 - 10; i++)
            start = start * 10 + (line[i] - '0');
        if (i > 21 && i < n && line[i] == '-') sink->given = start;
    }
    return n;
}

/* Decides, at the first piece of a file's body, where it goes. */
static bool begin_file(struct sink *sink)
{
    long code = 0;
    curl_easy_getinfo(sink->session->curl, CURLINFO_RESPONSE_CODE, &code);
    sink->begun = true;
    if (code == 206) {
        if (sink->given != sink->asked) sink->bad = "answers with another range than was asked for";
        sink->resumed |= sink->asked > 0;
        return !sink->bad;
    }
    sink->at = 0; /* 200: the whole file, from its beginning */
    if (ftruncate(sink->fd, 0)) sink->disk_errno = errno;
    return !sink->disk_errno;
}

static bool write_file(struct sink *sink, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t wrote = pwrite(sink->fd, bytes, n, (off_t)sink->at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            sink->disk_errno = wrote ? errno : ENOSPC;
            return false;
        }
        bytes += wrote;
        n -= (size_t)wrote;
        sink->at += wrote;
    }
    return true;
}

static size_t on_file_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct sink *sink = ctx;
    const wr_pull_options *options = sink->session->options;
    n *= size;
    if (!sink->begun && !begin_file(sink)) return 0;
    if (sink->file->size >= 0 && (int64_t)n > sink->file->size - sink->at) {
        sink->bad = "is longer than the hub's listing says";
        return 0;
    }
    if (!write_file(sink, bytes, n)) return 0;
    sink->session->result->bytes += (int64_t)n;
    if (options->progress) options->progress(options->ctx, sink->file->name, sink->at, sink->file->size);
    return n;
}

static size_t on_listing_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct sink *sink = ctx;
    n *= size;
    if ((size_t)sink->at + n > MAX_LISTING) {
        sink->bad = "is too long to be a list of a model's files";
        return 0;
    }
    char *longer = realloc(sink->text, (size_t)sink->at + n + 1);
    if (!longer) return 0;
    sink->text = longer;
    memcpy(longer + sink->at, bytes, n);
    sink->at += (int64_t)n;
    return n;
}

/* A failure that may pass: the network's, not the request's. */
static bool is_passing(CURLcode rc)
{
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

static enum outcome http_outcome(const struct session *s, const char *url, long code)
{
    if (code == 416 || code == 429 || code >= 500) {
        wr_fail(s->err, WR_EIO, "%s: the hub answers %ld", url, code);
        return AGAIN;
    }
    if (code == 404)
        wr_fail(s->err, WR_ENOTFOUND, "%s: the hub has no such model, revision or file (404)", url);
    else if (code == 401 || code == 403)
        wr_fail(s->err, WR_EIO, "%s: the hub refuses (%ld): no such model, or it wants a token in HF_TOKEN", url, code);
    else
        wr_fail(s->err, WR_EIO, "%s: the hub answers %ld, expected 200", url, code);
    return FAILED;
}

/* One GET; the error's sentence is filled on AGAIN and FAILED. */
static enum outcome get(struct session *s, const char *url, struct sink *sink)
{
    char range[32], reason[CURL_ERROR_SIZE] = "";
    CURL *curl = s->curl;
    snprintf(range, sizeof range, "%" PRId64 "-", sink->asked);
    sink->begun = false;
    sink->given = -1;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_RANGE, sink->asked > 0 ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, sink);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, sink->file ? on_file_body : on_listing_body);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);

    if (rc == CURLE_OK) return DONE;
    if (sink->disk_errno) {
        wr_fail(s->err, WR_EIO, "%s: cannot write: %s", sink->file->name, strerror(sink->disk_errno));
        return FAILED;
    }
    if (sink->bad) {
        wr_fail(s->err, WR_EFORMAT, "%s: %s", url, sink->bad);
        return FAILED;
    }
    if (rc == CURLE_HTTP_RETURNED_ERROR) return http_outcome(s, url, code);
    wr_fail(s->err, WR_EIO, "%s: %s", url, reason[0] ? reason : curl_easy_strerror(rc));
    return is_passing(rc) ? AGAIN : FAILED;
}

static void wait_before(const struct session *s, unsigned tries)
{
    curl_off_t asked_s = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RETRY_AFTER, &asked_s);
    uint64_t ms = (uint64_t)s->options->retry_ms << (tries - 1);
    if (asked_s > 0 && (uint64_t)asked_s * 1000 > ms) ms = (uint64_t)asked_s * 1000;
    if (ms > MAX_WAIT_MS) ms = MAX_WAIT_MS;
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) continue;
}

/* ---- hashes ---- */

/* Hashes the file behind fd; with a header, git's blob name, which begins with the type and size. */
static wr_status hash_fd(int fd, const EVP_MD *kind, const char *header, size_t nheader, const char *name,
                         char hex[WR_PULL_HASH_HEX], wr_err *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE], buffer[1 << 16];
    unsigned len = 0;
    wr_status st = WR_OK;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestInit_ex(ctx, kind, NULL) || !EVP_DigestUpdate(ctx, header, nheader)) {
        st = wr_fail(err, WR_ENOMEM, "%s: cannot begin a hash", name);
        goto done;
    }
    for (off_t at = 0;;) {
        ssize_t n = pread(fd, buffer, sizeof buffer, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            st = wr_fail(err, WR_EIO, "%s: cannot read: %s", name, strerror(errno));
            goto done;
        }
        if (n == 0) break;
        EVP_DigestUpdate(ctx, buffer, (size_t)n);
        at += n;
    }
    EVP_DigestFinal_ex(ctx, sum, &len);
    for (unsigned i = 0; i < len && 2 * i + 2 < WR_PULL_HASH_HEX; i++) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
done:
    EVP_MD_CTX_free(ctx);
    return st;
}

/* Are the bytes behind fd what the listing says? WR_EFORMAT with the reason when not. */
static wr_status verify(int fd, const wr_pull_file *file, wr_err *err)
{
    struct stat info;
    char hex[WR_PULL_HASH_HEX] = "", header[32];
    wr_status st = WR_OK;
    if (fstat(fd, &info)) return wr_fail(err, WR_EIO, "%s: %s", file->name, strerror(errno));
    if (file->size >= 0 && info.st_size != file->size)
        return wr_fail(err, WR_EFORMAT, "%s: %" PRId64 " bytes, expected %" PRId64, file->name, (int64_t)info.st_size,
                       file->size);
    const char *want = file->sha256[0] ? file->sha256 : file->blob;
    if (file->sha256[0]) {
        st = hash_fd(fd, EVP_sha256(), "", 0, file->name, hex, err);
    } else if (file->blob[0]) {
        int n = snprintf(header, sizeof header, "blob %" PRId64, (int64_t)info.st_size) + 1; /* with its NUL */
        st = hash_fd(fd, EVP_sha1(), header, (size_t)n, file->name, hex, err);
    }
    if (!st && strcmp(hex, want))
        st = wr_fail(err, WR_EFORMAT, "%s: %s is %s, expected %s", file->name,
                     file->sha256[0] ? "its sha256" : "its git hash", hex, want);
    return st;
}

/* ---- files ---- */

/* Makes the folders of path up to its last slash. */
static wr_status make_folders(const char *path, wr_err *err)
{
    char *copy = strdup(path);
    wr_status st = copy ? WR_OK : wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash && !st; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST)
            st = wr_fail(err, WR_EIO, "%s: cannot make this folder: %s", copy, strerror(errno));
        *slash = '/';
    }
    free(copy);
    return st;
}

/* Is the file there under its name already, and right? Nothing is known without a size or hash: then it is not. */
static bool is_there(const char *path, const wr_pull_file *file)
{
    if (!file->sha256[0] && !file->blob[0]) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && verify(fd, file, NULL) == WR_OK;
    if (fd >= 0) close(fd);
    return good;
}

static wr_status open_part(const char *part, int *fd, int64_t *size, wr_err *err)
{
    struct stat info;
    *fd = open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0) return wr_fail(err, WR_EIO, "%s: cannot open for writing: %s", part, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB)) return wr_fail(err, WR_EIO, "%s: another pull is writing this file", part);
    if (fstat(*fd, &info) || !S_ISREG(info.st_mode)) return wr_fail(err, WR_EIO, "%s: not a plain file", part);
    *size = (int64_t)info.st_size;
    return WR_OK;
}

/* Gives a complete .part its name, durably. */
static wr_status publish(int fd, const char *part, const char *path, wr_err *err)
{
    if (fsync(fd) || rename(part, path))
        return wr_fail(err, WR_EIO, "%s: cannot finish this file: %s", path, strerror(errno));
    char *folder = strdup(path);
    if (!folder) return WR_OK; /* the rename stands; only its durability is late */
    *strrchr(folder, '/') = '\0';
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir);
        close(dir);
    }
    free(folder);
    return WR_OK;
}

/* Fetches what is missing of the .part behind sink->fd. Ends when the answer is complete, by whatever many tries. */
static wr_status fill_part(struct session *s, const char *url, struct sink *sink)
{
    int64_t best = sink->at;
    for (unsigned tries = 0;;) {
        if (sink->file->size >= 0 && sink->at == sink->file->size && sink->at > 0) return WR_OK;
        if (sink->file->size >= 0 && sink->at > sink->file->size) sink->at = 0;
        sink->asked = sink->at;
        enum outcome outcome = get(s, url, sink);
        long code = 0;
        curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &code);
        if (outcome == DONE && !sink->begun) sink->at = 0; /* an answer without a body: the file is empty */
        if (outcome == DONE && (sink->file->size < 0 || sink->at >= sink->file->size)) return WR_OK;
        if (outcome == DONE)
            wr_fail(s->err, WR_EIO, "%s: ends after %" PRId64 " of %" PRId64 " bytes", url, sink->at, sink->file->size);
        if (outcome == FAILED) return s->err->code;
        if (code == 416) sink->at = 0; /* the hub has no such range: what is here is not the file's beginning */
        if (sink->at > best) tries = 0;
        if (sink->at > best) best = sink->at;
        if (++tries >= WR_PULL_TRIES) return s->err->code;
        wait_before(s, tries);
    }
}

static wr_status fetch(struct session *s, const wr_pull_file *file, const char *path, const char *part)
{
    struct sink sink = {.session = s, .file = file, .fd = -1};
    wr_status st = WR_OK;
    char *url = file_url(s, file->name);
    if (!url) {
        st = wr_fail(s->err, WR_ENOMEM, "%s: out of memory", file->name);
        goto done;
    }
    if ((st = open_part(part, &sink.fd, &sink.at, s->err))) goto done;
    sink.resumed = sink.at > 0;
    for (int round = 0; round < 2; round++) {
        if ((st = fill_part(s, url, &sink))) goto done;
        if (ftruncate(sink.fd, (off_t)sink.at)) {
            st = wr_fail(s->err, WR_EIO, "%s: cannot truncate: %s", part, strerror(errno));
            goto done;
        }
        st = verify(sink.fd, file, s->err);
        if (st != WR_EFORMAT || !sink.resumed) break;
        sink.at = 0; /* the old bytes may be another version's: once more, from the beginning */
        sink.resumed = false;
    }
    if (st == WR_EFORMAT) unlink(part);
    if (!st) st = publish(sink.fd, part, path, s->err);
done:
    if (sink.fd >= 0) close(sink.fd);
    free(url);
    return st;
}

static wr_status pull_file(struct session *s, const wr_pull_file *file)
{
    wr_status st = WR_OK;
    char *path = format("%s/%s", s->options->to, file->name), *part = path ? format("%s.part", path) : NULL;
    if (!part)
        st = wr_fail(s->err, WR_ENOMEM, "%s: out of memory", file->name);
    else if (!is_there(path, file)) {
        st = make_folders(path, s->err);
        if (!st) st = fetch(s, file, path, part);
        if (!st) s->result->fetched++;
    }
    if (!st) s->result->files++;
    free(part);
    free(path);
    return st;
}

/* ---- the whole ---- */

static wr_status pull_listing(struct session *s, wr_pull_list *list)
{
    struct sink sink = {.session = s, .fd = -1};
    char *url = listing_url(s);
    if (!url) return wr_fail(s->err, WR_ENOMEM, "%s: out of memory", s->options->repo);
    enum outcome outcome = AGAIN;
    for (unsigned tries = 0; outcome == AGAIN && tries < WR_PULL_TRIES; tries++) {
        if (tries) wait_before(s, tries);
        sink.at = 0;
        outcome = get(s, url, &sink);
    }
    wr_status st = outcome == DONE ? WR_OK : s->err->code;
    if (!st)
        st = wr_pull_list_read(list, sink.text ? sink.text : "", (size_t)sink.at, url, s->options->pattern,
                               s->options->npatterns, s->err);
    free(sink.text);
    free(url);
    return st;
}

static wr_status check_options(const wr_pull_options *options, wr_err *err)
{
    if (!repo_is_valid(options->repo))
        return wr_fail(err, WR_EARG, "\"%s\": not a repository's name, expected OWNER/NAME", options->repo);
    if (strncmp(options->endpoint, "https://", 8) && strncmp(options->endpoint, "http://", 7))
        return wr_fail(err, WR_EARG, "HF_ENDPOINT \"%s\": expected an address that begins with https:// or http://",
                       options->endpoint);
    for (const char *c = options->token ? options->token : ""; *c; c++)
        if (*c <= ' ' || *c > '~') return wr_fail(err, WR_EARG, "HF_TOKEN: has a character that no token has");
    if (!options->revision[0]) return wr_fail(err, WR_EARG, "the revision is empty, expected a branch, tag or commit");
    if (!options->to[0]) return wr_fail(err, WR_EARG, "the folder to write to has an empty name");
    return WR_OK;
}

static wr_status session_open(struct session *s, const wr_pull_options *options)
{
    bool secure = !strncmp(options->endpoint, "https://", 8), ok = true;
    s->curl = curl_easy_init();
    s->endpoint = strdup(options->endpoint);
    if (!s->curl || !s->endpoint) return wr_fail(s->err, WR_ENOMEM, "%s: out of memory", options->repo);
    for (size_t n = strlen(s->endpoint); n > 8 && s->endpoint[n - 1] == '/'; n--) s->endpoint[n - 1] = '\0';
    if (options->token && options->token[0]) {
        /* libcurl keeps a header of this name from every host but the first. */
        char *header = format("Authorization: Bearer %s", options->token);
        if (header) s->headers = curl_slist_append(NULL, header);
        free(header);
        ok = s->headers != NULL;
    }
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "weir");
    curl_easy_setopt(s->curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(s->curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(s->curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(s->curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(s->curl, CURLOPT_HEADERFUNCTION, on_header);
    return ok ? WR_OK : wr_fail(s->err, WR_ENOMEM, "%s: out of memory", options->repo);
}

wr_status wr_pull(const wr_pull_options *options, wr_pull_result *result, wr_err *err)
{
    wr_err own = {0};
    wr_pull_list list = {0};
    struct session s = {.options = options, .result = result, .err = err ? err : &own};
    *result = (wr_pull_result){0};
    wr_status st = check_options(options, s.err);
    if (st) return st;
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return wr_fail(s.err, WR_ENOMEM, "libcurl does not start");
    if ((st = session_open(&s, options))) goto done;
    if ((st = pull_listing(&s, &list))) goto done;
    memcpy(result->commit, list.commit, sizeof result->commit);
    for (size_t i = 0; i < list.n && !st; i++) st = pull_file(&s, &list.file[i]);
done:
    wr_pull_list_release(&list);
    curl_slist_free_all(s.headers);
    curl_easy_cleanup(s.curl);
    free(s.endpoint);
    curl_global_cleanup();
    return st;
}
