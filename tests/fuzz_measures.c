/* The bytes are a value of -m, a NUL, and a value of --measures. A list that parses scores any ranking. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/measures.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void score(const wr_measures *measures)
{
    static wr_qrel qrel[] = {{"a", 3}, {"b", 0}, {"c", -1}, {"d", 1}, {"e", 1000000000000}};
    static const wr_qrels_topic topic = {"t", qrel, 5};
    wr_judged judged = {0};
    double *value = calloc(measures->nvalues, sizeof *value);
    if (!value || wr_judged_reset(&judged, &topic, 6)) abort();
    for (const char *d = "xdacbe"; *d; d++) wr_judged_add(&judged, (char[]){*d, 0});
    wr_measures_score(measures, &judged, 1, value);
    wr_measures_average(measures, value, 1);
    for (size_t v = 0; v < measures->nvalues; v++)
        if (!measures->name[v]) abort();
    wr_measures_depth(measures);
    wr_judged_release(&judged);
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *text = malloc(n + 2);
    wr_measures measures;
    wr_err err = {0};
    if (!text) return 0;
    memcpy(text, bytes, n);
    text[n] = text[n + 1] = 0;
    const char *trec[] = {text}, *ir = strlen(text) < n ? text + strlen(text) + 1 : NULL;
    wr_status st = wr_measures_parse(&measures, trec, text[0] ? 1 : 0, ir, &err);
    if (st && (!err.text[0] || measures.use)) abort();
    if (!st) score(&measures);
    wr_measures_release(&measures);
    free(text);
    return 0;
}
