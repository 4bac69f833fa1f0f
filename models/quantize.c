#include "models/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/encoder.h"
#include "models/heads_mlm.h"
#include "models/model_config.h"

/* An input scale is kept if the loss alone falls below this share of what it was. */
#define WORTHWHILE .9

/* What is smaller than this share of a part's largest counts as that: a place that the calibration texts hardly reached
 * would else be enlarged so much that one text which reaches it spoils its whole row. */
#define LEAST .01f

static const double exponents[] = {.25, .5, .75};

/* What the search works with. */
typedef struct search {
    wr_quant *quant;
    const char *dir;
    const wr_probe *probe;
    wr_pool *pool;
    wr_quant_progress *progress;
    void *arg;
    size_t exit[WR_MAX_LAYERS + 1], nexits; /* what is compared: 0, the last layer, and a cross-encoder's exits */
    float *want, *got;                      /* [nexits, npairs]                                                 */
    float **seen;                           /* [n] largest inputs of each part, [cols] */
    wr_linear_plan *plan;
    size_t runs; /* about, in all */
} search;

void wr_quant_release(wr_quant *quant)
{
    for (size_t i = 0; i < quant->n; i++) free(quant->part[i].migrate);
    free(quant->part);
    *quant = (wr_quant){0};
}

/* ---- the parts ---- */

static void add_part(wr_quant *quant, char (*name)[WR_MAX_TENSOR_NAME], size_t nnames, size_t rows, size_t cols)
{
    wr_quant_part *p = &quant->part[quant->n++];
    *p = (wr_quant_part){.nnames = nnames, .rows = rows, .cols = cols};
    for (size_t i = 0; i < nnames; i++) memcpy(p->name[i], name[i], sizeof p->name[i]);
}

static wr_status list_parts(wr_quant *quant, const wr_model_config *config, const wr_weights *weights, wr_err *err)
{
    size_t dim = config->dim;
    char name[WR_LAYER_NAMES][WR_MAX_TENSOR_NAME];
    quant->part = calloc(1 + WR_LAYER_LINEARS * config->layers, sizeof *quant->part);
    if (!quant->part) return wr_fail(err, WR_ENOMEM, "out of memory");
    snprintf(name[0], sizeof name[0], "%sembeddings.word_embeddings", weights->prefix);
    snprintf(name[1], sizeof name[1], "%s.weight", wr_mlm_decoder_name(config->distil));
    bool decoder = wr_mlm_is_in(weights, config->distil) && wr_weights_has(weights, "", name[1]);
    snprintf(name[1], sizeof name[1], "%s", wr_mlm_decoder_name(config->distil));
    add_part(quant, name, decoder ? 2 : 1, config->vocab, dim);
    quant->part->table = true;
    for (size_t i = 0; i < config->layers; i++) {
        wr_layer_names(config, weights->prefix, i, name);
        add_part(quant, &name[0], 1, dim, dim);
        add_part(quant, &name[1], 2, dim, dim);
        add_part(quant, &name[3], 1, dim, dim);
        add_part(quant, &name[4], 1, config->ffn, dim);
        add_part(quant, &name[5], 1, dim, config->ffn);
    }
    return WR_OK;
}

/* The matrix of a part, owned by the caller (free). NULL with *st set. */
static float *part_matrix(const wr_weights *weights, const wr_quant_part *p, size_t i, wr_status *st, wr_err *err)
{
    char name[WR_MAX_TENSOR_NAME + 8];
    const wr_tensor *t;
    snprintf(name, sizeof name, "%s.weight", p->name[i]);
    if ((*st = wr_weights_find(weights, "", name, p->rows, p->cols, &t, err))) return NULL;
    float *w = malloc(p->rows * p->cols * sizeof *w);
    *st =
        w ? wr_tensor_to_f32(t, w, p->rows * p->cols, err) : wr_fail(err, WR_ENOMEM, "tensor %s: out of memory", name);
    if (!*st) return w;
    free(w);
    return NULL;
}

/* ---- running ---- */

size_t wr_quant_plan(const wr_quant *quant, wr_linear_plan *plan)
{
    size_t n = 0;
    for (size_t i = 0; i < quant->n; i++)
        for (size_t k = 0; k < quant->part[i].nnames; k++) {
            const wr_quant_part *p = &quant->part[i];
            plan[n++] = (wr_linear_plan){.name = p->name[k],
                                         .precision = p->bytes ? WR_PRECISION_INT8 : WR_PRECISION_FP32,
                                         .migrate = p->bytes ? p->migrate : NULL};
        }
    return n;
}

static wr_status score(search *s, const wr_model *model, wr_pool *pool, float *out, wr_err *err)
{
    wr_status st = WR_OK;
    for (size_t e = 0; e < s->nexits && !st; e++)
        st = wr_probe_score_exit(s->probe, model, s->exit[e], pool, out + e * s->probe->npairs, err);
    return st;
}

/* The loss with the parts as bytes that are marked so: the largest of the exits'. */
static wr_status run(search *s, double *loss, wr_err *err)
{
    wr_model_options options = {.precision = "int8", .plan = s->plan, .nplan = wr_quant_plan(s->quant, s->plan)};
    wr_model *model;
    wr_status st = wr_model_open(&model, s->dir, &options, err);
    if (!st) st = score(s, model, s->pool, s->got, err);
    wr_model_close(model);
    *loss = 0;
    for (size_t e = 0, n = s->probe->npairs; e < s->nexits && !st; e++)
        *loss = fmax(*loss, wr_probe_loss(s->probe, s->want + e * n, s->got + e * n));
    s->quant->runs++;
    if (s->progress) s->progress(s->arg, s->quant->runs, s->runs > s->quant->runs ? s->runs : s->quant->runs);
    return st;
}

static void mark(wr_quant *quant, bool bytes)
{
    for (size_t i = 0; i < quant->n; i++) quant->part[i].bytes = bytes;
}

/* fp32's scores, and where it is wanted what its layers meet: on one thread then, as all write to the same place. */
static wr_status run_floats(search *s, bool see, wr_err *err)
{
    wr_quant *q = s->quant;
    wr_model *model;
    mark(q, false);
    wr_model_options options = {.precision = "fp32", .plan = s->plan, .nplan = wr_quant_plan(q, s->plan)};
    for (size_t i = 0, at = 0; see && i < q->n; at += q->part[i++].nnames)
        for (size_t k = 0; k < q->part[i].nnames; k++) s->plan[at + k].seen = s->seen[i];
    wr_status st = wr_model_open(&model, s->dir, &options, err);
    if (!st) st = score(s, model, see ? NULL : s->pool, s->want, err);
    wr_model_close(model);
    q->runs++;
    return st;
}

/* ---- step 1 ---- */

/* max|W_j| over the part's matrices, [cols]; owned by the caller. */
static float *largest_weights(const wr_weights *weights, const wr_quant_part *p, wr_status *st, wr_err *err)
{
    float *most = calloc(p->cols, sizeof *most);
    *st = most ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t k = 0; k < p->nnames && !*st; k++) {
        float *w = part_matrix(weights, p, k, st, err);
        for (size_t i = 0; w && i < p->rows * p->cols; i++)
            if (fabsf(w[i]) > most[i % p->cols]) most[i % p->cols] = fabsf(w[i]);
        free(w);
    }
    if (!*st) return most;
    free(most);
    return NULL;
}

static float largest(const float *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
    return most;
}

/* 1 / s of the part: what activations are multiplied by. */
static float *input_scale(const float *seen, const float *most, size_t n, double exponent)
{
    float *scale = malloc(n * sizeof *scale);
    float x_least = LEAST * largest(seen, n), w_least = LEAST * largest(most, n);
    for (size_t i = 0; i < n && scale; i++)
        scale[i] = (float)(pow(fmaxf(most[i], w_least), 1 - exponent) / pow(fmaxf(seen[i], x_least), exponent));
    return scale;
}

/* Tries the exponents on part p, which alone is marked. */
static wr_status migrate(search *s, const wr_weights *weights, size_t i, wr_err *err)
{
    wr_quant_part *p = &s->quant->part[i];
    wr_status st;
    double limit = p->alone * WORTHWHILE;
    float *most = largest_weights(weights, p, &st, err), *best = NULL;
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents && !st; e++) {
        double loss;
        float *scale = p->migrate = input_scale(s->seen[i], most, p->cols, exponents[e]);
        if ((st = scale ? run(s, &loss, err) : wr_fail(err, WR_ENOMEM, "out of memory"))) {
            free(scale);
            break;
        }
        if (loss < limit) {
            free(best);
            best = scale;
            limit = p->alone = loss;
            p->exponent = exponents[e];
        } else {
            free(scale);
        }
    }
    p->migrate = best;
    free(most);
    return st;
}

static wr_status run_alone(search *s, const wr_weights *weights, wr_err *err)
{
    wr_status st = WR_OK;
    for (size_t i = 0; i < s->quant->n && !st; i++) {
        wr_quant_part *p = &s->quant->part[i];
        mark(s->quant, false);
        p->bytes = true;
        st = run(s, &p->alone, err);
        bool scalable = !p->table && p->alone > 0 && largest(s->seen[i], p->cols) > 0;
        if (!st && scalable) st = migrate(s, weights, i, err);
    }
    return st;
}

/* ---- steps 2 and 3 ---- */

static wr_status run_in_order(search *s, wr_err *err)
{
    double before = 0, loss = 0;
    wr_status st = WR_OK;
    mark(s->quant, false);
    for (size_t i = 0; i < s->quant->n && !st; i++, before = loss) {
        s->quant->part[i].bytes = true;
        st = run(s, &loss, err);
        s->quant->part[i].added = loss * loss - before * before;
    }
    s->quant->all_loss = loss;
    return st;
}

typedef struct ordered {
    double harm;
    size_t i;
} ordered;

static int least_harm_first(const void *a, const void *b)
{
    const ordered *x = a, *y = b;
    if (x->harm != y->harm) return x->harm < y->harm ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static void mark_first(wr_quant *quant, const ordered *order, size_t n)
{
    for (size_t i = 0; i < quant->n; i++) quant->part[order[i].i].bytes = i < n;
}

static wr_status bisect(search *s, const ordered *order, double max_loss, wr_err *err)
{
    wr_quant *q = s->quant;
    size_t good = 0, bad = q->n;
    double loss, good_loss = 0;
    mark_first(q, order, q->n);
    q->loss = q->all_loss;
    if (q->all_loss <= max_loss) return WR_OK;
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        mark_first(q, order, middle);
        wr_status st = run(s, &loss, err);
        if (st) return st;
        if (loss <= max_loss)
            good = middle, good_loss = loss;
        else
            bad = middle;
    }
    mark_first(q, order, good);
    q->loss = good_loss;
    return WR_OK;
}

static wr_status choose(search *s, double max_loss, wr_err *err)
{
    wr_quant *q = s->quant;
    ordered *order = calloc(q->n, sizeof *order);
    if (!order) return wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < q->n; i++) {
        double alone = q->part[i].alone * q->part[i].alone;
        order[i] = (ordered){alone + (q->part[i].added - alone) / 2, i};
    }
    qsort(order, q->n, sizeof *order, least_harm_first);
    wr_status st = bisect(s, order, max_loss, err);
    free(order);
    return st;
}

/* ---- room ---- */

static wr_status make_room(search *s, wr_err *err)
{
    const wr_quant *q = s->quant;
    s->want = calloc(s->nexits * s->probe->npairs + 1, sizeof *s->want);
    s->got = calloc(s->nexits * s->probe->npairs + 1, sizeof *s->got);
    s->plan = calloc(2 * q->n, sizeof *s->plan);
    s->seen = calloc(q->n, sizeof *s->seen);
    bool good = s->want && s->got && s->plan && s->seen;
    for (size_t i = 0; i < q->n && good; i++) good = (s->seen[i] = calloc(q->part[i].cols, sizeof **s->seen)) != NULL;
    return good ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
}

static void release(search *s)
{
    for (size_t i = 0; i < s->quant->n && s->seen; i++) free(s->seen[i]);
    free(s->seen);
    free(s->plan);
    free(s->want);
    free(s->got);
}

/* Which layers' scores are compared: the exits of a cross-encoder too. */
static wr_status list_exits(search *s, wr_err *err)
{
    wr_model *model;
    wr_status st = wr_model_open(&model, s->dir, NULL, err);
    const wr_model_info *info = st ? NULL : wr_model_info_get(model);
    s->nexits = 1;
    for (size_t i = 0; info && info->kind == WR_MODEL_CROSS && i < info->nexits; i++)
        if (info->exit_layers[i] < info->layers) s->exit[s->nexits++] = info->exit_layers[i];
    wr_model_close(model);
    return st;
}

/* ---- the model's files ---- */

typedef struct files {
    wr_model_config config;
    wr_tensors *tensors;
    wr_weights weights;
} files;

static wr_status open_files(files *f, const char *dir, wr_err *err)
{
    *f = (files){0};
    wr_status st = wr_model_config_read(&f->config, dir, err);
    if (!st) st = wr_tensors_open(&f->tensors, f->config.base, err);
    return st ? st : wr_weights_init(&f->weights, f->tensors, f->config.base, err);
}

static void close_files(files *f)
{
    wr_weights_release(&f->weights);
    wr_tensors_close(f->tensors);
}

static wr_status refuse_bytes(const wr_tensors *tensors, const char *dir, wr_err *err)
{
    for (size_t i = 0; i < wr_tensors_count(tensors); i++)
        if (wr_tensors_at(tensors, i)->dtype == WR_I8)
            return wr_fail(err, WR_EARG, "%s: has weights of bytes (%s), a model of floats was expected", dir,
                           wr_tensors_at(tensors, i)->name);
    return WR_OK;
}

/* Opens what is to become bytes, and lists its parts. */
static wr_status begin(search *s, files *f, wr_err *err)
{
    wr_status st = open_files(f, s->dir, err);
    if (!st) st = refuse_bytes(f->tensors, s->dir, err);
    if (!st) st = list_parts(s->quant, &f->config, &f->weights, err);
    if (!st) st = list_exits(s, err);
    return st ? st : make_room(s, err);
}

static wr_status end(search *s, files *f, wr_status st)
{
    release(s);
    close_files(f);
    if (st) wr_quant_release(s->quant);
    return st;
}

/* ---- the whole search ---- */

wr_status wr_quant_decide(wr_quant *quant, const char *dir, const wr_probe *calibration, double max_loss, wr_pool *pool,
                          wr_quant_progress *progress, void *arg, wr_err *err)
{
    search s = {.quant = quant, .dir = dir, .probe = calibration, .pool = pool, .progress = progress, .arg = arg};
    files f;
    *quant = (wr_quant){0};
    wr_status st = begin(&s, &f, err);
    s.runs = (3 + sizeof exponents / sizeof *exponents) * quant->n;
    if (!st) st = run_floats(&s, true, err);
    if (!st) st = run_alone(&s, &f.weights, err);
    if (!st) st = run_in_order(&s, err);
    if (!st) st = choose(&s, max_loss, err);
    return end(&s, &f, st);
}

/* ---- the decisions of another ---- */

/* Sizes that all parts follow from: the same parts in the same order then, whatever the prefixes. */
static wr_status compare_shapes(const char *dir, const wr_model_config *c, const char *other, const wr_model_config *o,
                                wr_err *err)
{
    if (o->distil != c->distil)
        return wr_fail(err, WR_EARG, "%s: is a %s, a %s as in %s was expected", other, o->model_type, c->model_type,
                       dir);
    if (o->layers == c->layers && o->dim == c->dim && o->ffn == c->ffn && o->vocab == c->vocab) return WR_OK;
    return wr_fail(err, WR_EARG,
                   "%s: %zu layers of %zu dimensions, feed-forward %zu, %zu tokens; as in %s %zu of %zu, %zu and %zu "
                   "were expected",
                   other, o->layers, o->dim, o->ffn, o->vocab, dir, c->layers, c->dim, c->ffn, c->vocab);
}

/* The input scale of a matrix of bytes, borrowed from o; NULL when it has none. */
static wr_status scale_of(files *o, const char *stem, size_t cols, const float **scale, wr_err *err)
{
    char name[WR_MAX_TENSOR_NAME + 16];
    *scale = NULL;
    snprintf(name, sizeof name, "%s.input_scale", stem);
    if (!wr_weights_has(&o->weights, "", name)) return WR_OK;
    wr_status st = wr_weights_get(&o->weights, "", name, 0, cols, scale, err);
    for (size_t i = 0; i < cols && !st; i++)
        if (!isfinite((*scale)[i]) || (*scale)[i] <= 0)
            st = wr_fail(err, WR_EFORMAT, "tensor %s: a number above 0 was expected at place %zu", name, i);
    return st;
}

/* What one of their matrices is: whether bytes, and its input scale. Word embeddings have none. */
static wr_status look_at(files *o, const wr_quant_part *theirs, size_t i, bool *bytes, const float **scale, wr_err *err)
{
    char name[WR_MAX_TENSOR_NAME + 8];
    const wr_tensor *t;
    *scale = NULL;
    snprintf(name, sizeof name, "%s.weight", theirs->name[i]);
    wr_status st = wr_weights_find(&o->weights, "", name, theirs->rows, theirs->cols, &t, err);
    if (st) return st;
    *bytes = t->dtype == WR_I8;
    return *bytes && !theirs->table ? scale_of(o, theirs->name[i], theirs->cols, scale, err) : WR_OK;
}

static bool same_scale(const float *a, const float *b, size_t n)
{
    return !a == !b && (!a || !memcmp(a, b, n * sizeof *a));
}

/* Takes the decision over. The matrices of one product must share it; a decoder follows the embeddings, which both
 * models have. */
static wr_status adopt_part(wr_quant_part *p, files *o, const wr_quant_part *theirs, wr_err *err)
{
    const float *scale, *second;
    bool bytes;
    wr_status st = look_at(o, theirs, 0, &p->bytes, &scale, err);
    if (!st && !p->table && p->nnames > 1) {
        st = look_at(o, theirs, 1, &bytes, &second, err);
        if (!st && (bytes != p->bytes || !same_scale(scale, second, p->cols)))
            st = wr_fail(err, WR_EARG, "tensors %s and %s: one decision and one input scale for both were expected",
                         theirs->name[0], theirs->name[1]);
    }
    if (st || !scale) return st;
    p->migrate = malloc(p->cols * sizeof *p->migrate);
    if (!p->migrate) return wr_fail(err, WR_ENOMEM, "out of memory");
    memcpy(p->migrate, scale, p->cols * sizeof *p->migrate);
    return WR_OK;
}

static wr_status adopt_parts(wr_quant *quant, files *o, const char *other, wr_err *err)
{
    wr_quant theirs = {0};
    size_t bytes = 0;
    wr_status st = list_parts(&theirs, &o->config, &o->weights, err);
    for (size_t i = 0; i < quant->n && !st; i++) {
        if ((st = adopt_part(&quant->part[i], o, &theirs.part[i], err))) wr_fail_prefix(err, "%s", other);
        bytes += quant->part[i].bytes;
    }
    wr_quant_release(&theirs);
    if (st || bytes) return st;
    return wr_fail(err, WR_EARG, "%s: has no weights of bytes, a model that was quantized was expected", other);
}

wr_status wr_quant_adopt(wr_quant *quant, const char *dir, const char *other, const wr_probe *calibration,
                         wr_pool *pool, wr_quant_progress *progress, void *arg, wr_err *err)
{
    search s = {.quant = quant, .dir = dir, .probe = calibration, .pool = pool, .progress = progress, .arg = arg};
    files f, o = {0};
    *quant = (wr_quant){.adopted = true};
    s.runs = 2;
    wr_status st = begin(&s, &f, err);
    if (!st) st = open_files(&o, other, err);
    if (!st) st = compare_shapes(dir, &f.config, other, &o.config, err);
    if (!st) st = run_floats(&s, false, err); /* unmarks all parts */
    if (!st) st = adopt_parts(quant, &o, other, err);
    close_files(&o);
    if (!st) st = run(&s, &quant->loss, err);
    return end(&s, &f, st);
}
