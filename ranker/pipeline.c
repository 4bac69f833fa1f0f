#include "ranker/pipeline.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/topk.h"

/* Depths when a pipeline names none: 100 is what published fusions keep, 50 pairs are what a small cross-encoder does
 * in a second on two cores, 20 passages are one window of a listwise prompt. */
#define DEFAULT_DEPTH 100
#define DEFAULT_CROSS 50
#define DEFAULT_LIST 20

typedef struct parser {
    const char *text, *at;
    const wr_pipeline_scope *scope;
    bool stored; /* the text is the manifest's default pipeline */
    wr_err *err;
} parser;

const char *wr_stage_kind_name(wr_stage_kind kind)
{
    static const char *const name[] = {"bm25", "sparse", "dense", "rrf", "lin", "cross", "list"};
    return name[kind];
}

static wr_status refuse(parser *p, const char *expected)
{
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": at character %zu: expected %s", p->text,
                   (size_t)(p->at - p->text) + 1, expected);
}

static void skip_space(parser *p)
{
    while (isspace((unsigned char)*p->at)) p->at++;
}

static bool take(parser *p, char c)
{
    skip_space(p);
    if (*p->at != c) return false;
    p->at++;
    return true;
}

/* A word of letters, digits, '-', '_', '.' into out[cap]; false when there is none or it does not fit. */
static bool take_word(parser *p, char *out, size_t cap)
{
    skip_space(p);
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || (p->at[n] && strchr("-_.", p->at[n]))) n++;
    if (n == 0 || n >= cap) return false;
    memcpy(out, p->at, n);
    out[n] = 0;
    p->at += n;
    return true;
}

static wr_status take_count(parser *p, const char *what, size_t *out)
{
    skip_space(p);
    size_t n = 0;
    if (!isdigit((unsigned char)*p->at)) return refuse(p, what);
    while (isdigit((unsigned char)*p->at) && n <= WR_MAX_K) n = n * 10 + (size_t)(*p->at++ - '0');
    if (n == 0 || n > WR_MAX_K)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": %s must be 1 to %d", p->text, what, WR_MAX_K);
    *out = n;
    return WR_OK;
}

static wr_status take_weight(parser *p, double *out)
{
    skip_space(p);
    char *end = NULL;
    if (!isdigit((unsigned char)*p->at) && *p->at != '.') return refuse(p, "a weight");
    double w = strtod(p->at, &end);
    /* A weight beyond a million says nothing more and would swallow the other lists in float. */
    if (end == p->at || !(w >= 0 && w <= 1e6)) return refuse(p, "a weight from 0 to 1e6");
    p->at = end;
    *out = w;
    return WR_OK;
}

static wr_status take_share(parser *p, const char *what, double *out)
{
    wr_status st = take_weight(p, out);
    return st || (*out > 0 && *out <= 1) ? st : refuse(p, what);
}

static wr_status take_mode(parser *p, wr_sparse_mode *out)
{
    char word[16];
    if (!take_word(p, word, sizeof word)) return refuse(p, "exact or approx");
    if (strcmp(word, "exact") && strcmp(word, "approx"))
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": mode=%s: expected exact or approx", p->text, word);
    *out = word[0] == 'e' ? WR_SPARSE_EXACT : WR_SPARSE_APPROX;
    return WR_OK;
}

static wr_status sparse_option(parser *p, wr_stage *stage, const char *key)
{
    if (!strcmp(key, "mode")) return take_mode(p, &stage->mode);
    if (!strcmp(key, "heap_factor")) return take_share(p, "a heap_factor above 0, to 1", &stage->heap_factor);
    if (!strcmp(key, "query_cut")) return take_count(p, "query_cut", &stage->query_cut);
    if (!strcmp(key, "two_phase")) return take_share(p, "a share above 0, to 1", &stage->two_phase);
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": sparse has no option \"%s\"", p->text, key);
}

/* Shares below a thousandth would round to one token anyway. */
static wr_status take_keep(parser *p, double *out)
{
    skip_space(p);
    char *end = NULL;
    double share = isdigit((unsigned char)*p->at) || *p->at == '.' ? strtod(p->at, &end) : 0;
    if (!(share >= 0.001 && share <= 1)) return refuse(p, "a share of tokens from 0.001 to 1 after \"keep=\"");
    p->at = end;
    *out = share;
    return WR_OK;
}

static bool is_effort(const char *key)
{
    return !strcmp(key, "exit") || !strcmp(key, "keep");
}

/* key=a or key=b: *second tells which. */
static wr_status take_choice(parser *p, const char *key, const char *a, const char *b, bool *second)
{
    char word[16];
    if (!take_word(p, word, sizeof word)) return refuse(p, "a word after '='");
    *second = !strcmp(word, b);
    if (*second || !strcmp(word, a)) return WR_OK;
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": %s=%s: expected %s or %s", p->text, key, word, a, b);
}

static wr_status list_option(parser *p, wr_stage *stage, const char *key)
{
    bool paper;
    if (!strcmp(key, "window")) return take_count(p, "window", &stage->window);
    if (!strcmp(key, "stride")) return take_count(p, "stride", &stage->stride);
    if (!strcmp(key, "logits")) return take_choice(p, key, "letters", "top30", &stage->top30);
    if (!strcmp(key, "prompt")) {
        wr_status st = take_choice(p, key, "template", "paper", &paper);
        if (!st) stage->prompt = paper ? WR_PROMPT_PAPER : WR_PROMPT_TEMPLATE;
        return st;
    }
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": list has no option \"%s\"", p->text, key);
}

static wr_status option_set(parser *p, wr_stage *stage, const char *key)
{
    if (stage->kind == WR_SPARSE) return sparse_option(p, stage, key);
    if (stage->kind >= WR_CROSS && !strcmp(key, "model")) {
        if (!take_word(p, stage->model, sizeof stage->model)) return refuse(p, "a model's name");
        return WR_OK;
    }
    if (stage->kind == WR_LIST) return list_option(p, stage, key);
    if (stage->kind == WR_CROSS && !strcmp(key, "exit")) return take_count(p, "exit", &stage->exit);
    if (stage->kind == WR_CROSS && !strcmp(key, "keep")) return take_keep(p, &stage->keep);
    if (stage->kind == WR_DENSE && is_effort(key))
        return wr_fail(p->err, WR_EARG,
                       "pipeline \"%.80s\": dense has no option \"%s\": the index's vectors were made with all layers "
                       "and all tokens, a query's must be too",
                       p->text, key);
    if (stage->kind == WR_DENSE && !strcmp(key, "ef")) return take_count(p, "ef", &stage->ef);
    if (stage->kind == WR_DENSE && !strcmp(key, "nprobe")) return take_count(p, "nprobe", &stage->nprobe);
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": %s has no option \"%s\"", p->text,
                   wr_stage_kind_name(stage->kind), key);
}

static wr_status take_options(parser *p, wr_stage *stage)
{
    if (!take(p, '[')) return WR_OK;
    do {
        char key[32];
        if (!take_word(p, key, sizeof key)) return refuse(p, "an option's name");
        if (!take(p, '=')) return refuse(p, "'='");
        wr_status st = option_set(p, stage, key);
        if (st) return st;
    } while (take(p, ','));
    return take(p, ']') ? WR_OK : refuse(p, "']'");
}

static wr_status take_depth(parser *p, size_t fallback, size_t *out)
{
    *out = fallback;
    return take(p, ':') ? take_count(p, "the number after ':'", out) : WR_OK;
}

static wr_status check_retriever(parser *p, const wr_stage *stage)
{
    const wr_pipeline_scope *s = p->scope;
    bool there = stage->kind == WR_BM25 ? s->has_bm25 : stage->kind == WR_DENSE ? s->has_dense : s->has_sparse;
    if (there) return WR_OK;
    return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": this index holds no %s index", p->text,
                   stage->kind == WR_SPARSE ? "learned-sparse" : wr_stage_kind_name(stage->kind));
}

/* Two phases are a way of exact search; the other options say how to search approximately. */
static wr_status check_mode(parser *p, const wr_stage *stage)
{
    bool approx = stage->mode == WR_SPARSE_APPROX || stage->heap_factor > 0 || stage->query_cut;
    if (stage->mode == WR_SPARSE_EXACT && (stage->heap_factor > 0 || stage->query_cut))
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": heap_factor and query_cut go with mode=approx", p->text);
    if (approx && stage->two_phase > 0)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": two_phase goes with mode=exact", p->text);
    if (approx && !p->scope->has_sparse_ann)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": this index holds no clusters for approximate sparse search",
                       p->text);
    return WR_OK;
}

/* fallback: the depth when none is written; 0 = leave 0, the fusion fills it in. */
static wr_status take_retriever(parser *p, const char *word, size_t fallback, wr_stage *stage)
{
    if (!strcmp(word, "bm25")) stage->kind = WR_BM25;
    else if (!strcmp(word, "dense")) stage->kind = WR_DENSE;
    else if (!strcmp(word, "sparse")) stage->kind = WR_SPARSE;
    else return refuse(p, "bm25, sparse, dense, rrf(...), lin(...) or an alias");
    stage->weight = 1;
    wr_status st = check_retriever(p, stage);
    if (!st) st = take_options(p, stage);
    if (!st) st = check_mode(p, stage);
    return st ? st : take_depth(p, fallback, &stage->depth);
}

static wr_status take_fusion(parser *p, wr_stage_kind kind, wr_pipeline *out)
{
    out->fused = true;
    out->fuse.kind = kind;
    if (!take(p, '(')) return refuse(p, "'('");
    do {
        if (out->nlists == WR_MAX_LISTS) return refuse(p, "at most 8 lists in a fusion");
        wr_stage *stage = &out->list[out->nlists++];
        double weight = 1;
        char word[32];
        skip_space(p);
        if (isdigit((unsigned char)*p->at) || *p->at == '.') {
            wr_status st = take_weight(p, &weight);
            if (st) return st;
            if (!take(p, '*')) return refuse(p, "'*' after a weight");
        }
        if (!take_word(p, word, sizeof word)) return refuse(p, "bm25, sparse or dense");
        wr_status st = take_retriever(p, word, 0, stage);
        if (st) return st;
        stage->weight = weight;
    } while (take(p, ','));
    if (!take(p, ')')) return refuse(p, "',' or ')'");
    wr_status st = take_depth(p, DEFAULT_DEPTH, &out->fuse.depth);
    for (size_t i = 0; i < out->nlists; i++)
        if (out->list[i].depth == 0) out->list[i].depth = out->fuse.depth;
    return st;
}

static bool has_exit(const wr_cross_shape *cross, size_t layer)
{
    bool has = layer == cross->layers;
    for (size_t i = 0; i < cross->nexits; i++) has |= cross->exit[i] == layer;
    return has;
}

/* The cross-encoder that a stage names is there and has as many layers as it asks for. */
static wr_status check_cross(parser *p, wr_stage *stage)
{
    const wr_pipeline_scope *s = p->scope;
    size_t i = 0;
    while (i < s->ncross && stage->model[0] && strcmp(stage->model, s->cross[i].name)) i++;
    if (i == s->ncross && p->stored) {
        stage->missing = true;
        return WR_OK;
    }
    if (s->ncross == 0)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": no cross-encoder is loaded (--cross MODEL loads one)",
                       p->text);
    if (i == s->ncross)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": no cross-encoder \"%s\" is loaded", p->text,
                       stage->model);
    if (p->stored && !has_exit(&s->cross[i], stage->exit)) stage->exit = 0;
    if (s->cross[i].layers && stage->exit > s->cross[i].layers)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": exit=%zu: %s has %zu layers", p->text, stage->exit,
                       s->cross[i].name, s->cross[i].layers);
    return WR_OK;
}

/* The decoder that a stage names is there and has letters for its windows. */
static wr_status check_list(parser *p, wr_stage *stage)
{
    const wr_pipeline_scope *s = p->scope;
    size_t i = 0;
    while (i < s->nlist && stage->model[0] && strcmp(stage->model, s->list[i].name)) i++;
    if (i == s->nlist && p->stored) {
        stage->missing = true;
        return WR_OK;
    }
    if (s->nlist == 0)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": no decoder is loaded (--list MODEL loads one)", p->text);
    if (i == s->nlist)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": no decoder \"%s\" is loaded", p->text, stage->model);
    size_t most = s->list[i].letters, window = stage->window ? stage->window : WR_WINDOW < most ? WR_WINDOW : most;
    if (most < 2)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": %s has no letters in its vocabulary and ranks no list", p->text,
                       s->list[i].name);
    if (window < 2 || window > most)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": window=%zu: expected 2 to %zu", p->text, window, most);
    if (stage->stride > window)
        return wr_fail(p->err, WR_EARG, "pipeline \"%.80s\": stride=%zu: expected 1 to %zu, the window", p->text,
                       stage->stride, window);
    return WR_OK;
}

static wr_status take_rerank(parser *p, wr_pipeline *out)
{
    if (out->nrerank == WR_MAX_RERANK) return refuse(p, "at most 4 rerank stages");
    wr_stage *stage = &out->rerank[out->nrerank++];
    char word[32];
    if (!take_word(p, word, sizeof word)) return refuse(p, "cross or list");
    if (!strcmp(word, "cross")) stage->kind = WR_CROSS;
    else if (!strcmp(word, "list")) stage->kind = WR_LIST;
    else return refuse(p, "cross or list");
    stage->weight = 1;
    wr_status st = WR_OK;
    skip_space(p);
    if (stage->kind == WR_LIST && *p->at == '@')
        return refuse(p, "no share: logits of different windows do not compare, a list keeps the scores of its positions");
    if (take(p, '@') && !(st = take_weight(p, &stage->weight)) && stage->weight > 1)
        return refuse(p, "a share from 0 to 1 after '@'");
    if (!st) st = take_options(p, stage);
    if (!st) st = take_depth(p, stage->kind == WR_CROSS ? DEFAULT_CROSS : DEFAULT_LIST, &stage->depth);
    if (st) return st;
    return stage->kind == WR_CROSS ? check_cross(p, stage) : check_list(p, stage);
}

/* The text that an alias stands for, in buf; NULL when word is none. */
static const char *alias(const wr_pipeline_scope *scope, const char *word, char *buf, size_t cap)
{
    if (!strcmp(word, "default")) return scope->default_pipeline;
    bool full = !strcmp(word, "full");
    if (!full && strcmp(word, "hybrid")) return NULL;
    const char *lists[3];
    size_t n = 0;
    if (scope->has_bm25) lists[n++] = "bm25";
    if (scope->has_sparse) lists[n++] = "sparse";
    if (scope->has_dense) lists[n++] = "dense";
    const char *cross = full && scope->ncross ? " > cross" : "";
    const char *list = full && scope->nlist && scope->list[0].letters >= 2 ? " > list" : "";
    if (n == 1) snprintf(buf, cap, "%s:%d%s%s", lists[0], DEFAULT_DEPTH, cross, list);
    else
        snprintf(buf, cap, "rrf(%s,%s%s%s):%d%s%s", lists[0], lists[1], n > 2 ? "," : "", n > 2 ? lists[2] : "",
                 DEFAULT_DEPTH, cross, list);
    return buf;
}

static wr_status parse(parser *p, bool aliases, wr_pipeline *out);

static wr_status parse_alias(parser *p, const char *text, wr_pipeline *out)
{
    parser inner = {.text = text, .at = text, .scope = p->scope, .err = p->err};
    inner.stored = text == p->scope->default_pipeline;
    return parse(&inner, false, out);
}

static wr_status parse(parser *p, bool aliases, wr_pipeline *out)
{
    char word[32], buf[64];
    const char *text;
    wr_status st;
    if (!take_word(p, word, sizeof word)) return refuse(p, "bm25, sparse, dense, rrf(...), lin(...) or an alias");
    if (!strcmp(word, "rrf")) st = take_fusion(p, WR_RRF, out);
    else if (!strcmp(word, "lin")) st = take_fusion(p, WR_LIN, out);
    else if (aliases && (text = alias(p->scope, word, buf, sizeof buf))) st = parse_alias(p, text, out);
    else st = take_retriever(p, word, DEFAULT_DEPTH, &out->list[out->nlists++]);
    while (!st && take(p, '>')) st = take_rerank(p, out);
    skip_space(p);
    if (!st && *p->at) st = refuse(p, "'>' or the end");
    return st;
}

/* "cross", then "cross_2", ...: replies need one name for each stage. */
static void name_stages(wr_stage *const *stage, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t same = 1;
        for (size_t j = 0; j < i; j++) same += stage[j]->kind == stage[i]->kind;
        const char *kind = wr_stage_kind_name(stage[i]->kind);
        if (same == 1) snprintf(stage[i]->name, sizeof stage[i]->name, "%s", kind);
        else snprintf(stage[i]->name, sizeof stage[i]->name, "%s_%zu", kind, same);
    }
}

wr_status wr_pipeline_parse(wr_pipeline *pipeline, const char *text, const wr_pipeline_scope *scope, wr_err *err)
{
    wr_stage *all[WR_MAX_LISTS + 1 + WR_MAX_RERANK];
    size_t n = 0;
    memset(pipeline, 0, sizeof *pipeline);
    if (strlen(text) >= WR_MAX_PIPELINE)
        return wr_fail(err, WR_EARG, "pipeline: longer than %d characters", WR_MAX_PIPELINE - 1);
    parser p = {.text = text, .at = text, .scope = scope, .err = err};
    wr_status st = parse(&p, true, pipeline);
    if (st) return st;
    for (size_t i = 0; i < pipeline->nlists; i++) all[n++] = &pipeline->list[i];
    if (pipeline->fused) all[n++] = &pipeline->fuse;
    for (size_t i = 0; i < pipeline->nrerank; i++) all[n++] = &pipeline->rerank[i];
    name_stages(all, n);
    return WR_OK;
}

/* ---- printing ---- */

typedef struct printer {
    char *out;
    size_t cap, n;
} printer;

__attribute__((format(printf, 2, 3))) static void put(printer *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (p->n < p->cap) {
        int n = vsnprintf(p->out + p->n, p->cap - p->n, fmt, args);
        p->n += n > 0 ? (size_t)n : 0;
    }
    va_end(args);
}

static void put_stage(printer *p, const wr_stage *s)
{
    put(p, "%s", wr_stage_kind_name(s->kind));
    if (s->kind >= WR_CROSS && s->weight < 1) put(p, "@%g", s->weight);
    const char *sep = "[";
    if (s->model[0]) put(p, "%smodel=%s", sep, s->model), sep = ",";
    if (s->ef) put(p, "%sef=%zu", sep, s->ef), sep = ",";
    if (s->nprobe) put(p, "%snprobe=%zu", sep, s->nprobe), sep = ",";
    if (s->mode) put(p, "%smode=%s", sep, s->mode == WR_SPARSE_EXACT ? "exact" : "approx"), sep = ",";
    if (s->heap_factor > 0) put(p, "%sheap_factor=%g", sep, s->heap_factor), sep = ",";
    if (s->query_cut) put(p, "%squery_cut=%zu", sep, s->query_cut), sep = ",";
    if (s->two_phase > 0) put(p, "%stwo_phase=%g", sep, s->two_phase), sep = ",";
    if (s->exit) put(p, "%sexit=%zu", sep, s->exit), sep = ",";
    if (s->keep > 0) put(p, "%skeep=%.10g", sep, s->keep), sep = ",";
    if (s->window) put(p, "%swindow=%zu", sep, s->window), sep = ",";
    if (s->stride) put(p, "%sstride=%zu", sep, s->stride), sep = ",";
    if (s->prompt == WR_PROMPT_PAPER) put(p, "%sprompt=paper", sep), sep = ",";
    if (s->top30) put(p, "%slogits=top30", sep), sep = ",";
    if (*sep == ',') put(p, "]");
}

void wr_pipeline_print(const wr_pipeline *pipeline, char *out, size_t cap)
{
    printer p = {.out = out, .cap = cap};
    if (cap) out[0] = 0;
    if (pipeline->fused) put(&p, "%s(", wr_stage_kind_name(pipeline->fuse.kind));
    for (size_t i = 0; i < pipeline->nlists; i++) {
        const wr_stage *s = &pipeline->list[i];
        if (i) put(&p, ",");
        if (s->weight < 1 || s->weight > 1) put(&p, "%.10g*", s->weight);
        put_stage(&p, s);
        if (!pipeline->fused || s->depth != pipeline->fuse.depth) put(&p, ":%zu", s->depth);
    }
    if (pipeline->fused) put(&p, "):%zu", pipeline->fuse.depth);
    for (size_t i = 0; i < pipeline->nrerank; i++) {
        put(&p, " > ");
        put_stage(&p, &pipeline->rerank[i]);
        put(&p, ":%zu", pipeline->rerank[i].depth);
    }
}
