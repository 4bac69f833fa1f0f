/* From "ndcg_cut.10,20" and "R(rel=2)@100" to the list. */
#include "tools/measures.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARAMS 256 /* of one measure; trec_eval's longest default has 11                        */
#define MAX_CUT 1e15   /* a rank beyond this is no rank, and every whole number below it is a double */

static const struct {
    const char *name;
    unsigned sets;
} nicknames[] = {{"official", WR_SET_OFFICIAL}, {"set", WR_SET_SET}, {"all_trec", WR_SET_ALL}};

/* Measures that trec_eval has and weir has not: they need preferences, or several judges for one topic. */
static const char *const foreign[] = {"prefs", "all_prefs", "qrels_jg", "map_avgjg", "P_avgjg", "Rprec_mult_avgjg"};

/* ir_measures' names: the row that is meant without and with "@k". */
static const struct ir_name {
    const char *name, *all, *at;
    bool cuts; /* "@k" looks at the first k documents only, instead of being the row's parameter */
    bool rel;  /* takes rel=N */
} ir_names[] = {
    {"nDCG", "ndcg", "ndcg_cut", false, false},
    {"AP", "map", "map_cut", false, true},
    {"MAP", "map", "map_cut", false, true},
    {"RR", "recip_rank", "recip_rank", true, true},
    {"MRR", "recip_rank", "recip_rank", true, true},
    {"P", NULL, "P", false, true},
    {"R", NULL, "recall", false, true},
    {"Recall", NULL, "recall", false, true},
    {"Rprec", "Rprec", NULL, false, true},
    {"Bpref", "bpref", NULL, false, true},
    {"Success", NULL, "success", false, true},
    {"Judged", "Judged", "Judged", true, false},
    {"IPrec", NULL, "iprec_at_recall", false, true},
    {"infAP", "infAP", NULL, false, true},
    {"SetP", "set_P", NULL, false, true},
    {"SetR", "set_recall", NULL, false, true},
    {"SetF", "set_F", NULL, false, true},
    {"SetAP", "set_map", NULL, false, true},
    {"NumQ", "num_q", NULL, false, false},
    {"NumRet", "num_ret", NULL, false, false},
    {"NumRel", "num_rel", NULL, false, true},
    {"NumRelRet", "num_rel_ret", NULL, false, true},
};

#define COUNT(array) (sizeof array / sizeof array[0])

static const wr_measure *find_row(const char *name, size_t n)
{
    for (const wr_measure *m = wr_measure_table; m->name; m++)
        if (strlen(m->name) == n && memcmp(m->name, name, n) == 0) return m;
    return NULL;
}

static wr_status no_memory(wr_err *err)
{
    return wr_fail(err, WR_ENOMEM, "out of memory for the list of measures");
}

static wr_status new_use(wr_measures *list, const wr_measure *measure, wr_measure_use **use, wr_err *err)
{
    wr_measure_use *grown = reallocarray(list->use, list->n + 1, sizeof *grown);
    if (!grown) return no_memory(err);
    list->use = grown;
    *use = &grown[list->n++];
    **use = (wr_measure_use){.measure = measure, .p = WR_PERSISTENCE, .first = list->nvalues};
    return WR_OK;
}

static wr_status set_params(wr_measure_use *use, const double *param, size_t n, wr_err *err)
{
    use->param = malloc((n ? n : 1) * sizeof *param);
    if (!use->param) return no_memory(err);
    if (n) memcpy(use->param, param, n * sizeof *param);
    use->nparams = n;
    return WR_OK;
}

/* Takes name over. */
static wr_status add_name(wr_measures *list, wr_measure_use *use, char *name, wr_err *err)
{
    char **grown = name ? reallocarray(list->name, list->nvalues + 1, sizeof *grown) : NULL;
    if (!grown) {
        free(name);
        return no_memory(err);
    }
    list->name = grown;
    list->name[list->nvalues++] = name;
    use->nvalues++;
    return WR_OK;
}

/* The names of a use's values, as trec_eval prints them. suffix is what the user wrote, or NULL. */
static wr_status add_names(wr_measures *list, wr_measure_use *use, const char *suffix, wr_err *err)
{
    const char *name = use->measure->name;
    bool cuts = use->measure->params == WR_PARAM_CUTS, levels = use->measure->params == WR_PARAM_LEVELS;
    wr_status st = WR_OK;
    for (size_t i = 0; i < (cuts || levels ? use->nparams : 1) && !st; i++) {
        char *text = NULL;
        int n = cuts     ? asprintf(&text, "%s_%.0f", name, use->param[i])
                : levels ? asprintf(&text, "%s_%3.2f", name, use->param[i])
                : suffix ? asprintf(&text, "%s_%s", name, suffix)
                         : asprintf(&text, "%s", name);
        st = add_name(list, use, n < 0 ? NULL : text, err);
    }
    return st;
}

/* ---- trec_eval's parameters */

static wr_status bad_params(const wr_measure *measure, const char *text, const char *expected, wr_err *err)
{
    return wr_fail(err, WR_EARG, "-m %s.%s: expected %s", measure->name, text, expected);
}

/* One number of a list; *text moves behind it and its comma. Text that is no number, and anything that is not finite,
 * is refused. */
static bool read_number(const char **text, double *number)
{
    char *end;
    if (isspace((unsigned char)**text)) return false;
    *number = strtod(*text, &end);
    if (end == *text || !isfinite(*number) || (*end && *end != ',')) return false;
    *text = *end ? end + 1 : end;
    return !*end || **text; /* no comma at the end */
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static wr_status read_values(wr_measure_use *use, const char *text, wr_err *err)
{
    const wr_measure *measure = use->measure;
    bool cuts = measure->params == WR_PARAM_CUTS, sorted = cuts || measure->params == WR_PARAM_LEVELS;
    double param[MAX_PARAMS];
    size_t n = 0;
    for (const char *at = text; *at || !n;) {
        if (n == MAX_PARAMS || !read_number(&at, &param[n]))
            return bad_params(measure, text, "numbers with commas between them", err);
        if (cuts) param[n] = trunc(param[n]); /* trec_eval reads 23.4 as 23 */
        if (cuts && (param[n] < 1 || param[n] > MAX_CUT)) return bad_params(measure, text, "ranks from 1", err);
        n++;
    }
    if (measure->exact && n != measure->exact)
        return bad_params(measure, text, measure->exact == 1 ? "one number" : "four numbers", err);
    if (sorted) qsort(param, n, sizeof *param, ascending);
    for (size_t i = 1; sorted && i < n; i++)
        if (param[i] == param[i - 1]) return bad_params(measure, text, "each number once", err);
    return set_params(use, param, n, err);
}

/* "1=3,2=9", and for rbp also "p=0.8". */
static wr_status read_pairs(wr_measure_use *use, const char *text, wr_err *err)
{
    wr_gain pair[WR_MAX_GAIN_PAIRS];
    size_t n = 0;
    for (const char *at = text; *at || at == text;) {
        char *end;
        const char *equals = strchr(at, '=');
        bool persistence = at[0] == 'p' && equals == at + 1 && use->measure->compute == wr_measure_rbp;
        double number;
        errno = 0;
        long rel = strtol(at, &end, 10);
        if (!equals || (!persistence && (end != equals || end == at || errno || isspace((unsigned char)*at))))
            return bad_params(use->measure, text, "pairs grade=gain with commas between them", err);
        at = equals + 1;
        if (!read_number(&at, &number)) return bad_params(use->measure, text, "a number behind each '='", err);
        if (persistence) {
            if (number < 0 || number > 1) return bad_params(use->measure, text, "p between 0 and 1", err);
            use->p = number;
            continue;
        }
        for (size_t i = 0; i < n; i++)
            if (pair[i].rel == rel) return bad_params(use->measure, text, "each grade once", err);
        if (n == WR_MAX_GAIN_PAIRS) return bad_params(use->measure, text, "at most 64 gains", err);
        pair[n++] = (wr_gain){rel, 0, number};
    }
    use->pair = malloc((n ? n : 1) * sizeof *pair);
    if (!use->pair) return no_memory(err);
    if (n) memcpy(use->pair, pair, n * sizeof *pair);
    use->npairs = n;
    return WR_OK;
}

static wr_status add_trec(wr_measures *list, const wr_measure *measure, const char *params, wr_err *err)
{
    wr_measure_use *use;
    wr_status st = new_use(list, measure, &use, err);
    if (st) return st;
    if (!params)
        st = set_params(use, measure->defaults, measure->ndefaults, err);
    else if (measure->params == WR_PARAM_PAIRS)
        st = read_pairs(use, params, err);
    else
        st = read_values(use, params, err);
    return st ? st : add_names(list, use, params, err);
}

static unsigned nickname(const char *name, size_t n)
{
    for (size_t i = 0; i < COUNT(nicknames); i++)
        if (strlen(nicknames[i].name) == n && memcmp(nicknames[i].name, name, n) == 0) return nicknames[i].sets;
    return 0;
}

static wr_status check_trec(const char *item, wr_err *err)
{
    size_t n = strcspn(item, ".");
    const wr_measure *row = find_row(item, n);
    unsigned sets = nickname(item, n);
    bool preferences = n >= 6 && !memcmp(item, "prefs_", 6);
    for (size_t i = 0; i < COUNT(foreign); i++) preferences |= strlen(foreign[i]) == n && !memcmp(foreign[i], item, n);
    if (preferences)
        return wr_fail(err, WR_EARG, "-m %s: needs preferences or several judges, weir reads judgments of one", item);
    if (!row && !sets) return wr_fail(err, WR_EARG, "-m %s: no such measure", item);
    if (item[n] && (sets || row->params == WR_PARAM_NONE))
        return wr_fail(err, WR_EARG, "-m %s: %.*s takes no parameters", item, (int)n, item);
    return WR_OK;
}

/* Whether some -m asks for the row; *params is what the first -m that has any gives it. */
static bool asked(const wr_measure *row, const char *const *trec, size_t ntrec, const char **params)
{
    bool found = false;
    *params = NULL;
    for (size_t i = 0; i < ntrec; i++) {
        size_t n = strcspn(trec[i], ".");
        bool named = strlen(row->name) == n && !memcmp(row->name, trec[i], n);
        found |= named || (row->sets & nickname(trec[i], n));
        if (named && trec[i][n] && !*params) *params = trec[i] + n + 1;
    }
    return found;
}

static wr_status parse_trec(wr_measures *list, const char *const *trec, size_t ntrec, wr_err *err)
{
    const char *params;
    wr_status st = WR_OK;
    for (size_t i = 0; i < ntrec && !st; i++) st = check_trec(trec[i], err);
    for (const wr_measure *row = wr_measure_table; row->name && !st; row++)
        if (asked(row, trec, ntrec, &params)) st = add_trec(list, row, params, err);
    return st;
}

/* ---- ir_measures' names */

struct ir_text {
    const char *text; /* [n] the whole name, for messages and as the value's name */
    size_t n;
    const char *args; /* [nargs] between the parentheses */
    size_t nargs;
    const char *at; /* [nat] behind '@', or NULL */
    size_t nat;
};

static wr_status bad_ir(const struct ir_text *t, const char *expected, wr_err *err)
{
    return wr_fail(err, WR_EARG, "--measures %.*s: expected %s", (int)t->n, t->text, expected);
}

/* A number that fills its text. */
static bool number_in(const char *text, size_t n, double *number)
{
    char copy[64], *end;
    if (n == 0 || n >= sizeof copy || isspace((unsigned char)*text)) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    *number = strtod(copy, &end);
    return *end == 0 && isfinite(*number);
}

/* "rel=2", "beta=0.5" */
static wr_status read_args(const struct ir_text *t, const struct ir_name *ir, wr_measure_use *use, wr_err *err)
{
    for (const char *at = t->args, *end = t->args + t->nargs; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        double number;
        if (ir->rel && stop - at > 4 && !memcmp(at, "rel=", 4)) {
            if (!number_in(at + 4, (size_t)(stop - at) - 4, &number) || number < 1 || number > 1e9 ||
                number != trunc(number))
                return bad_ir(t, "rel to be a grade from 1", err);
            use->min_rel = (long)number;
        } else if (!strcmp(ir->name, "SetF") && stop - at > 5 && !memcmp(at, "beta=", 5)) {
            if (!number_in(at + 5, (size_t)(stop - at) - 5, &number)) return bad_ir(t, "beta to be a number", err);
            use->param[0] = number;
        } else {
            return bad_ir(t, ir->rel ? "rel=GRADE between the parentheses" : "nothing between the parentheses", err);
        }
        at = comma ? comma + 1 : end;
    }
    return WR_OK;
}

static wr_status read_at(const struct ir_text *t, const struct ir_name *ir, wr_measure_use *use, wr_err *err)
{
    double number;
    bool fraction = use->measure->params == WR_PARAM_LEVELS;
    if (!number_in(t->at, t->nat, &number)) return bad_ir(t, "a number behind '@'", err);
    if (fraction && (number < 0 || number > 1)) return bad_ir(t, "a recall between 0 and 1 behind '@'", err);
    if (!fraction && (number < 1 || number > MAX_CUT || number != trunc(number)))
        return bad_ir(t, "a rank from 1 behind '@'", err);
    if (ir->cuts)
        use->cut = (size_t)number;
    else
        return set_params(use, &number, 1, err);
    return WR_OK;
}

static wr_status add_ir(wr_measures *list, const struct ir_text *t, size_t name, wr_err *err)
{
    const struct ir_name *ir = NULL;
    for (size_t i = 0; i < COUNT(ir_names); i++)
        if (strlen(ir_names[i].name) == name && !memcmp(ir_names[i].name, t->text, name)) ir = &ir_names[i];
    if (!ir) return wr_fail(err, WR_EARG, "--measures %.*s: no such measure", (int)t->n, t->text);
    const char *row = t->at ? ir->at : ir->all;
    if (!row) return bad_ir(t, t->at ? "no '@'" : "a number behind '@'", err);
    wr_measure_use *use;
    const wr_measure *measure = find_row(row, strlen(row));
    wr_status st = new_use(list, measure, &use, err);
    if (!st && t->at) st = read_at(t, ir, use, err);
    if (!st && !use->param) st = set_params(use, measure->defaults, measure->ndefaults, err);
    if (!st) st = read_args(t, ir, use, err);
    return st ? st : add_name(list, use, strndup(t->text, t->n), err);
}

static wr_status parse_ir(wr_measures *list, const char *text, wr_err *err)
{
    const char *spaces = " \t\r\n";
    wr_status st = WR_OK;
    for (text += strspn(text, spaces); *text && !st; text += strspn(text, spaces)) {
        struct ir_text t = {.text = text, .n = strcspn(text, spaces), .args = text};
        size_t name = 0;
        while (name < t.n && (isalnum((unsigned char)text[name]) || text[name] == '_')) name++;
        size_t at = name;
        if (at < t.n && text[at] == '(') {
            const char *close = memchr(text + at, ')', t.n - at);
            if (!close) return bad_ir(&t, "a ')' (and no space inside the parentheses)", err);
            t.args = text + at + 1;
            t.nargs = (size_t)(close - t.args);
            at = (size_t)(close - text) + 1;
        }
        if (at < t.n && text[at] == '@') {
            t.at = text + at + 1;
            t.nat = t.n - at - 1;
        } else if (at < t.n) {
            return bad_ir(&t, "NAME, NAME@K or NAME(rel=N)@K", err);
        }
        st = add_ir(list, &t, name, err);
        text += t.n;
    }
    return st;
}

wr_status wr_measures_parse(wr_measures *measures, const char *const *trec, size_t ntrec, const char *ir, wr_err *err)
{
    *measures = (wr_measures){0};
    wr_status st = parse_trec(measures, trec, ntrec, err);
    if (!st && ir) st = parse_ir(measures, ir, err);
    if (!st && measures->n == 0) st = wr_fail(err, WR_EARG, "--measures: names no measure");
    if (st) wr_measures_release(measures);
    return st;
}

void wr_measures_release(wr_measures *measures)
{
    for (size_t i = 0; i < measures->n; i++) {
        free(measures->use[i].param);
        free(measures->use[i].pair);
    }
    for (size_t v = 0; v < measures->nvalues; v++) free(measures->name[v]);
    free(measures->use);
    free(measures->name);
    *measures = (wr_measures){0};
}
