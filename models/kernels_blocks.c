#include "models/kernels_blocks.h"

#include <pthread.h>
#include <string.h>

#include "models/kernels.h"

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

int32_t wr_block_offset(wr_block_type type)
{
    static const int32_t offset[WR_BLOCK_TYPES] = {[WR_BLOCK_Q8_0] = 128, [WR_BLOCK_Q4_0] = 8, [WR_BLOCK_Q6_K] = 32};
    return offset[type];
}

wr_block_shape wr_block_shape_of(const wr_blocks *w)
{
    if (!wr_block_is_quantized(w->type)) return (wr_block_shape){.bytes = lines(w->in * sizeof(float))};
    wr_block_shape shape = {.scale = lines(w->in)};
    shape.extra = shape.scale + w->in / 32 * sizeof(float);
    shape.bytes = lines(shape.extra + w->in / wr_block_group(w->type) * sizeof(float));
    return shape;
}

size_t wr_block_input_bytes(const wr_blocks *w, size_t rows)
{
    return rows * wr_block_shape_of(w).bytes;
}

bool wr_block_input_fits(const wr_blocks *a, const wr_blocks *b)
{
    bool quantized = wr_block_is_quantized(a->type);
    return a->in == b->in && quantized == wr_block_is_quantized(b->type) &&
           wr_block_offset(a->type) == wr_block_offset(b->type);
}

void wr_block_input(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *input)
{
    size_t bytes = wr_block_shape_of(w).bytes;
    if (wr_block_is_quantized(w->type))
        wr_block_kernels_get()->input(w, x, x_stride, rows, input);
    else
        for (size_t r = 0; r < rows; r++) memcpy((char *)input + r * bytes, x + r * x_stride, w->in * sizeof *x);
}

size_t wr_block_scratch_bytes(const wr_blocks *w)
{
    (void)w; /* a panel's part has the same size whatever the matrix */
    return WR_BLOCK_PANEL_BYTES;
}

void wr_block_gemm(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y,
                   size_t y_stride, void *scratch)
{
    const wr_block_kernels *k = wr_block_kernels_get();
    (wr_block_is_quantized(w->type) ? k->gemm : k->gemm_float)(w, input, rows, from, to, y, y_stride, scratch);
}

/* ---- which instruction set ---- */

static void init_madd(wr_block_kernels *table)
{
    wr_block_kernels_ref(table);
    wr_block_kernels_avx2(table);
    wr_block_kernels_avx2_float(table);
}

static void init_vnni(wr_block_kernels *table)
{
    init_madd(table);
    wr_block_kernels_avx2_vnni(table);
}

static void init_vnni_evex(wr_block_kernels *table)
{
    init_madd(table);
    wr_block_kernels_avx2_vnni_evex(table);
}

/* AVX-VNNI where it is: which CPUs have it, models/kernels.c knows. */
static void init_avx2(wr_block_kernels *table)
{
    wr_kernels cpu;
    (wr_kernels_for("avx2_vnni", &cpu) ? init_vnni : init_madd)(table);
}

/* Without VNNI, 512 bits gain nothing with bytes that would be worth a file. */
static void init_avx512(wr_block_kernels *table)
{
    init_avx2(table);
    wr_block_kernels_avx512_float(table);
}

static void init_avx512_vnni(wr_block_kernels *table)
{
    init_avx512(table);
    wr_block_kernels_avx512_vnni(table);
}

static const struct {
    const char *isa;
    void (*init)(wr_block_kernels *table);
} levels[] = {
    {"ref", wr_block_kernels_ref},      {"avx2", init_avx2},      {"avx512", init_avx512},
    {"avx512_vnni", init_avx512_vnni},  {"avx2_madd", init_madd}, {"avx2_vnni", init_vnni},
    {"avx2_vnni_evex", init_vnni_evex},
};

enum { NLEVELS = sizeof levels / sizeof *levels };

bool wr_block_kernels_for(const char *isa, wr_block_kernels *table)
{
    wr_kernels cpu;
    for (size_t i = 0; i < NLEVELS; i++) {
        if (strcmp(levels[i].isa, isa) || !wr_kernels_for(isa, &cpu)) continue;
        levels[i].init(table);
        table->isa = levels[i].isa;
        return true;
    }
    return false;
}

static wr_block_kernels chosen;

static void choose(void)
{
    if (!wr_block_kernels_for(wr_kernels_get()->isa, &chosen)) wr_block_kernels_for("ref", &chosen);
}

const wr_block_kernels *wr_block_kernels_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return &chosen;
}
