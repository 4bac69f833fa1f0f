/* The interpreter of chat templates. tests/golden/compare_chat.py compares it with Jinja 2 itself, over the templates
 * of all families that weir reads. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "models/jinja.h"

static wr_arena arena;
static wr_err err;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)256 << 20), WR_OK);
}

static void end(void)
{
    wr_arena_release(&arena);
}

TestSuite(jinja, .init = begin, .fini = end);

static wr_text text_of(const char *s)
{
    return (wr_text){s, strlen(s)};
}

/* name = "Ann", list = ["a", "b", "c"], none = None. */
static wr_status render(const char *template, wr_text *out)
{
    static const char *const names[] = {"a", "b", "c"};
    wr_jinja_value item[3], value[3];
    wr_text key[3] = {text_of("name"), text_of("list"), text_of("nothing")};
    for (int i = 0; i < 3; i++) item[i] = wr_jinja_text(text_of(names[i]));
    value[0] = wr_jinja_text(text_of("Ann"));
    value[1] = (wr_jinja_value){.type = WR_JINJA_LIST, .u.list = {item, 3}};
    value[2] = (wr_jinja_value){.type = WR_JINJA_NONE};
    wr_jinja_map context = {key, value, 3, 3};
    wr_jinja *jinja;
    wr_status st = wr_jinja_open(&jinja, text_of(template), "test", &err);
    if (!st) st = wr_jinja_render(jinja, &context, &arena, out, &err);
    wr_jinja_close(jinja);
    return st;
}

static void gives(const char *template, const char *want)
{
    wr_text out;
    cr_assert_eq(render(template, &out), WR_OK, "%s", err.text);
    cr_assert(out.n == strlen(want) && !memcmp(out.bytes, want, out.n), "%s: \"%.*s\", not \"%s\"", template,
              (int)out.n, out.bytes, want);
}

static void refused(const char *template, wr_status code, const char *word)
{
    wr_text out;
    cr_assert_eq(render(template, &out), code, "%s", template);
    cr_assert(strstr(err.text, word), "%s: \"%s\" does not speak of \"%s\"", template, err.text, word);
}

Test(jinja, loops_know_where_they_are)
{
    gives("{% for x in list %}{{ loop.index0 }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "0a,1b,2c");
    gives("{% for x in list if x != 'b' %}{{ loop.index }}{{ x }}{{ loop.nextitem }}{% endfor %}", "1ac2c");
    gives("{% for x in [] %}{{ x }}{% else %}none{% endfor %}", "none");
    gives("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;");
    gives("{% for x in list %}{% if x == 'b' %}{% continue %}{% endif %}{{ x }}{% endfor %}", "ac");
}

Test(jinja, what_a_loop_sets_stays_in_it_but_for_namespaces)
{
    gives("{% set n = 0 %}{% for x in list %}{% set n = n + 1 %}{% endfor %}{{ n }}", "0");
    gives("{% set ns = namespace(n=0) %}{% for x in list %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "3");
}

Test(jinja, white_space_goes_as_the_tags_say)
{
    gives("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
    gives("a \n{%- if true -%}\n b \n{%- endif -%}\n c", "abc");
    gives("a\n  {%+ if true +%}\nb{% endif %}", "a\n  \nb");
    gives("{# note #}\nx{{ 'y' }}\nz", "xy\nz");
    gives("{% raw %}{{ name }}{% endraw %}", "{{ name }}");
}

Test(jinja, strings_are_counted_in_characters)
{
    gives("{{ 'h\xC3\xA9' | length }}{{ 'h\xC3\xA9llo'[1] }}{{ 'h\xC3\xA9llo'[-3:] }}{{ 'abc'[::-1] }}",
          "2\xC3\xA9llocba");
    gives("{{ list[1:] | join('-') }}{{ list[-1] }}{{ list[::2] }}", "b-cc['a', 'c']");
}

Test(jinja, numbers_and_comparisons_are_pythons)
{
    gives("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 1 < 2 <= 2 }} {{ not 1 == 2 }}",
          "3 -4 2 3.5 8 True True");
    gives("{{ 'x' in list }} {{ 'a' in list }} {{ 'n' not in name }} {{ name ~ 1 }} {{ 1 if nothing else 2 }}",
          "False True False Ann1 2");
    gives("{{ missing is defined }}{{ missing | default('d') }}{{ nothing is none }}{{ missing }}", "FalsedTrue");
}

Test(jinja, json_is_pythons_without_escaping_letters)
{
    gives("{{ {'a': [1, none, true, 'h\xC3\xA9\"\\n']} | tojson }}", "{\"a\": [1, null, true, \"h\xC3\xA9\\\"\\n\"]}");
}

Test(jinja, macros_are_called)
{
    gives("{% macro m(a, b='y') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('x') }}{{ m(b='1', a='2') }}", "<xy><21>");
}

Test(jinja, exceptions_of_the_template_are_its_words)
{
    refused("{{ raise_exception('roles must alternate') }}", WR_EFORMAT, "roles must alternate");
}

Test(jinja, what_is_not_supported_is_named)
{
    refused("{% include 'x' %}", WR_EUNSUPPORTED,
            "statement \"include\" is not supported; give a simpler template by --chat-template");
    refused("{{ name | wordwrap }}", WR_EUNSUPPORTED, "filter \"wordwrap\"");
    refused("{{ name is filter }}", WR_EUNSUPPORTED, "test \"filter\"");
    refused("{{ name.encode() }}", WR_EUNSUPPORTED, "method \".encode()\"");
    refused("{{ cycler(1) }}", WR_EUNSUPPORTED, "function \"cycler()\"");
    refused("{{ strftime_now('%d') }}", WR_EUNSUPPORTED, "strftime_now");
    gives("{{ strftime_now('%d') if strftime_now is defined else '26 Jul 2024' }}", "26 Jul 2024");
}

Test(jinja, what_is_no_template_is_refused_with_its_line)
{
    refused("a\n{% if %}", WR_EFORMAT, "line 2");
    refused("{% for x in list %}", WR_EFORMAT, "endfor");
    refused("{{ 'open }}", WR_EFORMAT, "quote");
    refused("{{ (1 }}", WR_EFORMAT, "expected");
    refused("{# never", WR_EFORMAT, "comment");
    refused("{{ 1 + 'a' }}", WR_EFORMAT, "'+'");
}

Test(jinja, hostile_templates_end)
{
    refused("{% for a in range(50000) %}{{ 1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1 }}{% endfor %}",
            WR_EFULL, "steps");
    refused("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", WR_EFULL, "bytes");
    refused("{{ 'x' * 1000000000 }}", WR_EFULL, "bytes");
    refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", WR_EFULL, "deep");
    refused("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            WR_EFULL, "bytes");
    char *deep = malloc(40001);
    memset(deep, '(', 40000);
    memcpy(deep, "{{", 2);
    deep[40000] = 0;
    refused(deep, WR_EUNSUPPORTED, "nested");
    free(deep);
}
