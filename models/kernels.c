#include "models/kernels.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_sparse.h"

/* Compilers do not all know this one by name. Who has it and lets AVX2 be used has saved what it needs. */
static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static void init_ref(wr_kernels *table)
{
    wr_kernels_init_ref(table);
    wr_kernels_init_sparse_ref(table);
}

static void init_madd(wr_kernels *table)
{
    wr_kernels_init_avx2_s8(table);
    wr_kernels_init_avx2_sparse(table);
}

static void init_vnni(wr_kernels *table)
{
    wr_kernels_init_avx2_vnni(table);
    wr_kernels_init_avx2_vnni_sparse(table);
}

static void init_vnni_evex(wr_kernels *table)
{
    wr_kernels_init_avx2_vnni_evex(table);
    wr_kernels_init_avx2_vnni_evex_sparse(table);
}

static void init_avx2(wr_kernels *table)
{
    wr_kernels_init_avx2(table);
    init_madd(table);
    if (has_avxvnni()) init_vnni(table);
}

static void init_avx512(wr_kernels *table)
{
    wr_kernels_init_avx512(table);
    wr_kernels_init_avx512_s8(table);
}

static void init_avx512_vnni(wr_kernels *table)
{
    wr_kernels_init_avx512_vnni(table);
    wr_kernels_init_avx512_sparse(table);
    if (__builtin_cpu_supports("avx512bf16")) wr_kernels_init_avx512_bf16(table);
}

static const struct {
    const char *isa;
    void (*init)(wr_kernels *table);
} levels[] = {
    {"ref", init_ref},
    {"avx2", init_avx2},
    {"avx512", init_avx512},
    {"avx512_vnni", init_avx512_vnni},
};

enum { NLEVELS = sizeof levels / sizeof *levels };

/* The compiler's test looks at the operating system too: registers that it does not save are not there. */
static bool has(size_t level)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == 1) return avx2;
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (level == 2) return avx512;
    if (level == 3) return avx512 && __builtin_cpu_supports("avx512vnni");
    return true;
}

/* Each level fills in what it does better than the one before. */
static void fill(wr_kernels *table, size_t level)
{
    for (size_t i = 0; i <= level; i++) {
        levels[i].init(table);
        table->isa = levels[i].isa;
    }
}

/* What a level chooses between, one by one: an instruction beyond the name's that a CPU may have or not. */
static bool variant(const char *isa, wr_kernels *table)
{
    void (*init)(wr_kernels * table) = NULL;
    if (!strcmp(isa, "avx2_madd") && has(1)) init = init_madd;
    if (!strcmp(isa, "avx2_vnni") && has(1) && has_avxvnni()) init = init_vnni;
    if (!strcmp(isa, "avx2_vnni_evex") && has(3)) init = init_vnni_evex;
    if (!init) return false;
    fill(table, 1);
    init(table);
    return true;
}

int wr_kernels_for(const char *isa, wr_kernels *table)
{
    for (size_t i = 0; i < NLEVELS; i++) {
        if (strcmp(levels[i].isa, isa) || !has(i)) continue;
        fill(table, i);
        return true;
    }
    return variant(isa, table);
}

static wr_kernels chosen;

/* The best level of this CPU that is not above WEIR_ISA; a name that is none does not lower anything. */
static void choose(void)
{
    const char *cap = getenv("WEIR_ISA");
    size_t level = NLEVELS - 1;
    for (size_t i = 0; cap && i < NLEVELS; i++)
        if (!strcmp(levels[i].isa, cap)) level = i;
    while (!has(level)) level--;
    fill(&chosen, level);
}

const wr_kernels *wr_kernels_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return &chosen;
}

/* What the widest kernel needs: keys and values as 16-bit pairs, queries, and two tiles of 12 rows. */
size_t wr_attend_scratch(size_t nq, size_t n, size_t width)
{
    size_t keys = (n + 15) / 16 * 16, cols = (width + 31) / 32 * 32, most = keys > cols ? keys : cols;
    return 4 * (keys * cols / 2 + (n + 1) / 2 * cols + nq * cols / 2 + nq + 12 * (most + keys)) + 8 * 64;
}

size_t wr_kernels_packed(const wr_kernels *table, size_t out, size_t in)
{
    return (out + table->gemm_cols - 1) / table->gemm_cols * table->gemm_cols * in;
}

void wr_kernels_pack(const wr_kernels *table, const float *w, size_t out, size_t in, float *packed)
{
    table->pack_f32(w, in, out, in, 1, packed);
}
