#include "models/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/encoder.h"
#include "models/heads_mlm.h"
#include "models/model_config.h"
#include "models/safetensors_write.h"

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

/* fp32's scores, and what its layers meet: on one thread, as all write to the same place. */
static wr_status run_floats(search *s, wr_err *err)
{
    wr_quant *q = s->quant;
    wr_model *model;
    mark(q, false);
    wr_model_options options = {.precision = "fp32", .plan = s->plan, .nplan = wr_quant_plan(q, s->plan)};
    for (size_t i = 0, at = 0; i < q->n; at += q->part[i++].nnames)
        for (size_t k = 0; k < q->part[i].nnames; k++) s->plan[at + k].seen = s->seen[i];
    wr_status st = wr_model_open(&model, s->dir, &options, err);
    if (!st) st = score(s, model, NULL, s->want, err);
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

/* ---- the whole search ---- */

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

static wr_status refuse_bytes(const wr_tensors *tensors, const char *dir, wr_err *err)
{
    for (size_t i = 0; i < wr_tensors_count(tensors); i++)
        if (wr_tensors_at(tensors, i)->dtype == WR_I8)
            return wr_fail(err, WR_EARG, "%s: has weights of bytes (%s), a model of floats was expected", dir,
                           wr_tensors_at(tensors, i)->name);
    return WR_OK;
}

wr_status wr_quant_decide(wr_quant *quant, const char *dir, const wr_probe *calibration, double max_loss, wr_pool *pool,
                          wr_quant_progress *progress, void *arg, wr_err *err)
{
    search s = {.quant = quant, .dir = dir, .probe = calibration, .pool = pool, .progress = progress, .arg = arg};
    wr_model_config config;
    wr_tensors *tensors = NULL;
    wr_weights weights = {0};
    *quant = (wr_quant){0};
    wr_status st = wr_model_config_read(&config, dir, err);
    if (!st) st = wr_tensors_open(&tensors, config.base, err);
    if (!st) st = refuse_bytes(tensors, dir, err);
    if (!st) st = wr_weights_init(&weights, tensors, config.base, err);
    if (!st) st = list_parts(quant, &config, &weights, err);
    if (!st) st = list_exits(&s, err);
    if (!st) st = make_room(&s, err);
    s.runs = (3 + sizeof exponents / sizeof *exponents) * quant->n;
    if (!st) st = run_floats(&s, err);
    if (!st) st = run_alone(&s, &weights, err);
    if (!st) st = run_in_order(&s, err);
    if (!st) st = choose(&s, max_loss, err);
    release(&s);
    wr_weights_release(&weights);
    wr_tensors_close(tensors);
    if (st) wr_quant_release(quant);
    return st;
}

/* ---- writing ---- */

/* Tensors that are written; what was made for them is owned. */
typedef struct output {
    wr_tensor *tensor;
    size_t n;
    void **owned; /* [nowned] */
    size_t nowned;
} output;

static const wr_quant_part *part_of(const wr_quant *quant, const char *tensor)
{
    const char *dot = strrchr(tensor, '.');
    if (!dot || strcmp(dot, ".weight")) return NULL;
    size_t n = (size_t)(dot - tensor);
    for (size_t i = 0; i < quant->n; i++)
        for (size_t k = 0; k < quant->part[i].nnames; k++)
            if (quant->part[i].bytes && strlen(quant->part[i].name[k]) == n &&
                !memcmp(quant->part[i].name[k], tensor, n))
                return &quant->part[i];
    return NULL;
}

static void *own(output *out, size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (memory) out->owned[out->nowned++] = memory;
    return memory;
}

/* "X.weight" -> "X.weight_scale", "X.input_scale" beside it. */
static wr_status add_vector(output *out, const char *weight, const char *ending, const float *values, size_t n)
{
    size_t stem = strlen(weight) - strlen("weight"), cap = stem + strlen(ending) + 1;
    char *name = own(out, cap);
    if (!name) return WR_ENOMEM;
    snprintf(name, cap, "%.*s%s", (int)stem, weight, ending);
    out->tensor[out->n++] =
        (wr_tensor){.name = name, .dtype = WR_F32, .ndim = 1, .dim = {n}, .data = values, .bytes = n * sizeof *values};
    return WR_OK;
}

static wr_status add_bytes(output *out, const wr_tensor *t, const wr_quant_part *p, wr_err *err)
{
    size_t n = p->rows * p->cols;
    float *w = malloc(n * sizeof *w), *scale = own(out, p->rows * sizeof *scale);
    int8_t *q = own(out, n);
    wr_status st = w && scale && q ? wr_tensor_to_f32(t, w, n, err) : wr_fail(err, WR_ENOMEM, "out of memory");
    if (!st) {
        wr_round_rows(w, p->migrate, p->rows, p->cols, q, scale);
        wr_tensor *to = &out->tensor[out->n++];
        *to = *t;
        to->dtype = WR_I8;
        to->data = q;
        to->bytes = n;
        st = add_vector(out, t->name, "weight_scale", scale, p->rows);
        if (!st && p->migrate) st = add_vector(out, t->name, "input_scale", p->migrate, p->cols);
        if (st) wr_fail(err, st, "out of memory");
    }
    free(w);
    return st;
}

static wr_status collect(output *out, const wr_quant *quant, const wr_tensors *tensors, wr_err *err)
{
    size_t n = wr_tensors_count(tensors);
    out->tensor = calloc(3 * n, sizeof *out->tensor);
    out->owned = calloc(4 * n, sizeof *out->owned); /* bytes, scale, and two names */
    wr_status st = out->tensor && out->owned ? WR_OK : wr_fail(err, WR_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !st; i++) {
        const wr_tensor *t = wr_tensors_at(tensors, i);
        const wr_quant_part *p = part_of(quant, t->name);
        if (p)
            st = add_bytes(out, t, p, err);
        else
            out->tensor[out->n++] = *t;
    }
    return st;
}

wr_status wr_quant_write(const wr_quant *quant, const char *from, const char *to, wr_err *err)
{
    output out = {0};
    wr_model_config config;
    wr_tensors *tensors = NULL;
    wr_status st = wr_model_config_read(&config, from, err);
    if (!st) st = wr_tensors_open(&tensors, config.base, err);
    if (!st) st = collect(&out, quant, tensors, err);
    if (!st) st = wr_model_dir_write(from, to, out.tensor, out.n, err);
    for (size_t i = 0; i < out.nowned; i++) free(out.owned[i]);
    free(out.owned);
    free(out.tensor);
    wr_tensors_close(tensors);
    return st;
}
