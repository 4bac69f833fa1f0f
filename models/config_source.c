#include "models/config_source.h"

#include <stdint.h>

json_t *wr_source_member(const wr_source *s, const char *name, const char *other)
{
    json_t *value = json_object_get(s->root, name);
    if ((!value || json_is_null(value)) && other) value = json_object_get(s->root, other);
    return json_is_null(value) ? NULL : value;
}

wr_status wr_source_size(const wr_source *s, const char *name, const char *other, size_t min, size_t max,
                         size_t otherwise, size_t *out)
{
    const json_t *value = wr_source_member(s, name, other);
    *out = otherwise;
    if (!value && otherwise) return WR_OK;
    if (!value) return wr_fail(s->err, WR_EFORMAT, "%s: no %s", s->path, name);
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        return wr_fail(s->err, WR_EFORMAT, "%s: %s: expected an integer from %zu to %zu", s->path, name, min, max);
    *out = (size_t)n;
    return WR_OK;
}

const char *wr_source_text(const wr_source *s, const char *name, const char *other)
{
    const char *text = json_string_value(wr_source_member(s, name, other));
    return text ? text : "";
}
