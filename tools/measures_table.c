/* One row per measure, in the order in which trec_eval prints them. */
#include "tools/measures.h"

static const double ranks[] = {5, 10, 15, 20, 30, 100, 200, 500, 1000};
static const double shallow[] = {5, 10, 20};
static const double first_page[] = {1, 5, 10};
static const double recalls[] = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0};
static const double multiples[] = {0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0};
static const double worths[] = {1.0, -1.0, 0.0, 0.0};
static const double one[] = {1.0}, ten[] = {10.0};

#define DEFAULTS(array) array, sizeof array / sizeof array[0]
#define OFFICIAL (WR_SET_OFFICIAL | WR_SET_ALL)
#define SET (WR_SET_SET | WR_SET_ALL)
#define EVERY (WR_SET_OFFICIAL | WR_SET_SET | WR_SET_ALL)
#define ALL WR_SET_ALL

/* name, kind, function, parameters, how many exactly, their defaults, sets */
const wr_measure wr_measure_table[] = {
    {"runid", WR_RUNID, NULL, WR_PARAM_NONE, 0, NULL, 0, EVERY},
    {"num_q", WR_TOPICS, NULL, WR_PARAM_NONE, 0, NULL, 0, EVERY},
    {"num_ret", WR_SUM, wr_measure_num_ret, WR_PARAM_NONE, 0, NULL, 0, EVERY},
    {"num_rel", WR_SUM, wr_measure_num_rel, WR_PARAM_NONE, 0, NULL, 0, EVERY},
    {"num_rel_ret", WR_SUM, wr_measure_num_rel_ret, WR_PARAM_NONE, 0, NULL, 0, EVERY},
    {"map", WR_MEAN, wr_measure_map, WR_PARAM_NONE, 0, NULL, 0, OFFICIAL},
    {"gm_map", WR_GEOMETRIC, wr_measure_gm_map, WR_PARAM_NONE, 0, NULL, 0, OFFICIAL},
    {"Rprec", WR_MEAN, wr_measure_rprec, WR_PARAM_NONE, 0, NULL, 0, OFFICIAL},
    {"bpref", WR_MEAN, wr_measure_bpref, WR_PARAM_NONE, 0, NULL, 0, OFFICIAL},
    {"recip_rank", WR_MEAN, wr_measure_recip_rank, WR_PARAM_NONE, 0, NULL, 0, OFFICIAL},
    {"iprec_at_recall", WR_MEAN, wr_measure_iprec_at_recall, WR_PARAM_LEVELS, 0, DEFAULTS(recalls), OFFICIAL},
    {"P", WR_MEAN, wr_measure_p, WR_PARAM_CUTS, 0, DEFAULTS(ranks), OFFICIAL},
    {"relstring", WR_RELSTRING, NULL, WR_PARAM_VALUES, 1, DEFAULTS(ten), ALL},
    {"recall", WR_MEAN, wr_measure_recall, WR_PARAM_CUTS, 0, DEFAULTS(ranks), ALL},
    {"infAP", WR_MEAN, wr_measure_infap, WR_PARAM_NONE, 0, NULL, 0, ALL},
    {"gm_bpref", WR_GEOMETRIC, wr_measure_gm_bpref, WR_PARAM_NONE, 0, NULL, 0, ALL},
    {"Rprec_mult", WR_MEAN, wr_measure_rprec_mult, WR_PARAM_LEVELS, 0, DEFAULTS(multiples), ALL},
    {"utility", WR_MEAN, wr_measure_utility, WR_PARAM_VALUES, 4, DEFAULTS(worths), SET},
    {"11pt_avg", WR_MEAN, wr_measure_11pt_avg, WR_PARAM_VALUES, 0, DEFAULTS(recalls), ALL},
    {"binG", WR_MEAN, wr_measure_bin_g, WR_PARAM_NONE, 0, NULL, 0, ALL},
    {"G", WR_MEAN, wr_measure_g, WR_PARAM_PAIRS, 0, NULL, 0, ALL},
    {"dcg", WR_MEAN, wr_measure_dcg, WR_PARAM_PAIRS, 0, NULL, 0, 0},
    {"ideal_dcg", WR_MEAN, wr_measure_ideal_dcg, WR_PARAM_PAIRS, 0, NULL, 0, 0},
    {"ndcg", WR_MEAN, wr_measure_ndcg, WR_PARAM_PAIRS, 0, NULL, 0, ALL},
    {"ndcg_rel", WR_MEAN, wr_measure_ndcg_rel, WR_PARAM_PAIRS, 0, NULL, 0, ALL},
    {"Rndcg", WR_MEAN, wr_measure_rndcg, WR_PARAM_PAIRS, 0, NULL, 0, ALL},
    {"ndcg_cut", WR_MEAN, wr_measure_ndcg_cut, WR_PARAM_CUTS, 0, DEFAULTS(ranks), ALL},
    {"map_cut", WR_MEAN, wr_measure_map_cut, WR_PARAM_CUTS, 0, DEFAULTS(ranks), ALL},
    {"relative_P", WR_MEAN, wr_measure_relative_p, WR_PARAM_CUTS, 0, DEFAULTS(ranks), ALL},
    {"success", WR_MEAN, wr_measure_success, WR_PARAM_CUTS, 0, DEFAULTS(first_page), ALL},
    {"set_P", WR_MEAN, wr_measure_set_p, WR_PARAM_NONE, 0, NULL, 0, SET},
    {"set_relative_P", WR_MEAN, wr_measure_set_relative_p, WR_PARAM_NONE, 0, NULL, 0, SET},
    {"set_recall", WR_MEAN, wr_measure_set_recall, WR_PARAM_NONE, 0, NULL, 0, SET},
    {"set_map", WR_MEAN, wr_measure_set_map, WR_PARAM_NONE, 0, NULL, 0, SET},
    {"set_F", WR_MEAN, wr_measure_set_f, WR_PARAM_VALUES, 1, DEFAULTS(one), SET},
    {"num_nonrel_judged_ret", WR_SUM, wr_measure_num_nonrel_judged_ret, WR_PARAM_NONE, 0, NULL, 0, ALL},
    {"num_nonjudged_ret", WR_SUM, wr_measure_num_nonjudged_ret, WR_PARAM_NONE, 0, NULL, 0, 0},
    {"yaap", WR_MEAN, wr_measure_yaap, WR_PARAM_NONE, 0, NULL, 0, 0},
    {"rbp", WR_MEAN, wr_measure_rbp, WR_PARAM_PAIRS, 0, NULL, 0, ALL},
    {"rbp_resid", WR_MEAN, wr_measure_rbp_resid, WR_PARAM_NONE, 0, NULL, 0, ALL},
    {"unj", WR_MEAN, wr_measure_unj, WR_PARAM_CUTS, 0, DEFAULTS(shallow), ALL},
    {"Judged", WR_MEAN, wr_measure_judged, WR_PARAM_NONE, 0, NULL, 0, 0}, /* ir_measures' own */
    {0}};
