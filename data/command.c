#include "data/command.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wr_status usage(const struct wr_command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static wr_status usage(const struct wr_command *command, const char *fmt, ...)
{
    wr_err err;
    char text[sizeof err.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    wr_fail(&err, WR_EARG, "%s (see weir %s --help)", text, command->name);
    wr_command_fail(command, WR_EARG, &err);
    return WR_EARG;
}

static bool takes_value(const struct wr_option *option)
{
    return option->kind != WR_OPT_FLAG && option->kind != WR_OPT_NOFLAG;
}

static bool parse_size(const char *text, size_t *value)
{
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end || v > SIZE_MAX) return false;
    *value = (size_t)v;
    return true;
}

static bool parse_double(const char *text, double *value)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || !isfinite(v)) return false;
    *value = v;
    return true;
}

/* label is what the user wrote: "--k" or "WEIR_K". */
static wr_status set_value(const struct wr_command *command, const struct wr_option *option, const char *label,
                           const char *text)
{
    struct wr_option_list *list = option->value;
    switch (option->kind) {
    case WR_OPT_TEXT:
        *(const char **)option->value = text;
        return WR_OK;
    case WR_OPT_SIZE:
        if (parse_size(text, option->value)) return WR_OK;
        return usage(command, "%s %s: a whole number without a sign was expected", label, text);
    case WR_OPT_DOUBLE:
        if (parse_double(text, option->value)) return WR_OK;
        return usage(command, "%s %s: a finite number was expected", label, text);
    case WR_OPT_LIST:
        if (list->n == WR_OPTION_LIST_MAX)
            return usage(command, "%s: given more than %d times", label, WR_OPTION_LIST_MAX);
        list->item[list->n++] = text;
        return WR_OK;
    default:
        *(bool *)option->value = option->kind == WR_OPT_FLAG;
        return WR_OK;
    }
}

static void print_help(const struct wr_command *command, const struct wr_option *options)
{
    enum { COLUMN = 30 }; /* fits the longest "--name ARG" we have */
    printf("%s\n\n%s\n", command->usage, command->summary);
    if (options->name) printf("\nOptions:\n");
    for (const struct wr_option *o = options; o->name; o++) {
        int n = o->name[1] ? printf("  --%s", o->name) : printf("  -%s, --%s", o->name, o->name);
        if (o->arg) n += printf(" %s", o->arg);
        if (n >= COLUMN) n = printf("\n") - 1;
        printf("%*s%s\n", COLUMN - n, "", o->help);
    }
}

static const struct wr_option *find(const struct wr_option *options, const char *name, size_t n)
{
    for (const struct wr_option *o = options; o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

/* WEIR_NAME. An upper-case letter has none: "-M" would share it with "-m". */
static bool environment_name(const struct wr_option *option, char *out, size_t cap)
{
    if (!option->name[1] && isupper((unsigned char)option->name[0])) return false;
    int n = snprintf(out, cap, "WEIR_%s", option->name);
    if (n < 0 || (size_t)n >= cap) return false;
    for (char *p = out; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return true;
}

static wr_status read_environment(const struct wr_command *command, const struct wr_option *options, const bool *seen)
{
    char name[64];
    for (size_t i = 0; options[i].name; i++) {
        if (seen[i] || !takes_value(&options[i]) || !environment_name(&options[i], name, sizeof name)) continue;
        const char *text = getenv(name);
        wr_status st = text && *text ? set_value(command, &options[i], name, text) : WR_OK;
        if (st) return st;
    }
    return WR_OK;
}

struct reader {
    const struct wr_command *command;
    const struct wr_option *options;
    bool *seen; /* one for each option */
    int argc, i;
    char **argv;
};

/* What follows the option in the next argument. A long option there means that the value was forgotten. */
static wr_status next_value(struct reader *r, const char *label, const char **text)
{
    const char *next = r->i + 1 < r->argc ? r->argv[r->i + 1] : NULL;
    if (!next || (next[0] == '-' && next[1] == '-' && next[2]))
        return usage(r->command, "%s: a value is missing", label);
    r->i++;
    *text = next;
    return WR_OK;
}

static wr_status read_long(struct reader *r)
{
    const char *arg = r->argv[r->i], *name = arg + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const struct wr_option *o = find(r->options, name, n);
    char label[128];
    if (!o) {
        if (n == 4 && !memcmp(name, "help", n)) return print_help(r->command, r->options), WR_STOPPED;
        return usage(r->command, "--%.*s: no such option", (int)n, name);
    }
    snprintf(label, sizeof label, "--%s", o->name);
    r->seen[o - r->options] = true;
    if (!takes_value(o)) {
        if (equals) return usage(r->command, "%s: takes no value", label);
        return set_value(r->command, o, label, NULL);
    }
    const char *text = equals ? equals + 1 : NULL;
    wr_status st = text ? WR_OK : next_value(r, label, &text);
    return st ? st : set_value(r->command, o, label, text);
}

/* "-x", "-xVALUE", "-x VALUE", "-xy" for two flags. */
static wr_status read_short(struct reader *r)
{
    for (const char *p = r->argv[r->i] + 1; *p; p++) {
        const struct wr_option *o = find(r->options, p, 1);
        char label[3] = {'-', *p, 0};
        if (!o && *p == 'h') return print_help(r->command, r->options), WR_STOPPED;
        if (!o) return usage(r->command, "%s: no such option", label);
        r->seen[o - r->options] = true;
        if (takes_value(o)) {
            const char *text = p[1] ? p + 1 : NULL;
            wr_status st = text ? WR_OK : next_value(r, label, &text);
            return st ? st : set_value(r->command, o, label, text);
        }
        set_value(r->command, o, label, NULL);
    }
    return WR_OK;
}

wr_status wr_options_parse(const struct wr_command *command, const struct wr_option *options, int argc, char **argv,
                           const char **operand, size_t max, size_t *noperands)
{
    enum { MAX_OPTIONS = 128 };
    bool seen[MAX_OPTIONS] = {false}, ended = false;
    struct reader r = {command, options, seen, argc, 1, argv};
    size_t n = 0;
    for (size_t i = 0; options[i].name; i++)
        if (i == MAX_OPTIONS - 1) return usage(command, "more than %d options in its table", MAX_OPTIONS - 1);
    for (wr_status st; r.i < argc; r.i++) {
        const char *arg = argv[r.i];
        if (!ended && arg[0] == '-' && arg[1]) {
            ended = !strcmp(arg, "--");
            if (!ended && (st = arg[1] == '-' ? read_long(&r) : read_short(&r))) return st;
            continue;
        }
        if (n == max) return usage(command, "\"%s\": nothing more was expected here", arg);
        operand[n++] = arg;
    }
    if (noperands) *noperands = n;
    return read_environment(command, options, seen);
}

int wr_command_fail(const struct wr_command *command, wr_status code, const wr_err *err)
{
    const char *text = err && err->text[0] ? err->text : wr_status_name(code);
    fprintf(stderr, "weir %s: %s\n", command->name, text);
    return wr_exit_status(code);
}
