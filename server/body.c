#include "server/body.h"

#include <stdlib.h>
#include <string.h>

#include "data/json.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction";
    case JSON_NULL: return "null";
    default: return "a boolean";
    }
}

static bool wrong(const char *field, const json_t *value, const char *expected, wr_problem *problem)
{
    return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field, "%s: %s, expected %s", field, type_name(value),
                          expected);
}

static bool read_field(const wr_field *field, json_t *value, wr_problem *problem)
{
    switch (field->kind) {
    case WR_FIELD_TEXT:
        if (!json_is_string(value)) return wrong(field->name, value, "a string", problem);
        *(wr_text *)field->value = (wr_text){json_string_value(value), json_string_length(value)};
        return true;
    case WR_FIELD_SIZE:
        if (!json_is_integer(value)) return wrong(field->name, value, "an integer", problem);
        if (json_integer_value(value) < 0)
            return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field->name, "%s: %lld, expected 0 or more",
                                  field->name, (long long)json_integer_value(value));
        *(size_t *)field->value = (size_t)json_integer_value(value);
        return true;
    case WR_FIELD_DOUBLE:
        if (!json_is_number(value)) return wrong(field->name, value, "a number", problem);
        *(double *)field->value = json_number_value(value);
        return true;
    case WR_FIELD_BOOL:
        if (!json_is_boolean(value)) return wrong(field->name, value, "a boolean", problem);
        *(bool *)field->value = json_is_true(value);
        return true;
    case WR_FIELD_OBJECT:
        if (!json_is_object(value)) return wrong(field->name, value, "an object", problem);
        break;
    default:
        break;
    }
    *(json_t **)field->value = value;
    return true;
}

static const wr_field *find(const wr_field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (!strcmp(fields->name, name)) return fields;
    return NULL;
}

/* "a, b, c" of all that may be named. */
static void list_names(const wr_field *fields, char *out, size_t cap)
{
    *out = 0;
    for (size_t n = 0; fields->name && n + strlen(fields->name) + 3 < cap; fields++) {
        if (n) n = (size_t)(stpcpy(out + n, ", ") - out);
        n = (size_t)(stpcpy(out + n, fields->name) - out);
    }
}

static bool unknown(const wr_field *fields, const char *name, wr_problem *problem)
{
    char names[300], shown[sizeof problem->field]; /* all names of the largest table fit */
    list_names(fields, names, sizeof names);
    strncpy(shown, name, sizeof shown - 1);
    shown[sizeof shown - 1] = 0;
    return wr_problem_set(problem, WR_PROBLEM_UNKNOWN_FIELD, shown, "%s: no such field, expected %s", shown, names);
}

static bool read_fields(json_t *root, const wr_field *fields, wr_problem *problem)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        const wr_field *field = find(fields, name);
        if (!field) return unknown(fields, name, problem);
        if (json_is_null(value) && (field->flags & WR_FIELD_NULLABLE)) continue;
        if (!read_field(field, value, problem)) return false;
    }
    for (const wr_field *field = fields; field->name; field++)
        if ((field->flags & WR_FIELD_REQUIRED) && !json_object_get(root, field->name))
            return wr_problem_set(problem, WR_PROBLEM_MISSING_FIELD, field->name, "%s: is missing", field->name);
    return true;
}

bool wr_body_read(json_t **root, const char *body, size_t n, const wr_field *fields, wr_problem *problem)
{
    wr_err err;
    wr_status st = wr_json_parse(root, body, n, "body", &err);
    if (st == WR_ENOMEM) return wr_problem_set(problem, WR_PROBLEM_INTERNAL, NULL, "%s", err.text);
    if (st) return wr_problem_set(problem, WR_PROBLEM_MALFORMED_JSON, NULL, "%s", err.text);
    bool ok = json_is_object(*root);
    if (!ok)
        wr_problem_set(problem, WR_PROBLEM_MALFORMED_JSON, NULL, "body: %s, expected a JSON object", type_name(*root));
    else
        ok = read_fields(*root, fields, problem);
    if (ok) return true;
    json_decref(*root);
    *root = NULL;
    return false;
}

static bool one_text(const json_t *value, const char *field, size_t i, bool objects, wr_text *text, wr_problem *problem)
{
    const json_t *string = objects && json_is_object(value) ? json_object_get(value, "text") : value;
    if (!json_is_string(string))
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field, "%s: item %zu is %s, expected a string%s", field,
                              i, string == value ? type_name(value) : "an object without a text",
                              objects ? " or {\"text\": string}" : "");
    *text = (wr_text){json_string_value(string), json_string_length(string)};
    return true;
}

bool wr_body_texts(const json_t *value, const char *field, size_t max, bool objects, wr_text **text, size_t *n,
                   wr_problem *problem)
{
    bool array = json_is_array(value), ok = true;
    *text = NULL;
    *n = array ? json_array_size(value) : 1;
    if (*n < 1 || *n > max)
        return wr_problem_set(problem, WR_PROBLEM_INVALID_FIELD, field, "%s: %zu texts, expected 1 to %zu", field, *n, max);
    if (!array && !json_is_string(value)) return wrong(field, value, "a string or an array of strings", problem);
    wr_text *all = calloc(*n, sizeof *all);
    if (!all) return wr_problem_set(problem, WR_PROBLEM_INTERNAL, NULL, "%s: out of memory", field);
    for (size_t i = 0; i < *n && ok; i++)
        ok = one_text(array ? json_array_get(value, i) : value, field, i, objects, &all[i], problem);
    if (ok) return *text = all, true;
    free(all);
    return false;
}
