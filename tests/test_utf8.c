#include <criterion/criterion.h>
#include <string.h>

#include "data/utf8.h"
#include "tests/testlib.h"

Test(utf8, every_scalar_value_survives_a_round_trip)
{
    char s[4];
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        if (cp >= 0xd800 && cp <= 0xdfff) continue;
        size_t len, n = wr_utf8_encode(cp, s);
        cr_assert(wr_utf8_decode(s, n, &len) == cp && len == n && wr_utf8_valid(s, n), "U+%04X", cp);
    }
}

/* What the WHATWG decoder and Python's errors="replace" give: one U+FFFD for each maximal subpart. */
Test(utf8, each_maximal_subpart_becomes_one_replacement)
{
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {
        {"", 0, ""},
        {"a\x80z", 3, "a\xef\xbf\xbdz"},
        {"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong '/'       */
        {"\xe0\x80\xaf", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* the same, longer   */
        {"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* a surrogate        */
        {"\xf4\x90\x80\x80", 4, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above 10FFFF       */
        {"\xe2\x82", 2, "\xef\xbf\xbd"},                                             /* cut                */
        {"\xf0\x9f\x98", 3, "\xef\xbf\xbd"},                                         /* cut                */
        {"\xe2\x82"                                                                  /* then a letter      */
         "A",
         3,
         "\xef\xbf\xbd"
         "A"},
        {"\xf0\x9f\x98\xe2\x82\xac", 6, "\xef\xbf\xbd\xe2\x82\xac"}, /* cut, then a whole  */
        {"\xff\xfe", 2, "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xef\xbf\xbd", 3, "\xef\xbf\xbd"}, /* U+FFFD itself      */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        size_t n = wr_utf8_repair(cases[i].in, cases[i].n, out);
        cr_assert_eq(n, strlen(cases[i].out), "case %zu", i);
        cr_assert_eq(memcmp(out, cases[i].out, n), 0, "case %zu", i);
    }
}

Test(utf8, validity_is_that_repair_changes_nothing)
{
    wr_test_random random = {7};
    static const unsigned char likely[] = {'a',  0x80, 0xbf, 0xc2, 0xc3, 0xe0, 0xe2,
                                           0xed, 0xef, 0xf0, 0xf4, 0xa0, 0x9f, 0x90};
    char in[24], out[3 * sizeof in];
    for (int round = 0; round < 200000; round++) {
        size_t n = wr_test_below(&random, sizeof in + 1);
        for (size_t i = 0; i < n; i++)
            in[i] = (char)(wr_test_below(&random, 4) ? likely[wr_test_below(&random, sizeof likely)]
                                                     : wr_test_u64(&random));
        size_t got = wr_utf8_repair(in, n, out);
        cr_assert_leq(got, 3 * n);
        cr_assert(wr_utf8_valid(out, got));
        cr_assert_eq(wr_utf8_valid(in, n), got == n && memcmp(in, out, n) == 0);
    }
}

Test(utf8, an_invalid_byte_is_found_wherever_it_stands)
{
    char text[64];
    for (size_t n = 1; n < sizeof text; n++)
        for (size_t bad = 0; bad < n; bad++) {
            memset(text, 'a', n);
            cr_assert(wr_utf8_valid(text, n));
            text[bad] = '\xff';
            cr_assert(!wr_utf8_valid(text, n), "byte %zu of %zu", bad, n);
        }
}
