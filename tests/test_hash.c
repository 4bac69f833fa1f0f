#include <criterion/criterion.h>
#include <string.h>

#include "data/hash.h"
#include "tests/testlib.h"

/* FIPS 180-2, appendix B. */
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char million_a[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

Test(hash, sha256_gives_the_standard_s_digests)
{
    char hex[WR_SHA256_HEX];
    wr_sha256_bytes("abc", 3, hex);
    cr_assert_str_eq(hex, abc);
    wr_sha256_bytes(NULL, 0, hex);
    cr_assert_str_eq(hex, empty);
}

Test(hash, sha256_in_pieces_equals_sha256_at_once)
{
    static char text[1000000];
    char hex[WR_SHA256_HEX];
    memset(text, 'a', sizeof text);
    wr_sha256 *hash = wr_sha256_new();
    for (size_t at = 0, step = 1; at < sizeof text; at += step, step = step % 7919 + 13) {
        if (step > sizeof text - at) step = sizeof text - at;
        wr_sha256_add(hash, text + at, step);
    }
    wr_sha256_finish(hash, hex);
    cr_assert_str_eq(hex, million_a);
}

Test(hash, sha256_of_a_file_is_that_of_its_bytes)
{
    static char text[1000000];
    char hex[WR_SHA256_HEX];
    memset(text, 'a', sizeof text);
    cr_assert_eq(wr_sha256_file(wr_test_file("a", text, sizeof text), hex, NULL), WR_OK);
    cr_assert_str_eq(hex, million_a);
    cr_assert_eq(wr_sha256_file(wr_test_text("b", ""), hex, NULL), WR_OK);
    cr_assert_str_eq(hex, empty);
}

Test(hash, a_file_that_cannot_be_read_leaves_no_digest)
{
    char hex[WR_SHA256_HEX] = "x";
    wr_err err;
    cr_assert_eq(wr_sha256_file(wr_test_path("none"), hex, &err), WR_ENOTFOUND);
    cr_assert_str_eq(hex, "");
    cr_assert_eq(wr_sha256_file(wr_test_dir(), hex, &err), WR_EFORMAT);
}

/* The reference values are xxhash's own (xxhsum -H3). */
Test(hash, checksums_are_xxh3)
{
    cr_assert_eq(wr_checksum("", 0), UINT64_C(0x2d06800538d394c2));
    cr_assert_eq(wr_checksum("abc", 3), UINT64_C(0x78af5f94892f3950));
}

Test(hash, one_flipped_bit_changes_the_checksum)
{
    unsigned char bytes[300];
    memset(bytes, 0x5a, sizeof bytes);
    uint64_t before = wr_checksum(bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert_neq(wr_checksum(bytes, sizeof bytes), before);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}
