#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/hash.h"
#include "data/mapfile.h"
#include "tests/testlib.h"

static const char magic[8] = "weirTEST";

Test(mapfile, a_map_shows_the_file_s_bytes)
{
    wr_map map;
    cr_assert_eq(wr_map_open(&map, wr_test_text("a", "hello"), NULL), WR_OK);
    cr_assert_eq(map.size, 5u);
    cr_assert_arr_eq(map.bytes, "hello", 5);
    wr_map_close(&map);
    cr_assert_eq(wr_map_open(&map, wr_test_text("b", ""), NULL), WR_OK);
    cr_assert_eq(map.size, 0u);
    cr_assert_null(map.bytes);
    wr_map_close(&map);
}

Test(mapfile, only_regular_files_are_mapped, .timeout = 10)
{
    wr_map map;
    wr_err err;
    cr_assert_eq(wr_map_open(&map, wr_test_path("none"), &err), WR_ENOTFOUND);
    cr_assert_eq(wr_map_open(&map, wr_test_dir(), &err), WR_EFORMAT);
    cr_assert_eq(wr_map_open(&map, "/dev/null", &err), WR_EFORMAT);
    cr_assert_eq(mkfifo(wr_test_path("fifo"), 0600), 0);
    cr_assert_eq(wr_map_open(&map, wr_test_path("fifo"), &err), WR_EFORMAT); /* nobody writes: must not hang */
    cr_assert_null(map.bytes);
}

static const char *checked_file(size_t payload)
{
    const char *path = wr_test_path("checked");
    wr_file *file;
    cr_assert_eq(wr_file_create(&file, path, magic, 3, NULL), WR_OK);
    for (size_t i = 0; i < payload; i++) {
        unsigned char byte = (unsigned char)(i * 7);
        cr_assert_eq(wr_file_write(file, &byte, 1), WR_OK);
    }
    cr_assert_eq(wr_file_offset(file), payload);
    cr_assert_eq(wr_file_commit(file, NULL), WR_OK);
    return path;
}

Test(mapfile, a_checked_file_reads_back)
{
    const size_t sizes[] = {0, 1, 31, 32, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1000000};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const unsigned char *payload;
        size_t size;
        wr_map map;
        const char *path = checked_file(sizes[s]);
        cr_assert_eq(wr_map_open_checked(&map, path, magic, 3, &payload, &size, NULL), WR_OK);
        cr_assert_eq(size, sizes[s]);
        cr_assert_eq((uintptr_t)payload % 32, 0u);
        for (size_t i = 0; i < size; i++) cr_assert_eq(payload[i], (unsigned char)(i * 7));
        wr_map_close(&map);
    }
}

Test(mapfile, every_flipped_bit_of_the_header_is_refused)
{
    wr_map map;
    wr_err err;
    const unsigned char *payload;
    size_t size, n;
    char *bytes;
    cr_assert_eq(wr_file_read(checked_file(100), 1000, &bytes, &n, NULL), WR_OK);
    for (size_t bit = 0; bit < 8 * WR_CHECKED_HEADER; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        const char *path = wr_test_file("flipped", bytes, n);
        cr_assert_eq(wr_map_open_checked(&map, path, magic, 3, &payload, &size, &err), WR_EFORMAT, "bit %zu", bit);
        cr_assert_null(map.bytes);
        cr_assert_null(payload);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
    }
    free(bytes);
}

Test(mapfile, every_truncation_and_an_extra_byte_are_refused)
{
    wr_map map;
    wr_err err;
    const unsigned char *payload;
    size_t size, n;
    char *bytes;
    cr_assert_eq(wr_file_read(checked_file(50), 1000, &bytes, &n, NULL), WR_OK);
    for (size_t cut = 0; cut <= n + 1; cut++) {
        const char *path = wr_test_file("cut", bytes, cut); /* cut == n + 1 takes the NUL along */
        wr_status want = cut == n ? WR_OK : WR_EFORMAT;
        cr_assert_eq(wr_map_open_checked(&map, path, magic, 3, &payload, &size, &err), want, "cut at %zu", cut);
        wr_map_close(&map);
    }
    free(bytes);
}

Test(mapfile, another_magic_or_version_is_refused_by_name)
{
    wr_map map;
    wr_err err;
    const unsigned char *payload;
    size_t size;
    const char *path = checked_file(5);
    cr_assert_eq(wr_map_open_checked(&map, path, "weirELSE", 3, &payload, &size, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "weirTEST") && strstr(err.text, "weirELSE"), "%s", err.text);
    cr_assert_eq(wr_map_open_checked(&map, path, magic, 4, &payload, &size, &err), WR_EFORMAT);
    cr_assert(strstr(err.text, "version 3, expected 4"), "%s", err.text);
}

Test(mapfile, written_bytes_can_be_rewritten)
{
    static char big[600000];
    wr_file *file;
    const char *path = wr_test_path("rewritten");
    const unsigned char *payload;
    size_t size;
    wr_map map;
    cr_assert_eq(wr_file_create(&file, path, magic, 1, NULL), WR_OK);
    cr_assert_eq(wr_file_write(file, "0000", 4), WR_OK);
    cr_assert_eq(wr_file_write(file, big, sizeof big), WR_OK);
    cr_assert_eq(wr_file_rewrite(file, 0, "1234", 4), WR_OK);
    cr_assert_eq(wr_file_rewrite(file, sizeof big + 3, "z", 1), WR_OK);
    cr_assert_eq(wr_file_rewrite(file, sizeof big + 3, "zz", 2), WR_EARG);
    cr_assert_eq(wr_file_rewrite(file, UINT64_MAX, "zz", 2), WR_EARG);
    cr_assert_eq(wr_file_write(file, "end", 3), WR_OK);
    cr_assert_eq(wr_file_commit(file, NULL), WR_OK);
    cr_assert_eq(wr_map_open_checked(&map, path, magic, 1, &payload, &size, NULL), WR_OK);
    cr_assert_eq(size, sizeof big + 7);
    cr_assert_arr_eq(payload, "1234", 4);
    cr_assert_arr_eq(payload + sizeof big + 3, "zend", 4);
    wr_map_close(&map);
}

Test(mapfile, a_disk_that_is_full_is_told_at_commit)
{
    static char big[1 << 20];
    wr_file *file;
    wr_err err;
    struct rlimit limit = {100000, RLIM_INFINITY}; /* stands for the disk's size */
    const char *path = wr_test_path("full");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(wr_file_create(&file, path, NULL, 0, &err), WR_OK);
    cr_assert_eq(wr_file_write(file, big, sizeof big), WR_EIO);
    cr_assert_eq(wr_file_write(file, "x", 1), WR_EIO);
    wr_status st = wr_file_commit(file, &err);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    cr_assert_eq(st, WR_EIO);
    cr_assert(strstr(err.text, "File too large"), "%s", err.text);
    cr_assert(!wr_path_exists(path));
}

Test(mapfile, abort_leaves_no_file)
{
    wr_file *file;
    const char *path = wr_test_path("aborted");
    cr_assert_eq(wr_file_create(&file, path, NULL, 0, NULL), WR_OK);
    wr_file_write(file, "x", 1);
    wr_file_abort(file);
    cr_assert(!wr_path_exists(path));
    wr_file_abort(NULL);
}

Test(mapfile, replace_leaves_the_new_bytes_and_nothing_else)
{
    char *bytes;
    size_t n;
    const char *path = wr_test_text("manifest", "old and longer");
    cr_assert_eq(wr_file_replace(path, "new", 3, NULL), WR_OK);
    cr_assert_eq(wr_file_read(path, 100, &bytes, &n, NULL), WR_OK);
    cr_assert_eq(n, 3u);
    cr_assert_str_eq(bytes, "new");
    free(bytes);
    cr_assert(!wr_path_exists(wr_test_path("manifest.tmp")));
    wr_err err;
    cr_assert_eq(wr_file_replace(wr_test_path("no/such/folder"), "x", 1, &err), WR_EIO);
}

Test(mapfile, a_file_larger_than_allowed_is_not_read)
{
    char *bytes;
    size_t n;
    wr_err err;
    const char *path = wr_test_text("five", "12345");
    cr_assert_eq(wr_file_read(path, 4, &bytes, &n, &err), WR_EFORMAT);
    cr_assert_null(bytes);
    cr_assert_eq(wr_file_read(path, 5, &bytes, &n, &err), WR_OK);
    free(bytes);
}

Test(mapfile, folders_are_made_with_their_parents_and_removed_whole)
{
    const char *deep = wr_test_path("a/b//c/");
    cr_assert_eq(wr_dir_make(deep, NULL), WR_OK);
    cr_assert_eq(wr_dir_make(deep, NULL), WR_OK);
    cr_assert(wr_path_is_dir(wr_test_path("a/b/c")));
    wr_test_text("a/b/c/file", "x");
    wr_err err;
    cr_assert_eq(wr_dir_make(wr_test_path("a/b/c/file/d"), &err), WR_EIO);
    cr_assert_eq(wr_dir_make(wr_test_path("a/b/c/file"), &err), WR_EIO);
    cr_assert_eq(wr_dir_make("", &err), WR_EARG);
    cr_assert_eq(wr_dir_sync(wr_test_path("a"), NULL), WR_OK);
    cr_assert_eq(wr_dir_remove(wr_test_path("a"), NULL), WR_OK);
    cr_assert(!wr_path_exists(wr_test_path("a")));
    cr_assert_eq(wr_dir_remove(wr_test_path("a"), &err), WR_ENOTFOUND);
}

Test(mapfile, removing_a_folder_follows_no_link)
{
    cr_assert_eq(wr_dir_make(wr_test_path("keep"), NULL), WR_OK);
    wr_test_text("keep/file", "x");
    cr_assert_eq(wr_dir_make(wr_test_path("gone"), NULL), WR_OK);
    cr_assert_eq(symlink(wr_test_path("keep"), wr_test_path("gone/link")), 0);
    cr_assert_eq(wr_dir_remove(wr_test_path("gone"), NULL), WR_OK);
    cr_assert(wr_path_exists(wr_test_path("keep/file")));
    cr_assert_eq(symlink(wr_test_path("keep"), wr_test_path("link")), 0);
    cr_assert_eq(wr_dir_remove(wr_test_path("link"), NULL), WR_EIO);
    cr_assert(wr_path_exists(wr_test_path("keep/file")));
}

Test(mapfile, joined_paths_have_one_slash_and_fit)
{
    char out[8];
    cr_assert_eq(wr_path_join(out, sizeof out, "ab", "cd"), WR_OK);
    cr_assert_str_eq(out, "ab/cd");
    cr_assert_eq(wr_path_join(out, sizeof out, "/", "cd"), WR_OK);
    cr_assert_str_eq(out, "/cd");
    cr_assert_eq(wr_path_join(out, sizeof out, "abcd", "ef"), WR_OK);
    cr_assert_eq(wr_path_join(out, sizeof out, "abcd", "efg"), WR_EARG);
    cr_assert_str_eq(out, "");
}
