/* Measures of retrieval effectiveness: a table with one row per measure, and the list that a command line asks for.
 *
 * Values, names and formats are trec_eval's (version 9.0.8), to the digit. A measure is named in two languages:
 *
 *     trec_eval    map, ndcg_cut.10,20, utility.2,-1,0,0, ndcg.1=3,2=9, rbp.p=0.8, and the sets official, all_trec, set
 *     ir_measures  nDCG@10, RR@10, R(rel=2)@100, AP(rel=2), P@5, Rprec, Bpref, Success@10, Judged@10, IPrec@0.1
 *
 *     wr_measures measures;
 *     st = wr_measures_parse(&measures, trec, ntrec, "nDCG@10 RR@10", &err);
 *     for each topic: wr_measures_score(&measures, &judged, 1, value); wr_measures_add(&measures, value, sum);
 *     wr_measures_average(&measures, sum, topics);
 *
 * Every measure sees one ranking: score descending, equal scores by docno descending. ir_measures agrees except for
 * RR@k and Judged@k, where it lets equal scores rise by docno; a served ranking has no equal scores.
 *
 * Where trec_eval depends on memory that it never set, divides 0 by 0 or sorts gains that differ by less than 1 in an
 * order of chance, this is 0, or the order that was meant.
 */
#ifndef WR_TOOLS_MEASURES_H
#define WR_TOOLS_MEASURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "data/status.h"
#include "tools/judged.h"

/* How the values of topics become one, and how both are printed. */
typedef enum wr_measure_kind {
    WR_MEAN,      /* arithmetic mean                                                             */
    WR_SUM,       /* a count: summed, printed as a whole number                                  */
    WR_GEOMETRIC, /* geometric mean; the value of a topic is a logarithm and is not printed      */
    WR_TOPICS,    /* number of topics; not printed for a topic                                   */
    WR_RUNID,     /* the run's tag; not printed for a topic                                      */
    WR_RELSTRING  /* the grades of the best documents as a string; printed for a topic only      */
} wr_measure_kind;

/* What stands behind the dot of "name.params". */
typedef enum wr_measure_params {
    WR_PARAM_NONE,
    WR_PARAM_CUTS,   /* ranks, sorted: one value each, "P_5"                             */
    WR_PARAM_LEVELS, /* fractions, sorted: one value each, "iprec_at_recall_0.10"        */
    WR_PARAM_VALUES, /* numbers in their order: one value for all, "utility_2,-1,0,0"    */
    WR_PARAM_PAIRS   /* grade=gain or letter=number: one value, "ndcg_1=3,2=9"           */
} wr_measure_params;

enum { WR_SET_OFFICIAL = 1, WR_SET_SET = 2, WR_SET_ALL = 4 }; /* trec_eval's names for several measures at once */

/* Of rank-biased precision: how likely the reader looks at the next document. trec_eval's default, close to P_10. */
#define WR_PERSISTENCE 0.9

typedef struct wr_measure wr_measure;

/* A measure as it was asked for. */
typedef struct wr_measure_use {
    const wr_measure *measure;
    double *param; /* [nparams] given or the defaults                                  */
    size_t nparams;
    wr_gain *pair; /* [npairs] gains given for grades; count unused                    */
    size_t npairs;
    double p;     /* "p=..." among the pairs, else WR_PERSISTENCE                     */
    long min_rel; /* rel=N of ir_measures; 0 = as the whole evaluation                */
    size_t cut;   /* only the first documents are looked at; 0 = all                  */
    size_t first; /* its values are value[first .. first + nvalues)                   */
    size_t nvalues;
} wr_measure_use;

typedef void wr_measure_fn(const wr_judged *judged, const wr_measure_use *use, double *value);

struct wr_measure {
    const char *name;
    wr_measure_kind kind;
    wr_measure_fn *compute; /* NULL where the kind says it all */
    wr_measure_params params;
    size_t exact; /* so many parameters were expected; 0 = one or more */
    const double *defaults;
    size_t ndefaults;
    unsigned sets;
};

extern const wr_measure wr_measure_table[]; /* in the order of trec_eval's output, ended by a NULL name */

typedef struct wr_measures {
    wr_measure_use *use; /* [n] first trec_eval's in the order of the table, then ir_measures' as they were given */
    size_t n;
    char **name; /* [nvalues] */
    size_t nvalues;
} wr_measures;

/* trec[ntrec] are the values of -m, ir the value of --measures or NULL. As in trec_eval the first -m that gives a
 * measure parameters counts. WR_EARG names what is unknown or malformed. */
wr_status wr_measures_parse(wr_measures *measures, const char *const *trec, size_t ntrec, const char *ir, wr_err *err);
void wr_measures_release(wr_measures *measures);

/* Ranks below which no measure looks: the deepest cut, or 0 when one of them looks at the whole ranking. */
size_t wr_measures_depth(const wr_measures *measures);

/* The values of one topic, value[nvalues]. An empty ranking is fine. */
void wr_measures_score(const wr_measures *measures, const wr_judged *judged, long min_rel, double *value);

/* sum[nvalues] += value[nvalues]; sum starts zeroed. */
void wr_measures_add(const wr_measures *measures, const double *value, double *sum);

/* Turns sums over so many topics into the values of the whole. */
void wr_measures_average(const wr_measures *measures, double *sum, size_t topics);

/* trec_eval's lines: of one topic, and of all of them ("all"). judged is the topic's, as it was scored. */
void wr_measures_print_topic(const wr_measures *measures, const wr_judged *judged, const double *value, const char *qid,
                             FILE *out);
void wr_measures_print_all(const wr_measures *measures, const double *value, const char *runid, FILE *out);

/* The families of compute functions, see the table. */
wr_measure_fn wr_measure_num_ret, wr_measure_num_rel, wr_measure_num_rel_ret, wr_measure_num_nonrel_judged_ret,
    wr_measure_num_nonjudged_ret, wr_measure_set_p, wr_measure_set_relative_p, wr_measure_set_recall,
    wr_measure_set_map, wr_measure_set_f, wr_measure_utility, wr_measure_judged;
wr_measure_fn wr_measure_map, wr_measure_gm_map, wr_measure_rprec, wr_measure_bpref, wr_measure_gm_bpref,
    wr_measure_recip_rank, wr_measure_iprec_at_recall, wr_measure_11pt_avg, wr_measure_p, wr_measure_recall,
    wr_measure_relative_p, wr_measure_success, wr_measure_unj, wr_measure_map_cut, wr_measure_rprec_mult,
    wr_measure_infap, wr_measure_yaap;
wr_measure_fn wr_measure_ndcg, wr_measure_dcg, wr_measure_ideal_dcg, wr_measure_ndcg_rel, wr_measure_rndcg,
    wr_measure_ndcg_cut, wr_measure_g, wr_measure_bin_g, wr_measure_rbp, wr_measure_rbp_resid;

/* The first documents' grades as trec_eval writes them, e.g. "0110-21.0>"; out has room for len + 1. */
void wr_measure_relstring(const wr_judged *judged, size_t len, char *out);

#endif
