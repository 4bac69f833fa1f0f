/* match EXPECTED ACTUAL: compares two files of JSON; exit status 0 when they match, else 1 and a sentence where.
 *
 * What stands in EXPECTED has to be in ACTUAL and nothing else, but
 *     "<any>" "<string>" "<number>" "<integer>" "<boolean>" "<object>" "<array>"   any value, or any of that type
 *     "<has WORDS>"      a string that contains WORDS
 *     "...": "..."       in an object: other members may be there
 *     "..."              at the end of an array: more items may follow
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int differs(const char *path, const char *what, json_t *got)
{
    char *text = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    printf("%s: %s, got %.300s\n", *path ? path : "the reply", what, text ? text : "nothing");
    return 1;
}

static int is_type(const char *name, json_t *got)
{
    return !strcmp(name, "<any>") || (!strcmp(name, "<string>") && json_is_string(got)) ||
           (!strcmp(name, "<number>") && json_is_number(got)) || (!strcmp(name, "<integer>") && json_is_integer(got)) ||
           (!strcmp(name, "<boolean>") && json_is_boolean(got)) || (!strcmp(name, "<object>") && json_is_object(got)) ||
           (!strcmp(name, "<array>") && json_is_array(got));
}

static int match_text(const char *want, json_t *got, const char *path)
{
    size_t n = strlen(want);
    char words[256];
    if (n > 6 && n < sizeof words && !strncmp(want, "<has ", 5) && want[n - 1] == '>') {
        snprintf(words, sizeof words, "%.*s", (int)(n - 6), want + 5);
        if (json_is_string(got) && strstr(json_string_value(got), words)) return 0;
        return differs(path, want, got);
    }
    if (want[0] == '<' && n > 1 && want[n - 1] == '>') return is_type(want, got) ? 0 : differs(path, want, got);
    return json_is_string(got) && !strcmp(want, json_string_value(got)) ? 0 : differs(path, want, got);
}

static int match(json_t *want, json_t *got, const char *path);

static int match_object(json_t *want, json_t *got, const char *path)
{
    const char *name;
    json_t *value;
    char inner[512];
    int open = json_object_get(want, "...") != NULL;
    if (!json_is_object(got)) return differs(path, "expected an object", got);
    json_object_foreach(want, name, value) {
        if (!strcmp(name, "...")) continue;
        snprintf(inner, sizeof inner, "%s.%s", path, name);
        json_t *member = json_object_get(got, name);
        if (!member) return differs(inner, "is missing", got);
        if (match(value, member, inner)) return 1;
    }
    json_object_foreach(got, name, value) {
        snprintf(inner, sizeof inner, "%s.%s", path, name);
        if (!open && !json_object_get(want, name)) return differs(inner, "was not expected", value);
    }
    return 0;
}

static int match_array(json_t *want, json_t *got, const char *path)
{
    size_t n = json_array_size(want), open = 0;
    char inner[512];
    json_t *last = n ? json_array_get(want, n - 1) : NULL;
    if (last && json_is_string(last) && !strcmp(json_string_value(last), "...")) open = 1, n--;
    if (!json_is_array(got)) return differs(path, "expected an array", got);
    if (json_array_size(got) < n || (!open && json_array_size(got) > n)) {
        snprintf(inner, sizeof inner, "%zu items where %zu%s were expected", json_array_size(got), n, open ? " or more" : "");
        return differs(path, inner, got);
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(inner, sizeof inner, "%s[%zu]", path, i);
        if (match(json_array_get(want, i), json_array_get(got, i), inner)) return 1;
    }
    return 0;
}

static int match(json_t *want, json_t *got, const char *path)
{
    char sentence[256];
    if (json_is_string(want)) return match_text(json_string_value(want), got, path);
    if (json_is_object(want)) return match_object(want, got, path);
    if (json_is_array(want)) return match_array(want, got, path);
    if (json_is_number(want) && json_is_number(got) && json_number_value(want) == json_number_value(got)) return 0;
    if (!json_is_number(want) && json_typeof(want) == json_typeof(got)) return 0;
    char *text = json_dumps(want, JSON_ENCODE_ANY);
    snprintf(sentence, sizeof sentence, "expected %s", text);
    return differs(path, sentence, got);
}

int main(int argc, char **argv)
{
    json_error_t why;
    if (argc != 3) return fprintf(stderr, "match EXPECTED ACTUAL\n"), 2;
    json_t *want = json_load_file(argv[1], JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!want) return printf("%s:%d: %s\n", argv[1], why.line, why.text), 2;
    json_t *got = json_load_file(argv[2], JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!got) return printf("the reply is no JSON: %s\n", why.text), 1;
    return match(want, got, "");
}
