/* A code to branch on, and one sentence for the operator.
 *
 * A function that can fail returns wr_status. Loading and parsing take a wr_err last and fill it with what went
 * wrong, where, and what was expected; the query path returns the code alone.
 *
 *     if (len > max) return wr_fail(err, WR_EFORMAT, "%s: line %zu: %zu bytes, at most %zu", path, line, len, max);
 */
#ifndef WR_DATA_STATUS_H
#define WR_DATA_STATUS_H

typedef enum wr_status {
    WR_OK = 0,
    WR_STOPPED = 1,      /* not an error: the budget ended the work; what was promised "filled" is not valid     */
    WR_ENOMEM = -1,      /* memory, an arena or an address range is exhausted                                   */
    WR_EIO = -2,         /* the operating system refused to open, read, write, map, sync or rename              */
    WR_EFORMAT = -3,     /* bytes from outside are not what their format says: bad data, exit status 4          */
    WR_EARG = -4,        /* a caller's or user's argument is refused: usage, exit status 2                      */
    WR_EFULL = -5,       /* a bounded thing (queue, table, map) is full                                         */
    WR_ENOTFOUND = -6,   /* no such file, document, model or index                                              */
    WR_EUNSUPPORTED = -7 /* well-formed, but beyond what weir can do (an architecture, a dtype, a feature)      */
} wr_status;

/* Filled by wr_fail(). text is always NUL-terminated, one sentence without a newline. */
typedef struct wr_err {
    wr_status code;
    char text[512];
} wr_err;

/* Formats the sentence into err (err may be NULL) and returns code. Control characters that came in through arguments
 * are replaced by '?', so that a hostile file name cannot forge a line of a log. */
wr_status wr_fail(wr_err *err, wr_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence that err holds; returns err->code. */
wr_status wr_fail_prefix(wr_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A short name for a code, for logs: "WR_EIO". */
const char *wr_status_name(wr_status code);

/* The exit status of a command that failed with code: WR_OK 0, WR_EARG 2, WR_EFORMAT and WR_EUNSUPPORTED 4, others 1. */
int wr_exit_status(wr_status code);

#endif
