#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/lines.h"
#include "tests/testlib.h"

/* One gzip member around bytes; returns its length. */
static size_t gzip(const char *bytes, size_t n, unsigned char *out, size_t cap)
{
    z_stream zip = {0};
    cr_assert_eq(deflateInit2(&zip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    zip.next_in = (Bytef *)bytes, zip.avail_in = (uInt)n;
    zip.next_out = out, zip.avail_out = (uInt)cap;
    cr_assert_eq(deflate(&zip, Z_FINISH), Z_STREAM_END);
    size_t length = zip.total_out;
    deflateEnd(&zip);
    return length;
}

static wr_lines *open_lines(const char *path)
{
    wr_lines *lines;
    wr_err err = {0};
    cr_assert_eq(wr_lines_open(&lines, path, &err), WR_OK, "%s", err.text);
    return lines;
}

/* Expects exactly these lines, then the end. */
static void expect(const char *path, size_t count, const char *const want[])
{
    wr_lines *lines = open_lines(path);
    const char *line;
    size_t n;
    wr_err err = {0};
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(wr_lines_next(lines, &line, &n, &err), WR_OK, "%s", err.text);
        cr_assert_not_null(line);
        cr_assert_str_eq(line, want[i]);
        cr_assert_eq(n, strlen(want[i]));
        cr_assert_eq(wr_lines_number(lines), i + 1);
    }
    cr_assert_eq(wr_lines_next(lines, &line, &n, &err), WR_OK);
    cr_assert_null(line);
    cr_assert_eq(wr_lines_number(lines), count);
    wr_lines_close(lines);
}
#define EXPECT(path, ...)                                                                                              \
    expect(path, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

Test(lines, both_line_ends_and_a_missing_last_one_are_read)
{
    EXPECT(wr_test_text("a", "one\ntwo\r\n\nfour"), "one", "two", "", "four");
    EXPECT(wr_test_text("b", "one\n"), "one");
    EXPECT(wr_test_text("c", "\n\n"), "", "");
    EXPECT(wr_test_text("d", "a\rb\n"), "a\rb");
    expect(wr_test_text("e", ""), 0, NULL);
}

Test(lines, a_byte_order_mark_is_skipped_at_the_start_only)
{
    EXPECT(wr_test_text("a", "\xef\xbb\xbf"
                             "x\n\xef\xbb\xbfy\n"),
           "x", "\xef\xbb\xbfy");
    EXPECT(wr_test_text("b", "\xef\xbb\xbf"), "");
}

Test(lines, a_line_may_hold_nul_bytes)
{
    wr_lines *lines = open_lines(wr_test_file("a", "x\0y\nz", 5));
    const char *line;
    size_t n;
    cr_assert_eq(wr_lines_next(lines, &line, &n, NULL), WR_OK);
    cr_assert_eq(n, 3u);
    cr_assert_arr_eq(line, "x\0y", 4);
    wr_lines_close(lines);
}

Test(lines, long_lines_cross_every_buffer)
{
    const size_t lengths[] = {65534, 65535, 65536, 65537, 131071, 131072, 131073, 3000000, 1, 0, 70000};
    enum { N = sizeof lengths / sizeof lengths[0] };
    size_t total = 0;
    char *text = malloc(8000000);
    for (size_t i = 0; i < N; i++) {
        memset(text + total, 'a' + (int)i, lengths[i]);
        total += lengths[i];
        text[total++] = '\n';
    }
    unsigned char *packed = malloc(8000000);
    size_t packed_n = gzip(text, total, packed, 8000000);
    const char *paths[2] = {wr_test_file("plain", text, total), wr_test_file("packed", packed, packed_n)};
    for (size_t p = 0; p < 2; p++) {
        wr_lines *lines = open_lines(paths[p]);
        const char *line;
        size_t n;
        for (size_t i = 0; i < N; i++) {
            cr_assert_eq(wr_lines_next(lines, &line, &n, NULL), WR_OK);
            cr_assert_eq(n, lengths[i]);
            cr_assert_eq(line[n], 0);
            cr_assert(n == 0 || (line[0] == 'a' + (int)i && line[n - 1] == 'a' + (int)i));
        }
        cr_assert_eq(wr_lines_next(lines, &line, &n, NULL), WR_OK);
        cr_assert_null(line);
        cr_assert_eq(wr_lines_bytes_read(lines), p ? packed_n : total);
        cr_assert_eq(wr_lines_bytes_total(lines), p ? packed_n : total);
        wr_lines_close(lines);
    }
    free(text);
    free(packed);
}

Test(lines, gzip_members_follow_one_another)
{
    unsigned char file[500];
    size_t n = gzip("one\ntw", 6, file, sizeof file);
    n += gzip("", 0, file + n, sizeof file - n);
    n += gzip("o\nthree", 7, file + n, sizeof file - n);
    EXPECT(wr_test_file("members.gz", file, n), "one", "two", "three");
    memset(file + n, 0, 20); /* some writers pad with zero bytes */
    EXPECT(wr_test_file("padded.gz", file, n + 20), "one", "two", "three");
    n = gzip("", 0, file, sizeof file);
    expect(wr_test_file("empty.gz", file, n), 0, NULL);
}

/* Reads to the end or the first failure. */
static wr_status drain(const char *path, wr_err *err)
{
    wr_lines *lines;
    const char *line;
    size_t n;
    wr_status st = wr_lines_open(&lines, path, err);
    if (st) return st;
    do st = wr_lines_next(lines, &line, &n, err);
    while (!st && line);
    wr_lines_close(lines);
    return st;
}

Test(lines, a_gzip_stream_cut_anywhere_is_refused)
{
    char text[5000];
    unsigned char packed[6000];
    wr_test_random random = {1};
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i % 50 == 49 ? '\n' : 'a' + wr_test_below(&random, 26));
    size_t n = gzip(text, sizeof text, packed, sizeof packed);
    wr_err err;
    cr_assert_eq(drain(wr_test_file("whole", packed, n), &err), WR_OK);
    for (size_t cut = 2; cut < n; cut += cut < 40 || cut > n - 40 ? 1 : 37)
        cr_assert_eq(drain(wr_test_file("cut", packed, cut), &err), WR_EFORMAT, "cut at %zu of %zu", cut, n);
}

Test(lines, damaged_gzip_is_refused_with_the_place)
{
    unsigned char packed[200];
    size_t n = gzip("one\ntwo\nthree\n", 14, packed, sizeof packed);
    wr_err err;
    packed[n - 6] ^= 1; /* the checksum */
    cr_assert_eq(drain(wr_test_file("sum", packed, n), &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "sum: damaged gzip stream"), "%s", err.text);
    packed[n - 6] ^= 1;
    memcpy(packed + n, "tail", 4);
    cr_assert_eq(drain(wr_test_file("tail", packed, n + 4), &err), WR_EFORMAT);
}

Test(lines, a_line_that_is_too_long_is_refused)
{
    /* 70 MiB of one letter is 70 KiB when packed: what a hostile upload would look like. */
    size_t n = (size_t)70 << 20;
    char *text = malloc(n);
    unsigned char *packed = malloc(1 << 20);
    memset(text, 'x', n);
    memcpy(text, "one\n", 4);
    const char *path = wr_test_file("bomb.gz", packed, gzip(text, n, packed, 1 << 20));
    wr_err err;
    cr_assert_eq(drain(path, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "line 2: longer than"), "%s", err.text);
    free(text);
    free(packed);
}

Test(lines, what_is_no_file_is_refused)
{
    wr_lines *lines;
    wr_err err;
    cr_assert_eq(wr_lines_open(&lines, wr_test_path("none"), &err), WR_ENOTFOUND);
    cr_assert_null(lines);
    cr_assert_eq(wr_lines_open(&lines, wr_test_dir(), &err), WR_EFORMAT);
    wr_lines_close(NULL);
}

Test(lines, standard_input_arrives_in_small_pieces)
{
    int ends[2];
    unsigned char packed[200];
    size_t n = gzip("one\ntwo\n", 8, packed, sizeof packed);
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < n; i++)
            if (write(ends[1], packed + i, 1) != 1) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    EXPECT("-", "one", "two");
}
