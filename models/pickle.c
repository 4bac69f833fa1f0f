#include "models/pickle.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A state dict has some 300 bytes of pickle a tensor, so this is 50,000 tensors. It also keeps indices in 32 bits. */
#define MAX_PICKLE ((size_t)16 << 20)

/* The globals that may be named. */
enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_CLASS };

static const struct {
    const char *module, *name;
    int which;
    wr_dtype dtype;
    uint32_t bytes;
} globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, WR_OTHER_DTYPE, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, WR_OTHER_DTYPE, 0},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR, WR_OTHER_DTYPE, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, WR_OTHER_DTYPE, 0},
    {"torch", "FloatStorage", STORAGE_CLASS, WR_F32, 4},
    {"torch", "HalfStorage", STORAGE_CLASS, WR_F16, 2},
    {"torch", "BFloat16Storage", STORAGE_CLASS, WR_BF16, 2},
    {"torch", "LongStorage", STORAGE_CLASS, WR_I64, 8},
    {"torch", "IntStorage", STORAGE_CLASS, WR_I32, 4},
    {"torch", "CharStorage", STORAGE_CLASS, WR_I8, 1},
    {"torch", "ByteStorage", STORAGE_CLASS, WR_U8, 1},
    {"torch", "ShortStorage", STORAGE_CLASS, WR_OTHER_DTYPE, 2},
    {"torch", "DoubleStorage", STORAGE_CLASS, WR_OTHER_DTYPE, 8},
    {"torch", "BoolStorage", STORAGE_CLASS, WR_OTHER_DTYPE, 1},
};

enum { NGLOBALS = sizeof globals / sizeof *globals };

typedef struct machine {
    const unsigned char *bytes;
    size_t n, at;
    const char *path;
    wr_err *err;
    wr_pickle *out;
    uint32_t nodes_cap, links_cap;
    uint32_t *stack, *memo; /* node indices; WR_PICKLE_END in stack is a mark, in memo nothing yet */
    uint32_t nstack, stack_cap, nmemo, memo_cap;
} machine;

static wr_status bad(machine *m, const char *what)
{
    return wr_fail(m->err, WR_EFORMAT, "%s: pickle, byte %zu: %s", m->path, m->at, what);
}

static wr_status no_memory(machine *m)
{
    return wr_fail(m->err, WR_ENOMEM, "%s: out of memory", m->path);
}

/* Room for one more element of size bytes. */
static bool grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
    void *more, **at = array;
    if (n < *cap) return true;
    uint32_t wanted = *cap ? 2 * *cap : 256;
    if (!(more = realloc(*at, wanted * size))) return false;
    *at = more;
    *cap = wanted;
    return true;
}

/* ---- reading ---- */

static wr_status take(machine *m, size_t n, const unsigned char **out)
{
    *out = m->bytes + m->at;
    if (n > m->n - m->at) return bad(m, "ends in the middle of a value");
    m->at += n;
    return WR_OK;
}

/* A little-endian number of n <= 8 bytes. */
static wr_status take_number(machine *m, size_t n, uint64_t *out)
{
    const unsigned char *p;
    wr_status st = take(m, n, &p);
    *out = 0;
    for (size_t i = 0; i < n && !st; i++) *out |= (uint64_t)p[i] << (8 * i);
    return st;
}

static wr_status take_line(machine *m, const char **text, size_t *n)
{
    const unsigned char *start = m->bytes + m->at, *end = memchr(start, '\n', m->n - m->at);
    if (!end) return bad(m, "a line without an end");
    *text = (const char *)start;
    *n = (size_t)(end - start);
    m->at += *n + 1;
    return WR_OK;
}

/* ---- the stack ---- */

static wr_status push(machine *m, uint32_t index)
{
    if (!grow(&m->stack, m->nstack, &m->stack_cap, sizeof *m->stack)) return no_memory(m);
    m->stack[m->nstack++] = index;
    return WR_OK;
}

static wr_status push_new(machine *m, wr_pickle_node node)
{
    if (!grow(&m->out->node, m->out->nnodes, &m->nodes_cap, sizeof *m->out->node)) return no_memory(m);
    m->out->node[m->out->nnodes] = node;
    return push(m, m->out->nnodes++);
}

static wr_status push_number(machine *m, wr_pickle_kind kind, int64_t number)
{
    return push_new(m, (wr_pickle_node){.kind = kind, .number = number});
}

static wr_status push_string(machine *m, uint64_t n)
{
    const unsigned char *p;
    if (n > UINT32_MAX) return bad(m, "a string longer than the file");
    wr_status st = take(m, (size_t)n, &p);
    if (st) return st;
    return push_new(m, (wr_pickle_node){.kind = WR_PICKLE_STRING, .text = (const char *)p, .n = (uint32_t)n});
}

static wr_status push_container(machine *m, wr_pickle_kind kind)
{
    return push_new(m, (wr_pickle_node){.kind = kind, .first = WR_PICKLE_END, .last = WR_PICKLE_END});
}

static wr_status pop(machine *m, uint32_t *index)
{
    if (!m->nstack || m->stack[m->nstack - 1] == WR_PICKLE_END) return bad(m, "nothing left on the stack");
    *index = m->stack[--m->nstack];
    return WR_OK;
}

/* Index in the stack behind the topmost mark. */
static wr_status find_mark(machine *m, uint32_t *begin)
{
    for (uint32_t i = m->nstack; i > 0; i--) {
        if (m->stack[i - 1] != WR_PICKLE_END) continue;
        *begin = i;
        return WR_OK;
    }
    return bad(m, "no mark on the stack");
}

static const wr_pickle_node *top(machine *m)
{
    if (!m->nstack || m->stack[m->nstack - 1] == WR_PICKLE_END) return NULL;
    return &m->out->node[m->stack[m->nstack - 1]];
}

/* ---- containers ---- */

static wr_status add_link(machine *m, uint32_t container, uint32_t key, uint32_t value)
{
    wr_pickle *p = m->out;
    if (!grow(&p->link, p->nlinks, &m->links_cap, sizeof *p->link)) return no_memory(m);
    wr_pickle_node *node = &p->node[container];
    p->link[p->nlinks] = (wr_pickle_link){key, value, WR_PICKLE_END};
    if (node->first == WR_PICKLE_END)
        node->first = p->nlinks;
    else
        p->link[node->last].next = p->nlinks;
    node->last = p->nlinks++;
    node->n++;
    return WR_OK;
}

/* stack[begin..] becomes items or pairs of the container below begin (and below the mark, if there was one). */
static wr_status append(machine *m, uint32_t begin, uint32_t marks, wr_pickle_kind kind)
{
    uint32_t step = kind == WR_PICKLE_DICT ? 2 : 1, end = m->nstack;
    if (begin < marks + 1 || m->stack[begin - marks - 1] == WR_PICKLE_END) return bad(m, "no container on the stack");
    uint32_t container = m->stack[begin - marks - 1];
    if (m->out->node[container].kind != kind || (end - begin) % step) return bad(m, "items for no such container");
    for (uint32_t i = begin; i < end; i += step) {
        wr_status st = add_link(m, container, m->stack[i], m->stack[i + step - 1]);
        if (st) return st;
    }
    m->nstack = begin - marks;
    return WR_OK;
}

static wr_status append_marked(machine *m, wr_pickle_kind kind)
{
    uint32_t begin = 0;
    wr_status st = find_mark(m, &begin);
    return st ? st : append(m, begin, 1, kind);
}

static wr_status append_top(machine *m, wr_pickle_kind kind)
{
    uint32_t items = kind == WR_PICKLE_DICT ? 2 : 1;
    if (m->nstack < items) return bad(m, "nothing left on the stack");
    for (uint32_t i = m->nstack - items; i < m->nstack; i++)
        if (m->stack[i] == WR_PICKLE_END) return bad(m, "a mark where a value belongs");
    return append(m, m->nstack - items, 0, kind);
}

/* stack[begin..] becomes one new tuple or list; a mark below begin goes too. */
static wr_status collect(machine *m, uint32_t begin, uint32_t marks, wr_pickle_kind kind)
{
    uint32_t end = m->nstack;
    for (uint32_t i = begin; i < end; i++)
        if (m->stack[i] == WR_PICKLE_END) return bad(m, "a mark where a value belongs");
    wr_status st = push_container(m, kind);
    if (st) return st;
    uint32_t made = m->stack[end];
    for (uint32_t i = begin; i < end; i++)
        if ((st = add_link(m, made, m->stack[i], m->stack[i]))) return st;
    m->stack[begin - marks] = made;
    m->nstack = begin - marks + 1;
    return WR_OK;
}

static wr_status collect_marked(machine *m, wr_pickle_kind kind)
{
    uint32_t begin = 0;
    wr_status st = find_mark(m, &begin);
    return st ? st : collect(m, begin, 1, kind);
}

static wr_status collect_top(machine *m, uint32_t items)
{
    if (m->nstack < items) return bad(m, "nothing left on the stack");
    return collect(m, m->nstack - items, 0, WR_PICKLE_TUPLE);
}

/* The values of a tuple, at most max of them; returns how many it has. */
static uint32_t items_of(const wr_pickle *p, const wr_pickle_node *tuple, uint32_t *item, uint32_t max)
{
    uint32_t i = 0;
    for (uint32_t at = tuple->first; at != WR_PICKLE_END && i < max; at = p->link[at].next) item[i++] = p->link[at].value;
    return tuple->n;
}

/* ---- globals, calls, storages ---- */

static bool same(const char *text, size_t n, const char *word)
{
    return n == strlen(word) && !memcmp(text, word, n);
}

static wr_status push_global(machine *m, const char *module, size_t module_len, const char *name, size_t name_len)
{
    for (size_t i = 0; i < NGLOBALS; i++)
        if (same(module, module_len, globals[i].module) && same(name, name_len, globals[i].name))
            return push_new(m, (wr_pickle_node){.kind = WR_PICKLE_GLOBAL,
                                                .number = globals[i].which,
                                                .dtype = globals[i].dtype,
                                                .bytes = globals[i].bytes});
    return wr_fail(m->err, WR_EUNSUPPORTED, "%s: the pickle asks for %.*s.%.*s, expected tensors only", m->path,
                   (int)(module_len < 100 ? module_len : 100), module, (int)(name_len < 100 ? name_len : 100), name);
}

static wr_status global_lines(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_len = 0, name_len = 0;
    wr_status st = take_line(m, &module, &module_len);
    if (!st) st = take_line(m, &name, &name_len);
    return st ? st : push_global(m, module, module_len, name, name_len);
}

static wr_status global_stack(machine *m)
{
    uint32_t module = 0, name = 0;
    wr_status st = pop(m, &name);
    if (!st) st = pop(m, &module);
    if (st) return st;
    const wr_pickle_node *a = &m->out->node[module], *b = &m->out->node[name];
    if (a->kind != WR_PICKLE_STRING || b->kind != WR_PICKLE_STRING) return bad(m, "a global without a name");
    return push_global(m, a->text, a->n, b->text, b->n);
}

/* ('storage', class, key, location, elements), and in old streams a sixth: the view, None. */
static wr_status persistent_id(machine *m)
{
    uint32_t id = 0, item[6] = {0};
    wr_status st = pop(m, &id);
    if (st) return st;
    const wr_pickle_node *node = m->out->node;
    if (node[id].kind != WR_PICKLE_TUPLE) return bad(m, "a persistent id that is no tuple");
    uint32_t n = items_of(m->out, &node[id], item, 6);
    if (n < 5 || n > 6 || node[item[0]].kind != WR_PICKLE_STRING || !same(node[item[0]].text, node[item[0]].n, "storage"))
        return bad(m, "a persistent id that is no storage");
    const wr_pickle_node *class = &node[item[1]], *key = &node[item[2]], *elements = &node[item[4]];
    if (class->kind != WR_PICKLE_GLOBAL || class->number != STORAGE_CLASS || key->kind != WR_PICKLE_STRING ||
        elements->kind != WR_PICKLE_INT || elements->number < 0)
        return bad(m, "a storage without class, key or size");
    if (n == 6 && node[item[5]].kind != WR_PICKLE_NONE) return bad(m, "a storage that is a view of another");
    return push_new(m, (wr_pickle_node){.kind = WR_PICKLE_STORAGE,
                                        .dtype = class->dtype,
                                        .bytes = class->bytes,
                                        .number = elements->number,
                                        .text = key->text,
                                        .n = key->n});
}

/* (storage, offset, shape, stride, ...): the rest says whether gradients are wanted. */
static wr_status rebuild_tensor(machine *m, const wr_pickle_node *args)
{
    uint32_t item[4] = {0};
    const wr_pickle_node *node = m->out->node;
    if (items_of(m->out, args, item, 4) < 4) return bad(m, "a tensor with too few parts");
    if (node[item[0]].kind != WR_PICKLE_STORAGE || node[item[1]].kind != WR_PICKLE_INT || node[item[1]].number < 0 ||
        node[item[2]].kind != WR_PICKLE_TUPLE || node[item[3]].kind != WR_PICKLE_TUPLE)
        return bad(m, "a tensor without storage, offset, shape or stride");
    return push_new(m, (wr_pickle_node){.kind = WR_PICKLE_TENSOR,
                                        .number = node[item[1]].number,
                                        .storage = item[0],
                                        .shape = item[2],
                                        .stride = item[3]});
}

static wr_status call(machine *m)
{
    uint32_t args = 0, function = 0, item[1] = {0};
    wr_status st = pop(m, &args);
    if (!st) st = pop(m, &function);
    if (st) return st;
    const wr_pickle_node *a = &m->out->node[args], *f = &m->out->node[function];
    if (f->kind != WR_PICKLE_GLOBAL || a->kind != WR_PICKLE_TUPLE) return bad(m, "a call of something else");
    if (f->number == ORDERED_DICT && a->n == 0) return push_container(m, WR_PICKLE_DICT);
    if (f->number == REBUILD_TENSOR) return rebuild_tensor(m, a);
    if (f->number == REBUILD_PARAMETER && items_of(m->out, a, item, 1) >= 1) return push(m, item[0]);
    return bad(m, "a call with arguments that do not belong to it");
}

/* Attributes of an object (a dict's _metadata): of no use here. */
static wr_status build(machine *m)
{
    uint32_t state;
    wr_status st = pop(m, &state);
    if (st) return st;
    const wr_pickle_node *object = top(m);
    return object && object->kind == WR_PICKLE_DICT ? WR_OK : bad(m, "attributes for something else than a dict");
}

/* ---- the memo ---- */

static wr_status memo_put(machine *m, uint64_t slot)
{
    if (!top(m)) return bad(m, "nothing to remember");
    if (slot > m->at) return bad(m, "a memo index that is out of range"); /* a pickle counts up, byte by byte */
    while (m->nmemo <= slot) {
        if (!grow(&m->memo, m->nmemo, &m->memo_cap, sizeof *m->memo)) return no_memory(m);
        m->memo[m->nmemo++] = WR_PICKLE_END;
    }
    m->memo[slot] = m->stack[m->nstack - 1];
    return WR_OK;
}

static wr_status memo_get(machine *m, uint64_t slot)
{
    if (slot >= m->nmemo || m->memo[slot] == WR_PICKLE_END) return bad(m, "a memo index that was never written");
    return push(m, m->memo[slot]);
}

/* ---- opcodes ---- */

/* Integers beyond 64 bits appear in no state dict but for the magic number of old streams: kept as its low bits. */
static wr_status long_int(machine *m)
{
    uint64_t length, low = 0;
    const unsigned char *p;
    wr_status st = take_number(m, 1, &length);
    if (!st) st = take(m, (size_t)length, &p);
    if (st) return st;
    for (size_t i = 0; i < length && i < 8; i++) low |= (uint64_t)p[i] << (8 * i);
    if (length && length < 8 && p[length - 1] & 0x80) low |= UINT64_MAX << (8 * length);
    return push_number(m, WR_PICKLE_INT, (int64_t)low);
}

/* Opcodes whose operand is a number of n bytes behind them; 0 for the others. */
static size_t operand_bytes(unsigned char op)
{
    switch (op) {
    case 'K': case 0x80: case 'q': case 'h': case 0x8c: case 'U': return 1;
    case 'M': return 2;
    case 'J': case 'X': case 'r': case 'j': case 'T': return 4;
    case 0x95: case 0x8d: return 8;
    default: return 0;
    }
}

static wr_status execute(machine *m, unsigned char op, uint64_t x)
{
    const unsigned char *skip;
    switch (op) {
    case 0x80: return x >= 2 && x <= 5 ? WR_OK : bad(m, "a protocol that is not 2 to 5"); /* PROTO            */
    case 0x95: return WR_OK;                                                              /* FRAME            */
    case '(': return push(m, WR_PICKLE_END);                                              /* MARK             */
    case 'N': return push_number(m, WR_PICKLE_NONE, 0);
    case 0x88: case 0x89: return push_number(m, WR_PICKLE_BOOL, op == 0x88);
    case 'K': case 'M': return push_number(m, WR_PICKLE_INT, (int64_t)x);                 /* BININT1, BININT2 */
    case 'J': return push_number(m, WR_PICKLE_INT, (int32_t)(uint32_t)x);                 /* BININT           */
    case 0x8a: return long_int(m);                                                        /* LONG1            */
    case 'G': return take(m, 8, &skip) ? WR_EFORMAT : push_number(m, WR_PICKLE_FLOAT, 0); /* BINFLOAT         */
    case 'X': case 0x8c: case 0x8d: case 'T': case 'U': return push_string(m, x);         /* unicode, bytes   */
    case '}': return push_container(m, WR_PICKLE_DICT);
    case ']': return push_container(m, WR_PICKLE_LIST);
    case ')': return push_container(m, WR_PICKLE_TUPLE);
    case 't': return collect_marked(m, WR_PICKLE_TUPLE);
    case 'l': return collect_marked(m, WR_PICKLE_LIST);
    case 0x85: case 0x86: case 0x87: return collect_top(m, op - 0x84u);                   /* TUPLE1..3        */
    case 'a': return append_top(m, WR_PICKLE_LIST);
    case 'e': return append_marked(m, WR_PICKLE_LIST);
    case 's': return append_top(m, WR_PICKLE_DICT);
    case 'u': return append_marked(m, WR_PICKLE_DICT);
    case 'q': case 'r': return memo_put(m, x);
    case 0x94: return memo_put(m, m->nmemo);                                              /* MEMOIZE          */
    case 'h': case 'j': return memo_get(m, x);
    case 'c': return global_lines(m);
    case 0x93: return global_stack(m);
    case 'Q': return persistent_id(m);                                                    /* BINPERSID        */
    case 'R': return call(m);                                                             /* REDUCE           */
    case 'b': return build(m);
    default: break;
    }
    return wr_fail(m->err, WR_EUNSUPPORTED, "%s: pickle, byte %zu: opcode 0x%02x is not one a state dict needs",
                   m->path, m->at - 1, op);
}

static wr_status run(machine *m)
{
    for (;;) {
        const unsigned char *op;
        uint64_t x = 0;
        wr_status st = take(m, 1, &op);
        if (!st && *op == '.') return pop(m, &m->out->root);
        if (!st) st = take_number(m, operand_bytes(*op), &x);
        if (!st) st = execute(m, *op, x);
        if (st) return st;
    }
}

wr_status wr_pickle_read(wr_pickle *pickle, const unsigned char *bytes, size_t n, size_t *used, const char *path,
                         wr_err *err)
{
    *pickle = (wr_pickle){0};
    machine m = {.bytes = bytes, .n = n < MAX_PICKLE ? n : MAX_PICKLE, .path = path, .err = err, .out = pickle};
    wr_status st = run(&m);
    *used = m.at;
    free(m.stack);
    free(m.memo);
    if (st) wr_pickle_release(pickle);
    return st;
}

void wr_pickle_release(wr_pickle *pickle)
{
    free(pickle->node);
    free(pickle->link);
    *pickle = (wr_pickle){0};
}
