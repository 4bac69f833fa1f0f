/* JSON text being written: a growing buffer and the few primitives that a reply needs. The hot path of every answer,
 * so no tree is built first. Commas and brackets are the caller's business.
 *
 *     wr_out out = {0};
 *     wr_out_puts(&out, "{\"id\":");
 *     wr_out_string(&out, docno, docno_len);
 *     wr_out_puts(&out, "}");
 *     if (out.failed) ...                     // out of memory at some point; bytes is then incomplete
 */
#ifndef WR_SERVER_OUT_H
#define WR_SERVER_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wr_out {
    char *bytes; /* [n] owned by whoever owns the wr_out; from malloc, so it may be taken out and freed */
    size_t n, cap;
    bool failed; /* sticky */
} wr_out;

void wr_out_release(wr_out *out); /* a zeroed one is fine */
void wr_out_reset(wr_out *out);   /* empty again, memory kept */

void wr_out_raw(wr_out *out, const char *s, size_t n);
void wr_out_puts(wr_out *out, const char *s);
void wr_out_printf(wr_out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD, so that a reply is always valid. */
void wr_out_string(wr_out *out, const char *s, size_t n);

/* A float by the fewest digits (6 to 9) that give the same float back; "null" when it is not finite. */
void wr_out_float(wr_out *out, float value);

/* Three digits behind the point: milliseconds to the microsecond. Negative or not finite gives 0.000. */
void wr_out_ms(wr_out *out, double ms);

/* A number as its user wrote it (15 significant digits); "null" when it is not finite. */
void wr_out_number(wr_out *out, double value);

void wr_out_u64(wr_out *out, uint64_t value);
void wr_out_bool(wr_out *out, bool value);

/* Standard base64 with padding, in quotes. */
void wr_out_base64(wr_out *out, const void *bytes, size_t n);

#endif
