/* Products with blocks in 512-bit registers, by vpdpbusd: four bytes a lane, weights unsigned (too large by
 * wr_block_offset(), which the inputs' sums take off again), inputs signed.
 *
 * Many rows: a panel of 32 outputs x 512 inputs is unpacked to groups of four inputs of 16 outputs, a lane each, and
 * multiplied with tiles of 6 rows x 2 vectors (12 sums of integers, 12 of floats, two weights and one broadcast input).
 * One long row: 64 inputs of 16 outputs are multiplied as they lie in the blocks, and the lanes that belong to a group
 * of inputs are added up, which leaves 16 outputs in a register again. */
#include <string.h>

#include "models/kernels_avx512_lanes.h"
#include "models/kernels_blocks.h"

enum { LANES = 16, COLS = 2 * LANES, ROWS = 6, DEPTH = 512, BLOCKS = DEPTH / 32 };
/* Rows up to which half as many outputs at a time, with the next ones, have room in the first-level cache, so that one
 * row of activations is better multiplied in narrow registers: 15 -> 20 GB/s of Q8_0 from memory, rows of 896. */
enum { SHORT = 1280 };

typedef struct panel {
    uint8_t w[BLOCKS][8][COLS][4];
    float scale[2 * BLOCKS][COLS]; /* of groups of 32 or 16 inputs */
    float min[BLOCKS][COLS];       /* negative                     */
} panel;

/* What a product is about; constants and pointers that every step needs. */
typedef struct job {
    const uint8_t *data;  /* of the weights                  */
    size_t row, from, in; /* bytes of an output's row        */
    const char *x;        /* rows of activations             */
    wr_block_shape shape;
} job;

/* See kernels_avx512_s8.h. */
typedef int32_t sums __attribute__((vector_size(64)));

INLINE size_t group_of(wr_block_type type)
{
    return type == WR_BLOCK_Q6_K ? 16 : 32;
}

INLINE bool has_min(wr_block_type type)
{
    return type == WR_BLOCK_Q4_K || type == WR_BLOCK_Q5_K;
}

INLINE size_t values_of(wr_block_type type)
{
    return type == WR_BLOCK_Q8_0 || type == WR_BLOCK_Q4_0 ? 32 : 256;
}

INLINE size_t bytes_of(wr_block_type type)
{
    return type == WR_BLOCK_Q8_0   ? 34
           : type == WR_BLOCK_Q4_0 ? 18
           : type == WR_BLOCK_Q4_K ? 144
           : type == WR_BLOCK_Q5_K ? 176
                                   : 210;
}

/* ---- 64 weights of one output as unsigned bytes, in order ---- */

INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m512i join(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE __m256i q4_0(const uint8_t *block)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

/* Two blocks, or one and zeros. */
INLINE __m512i load_simple(wr_block_type type, const uint8_t *block, bool two)
{
    if (type == WR_BLOCK_Q8_0) {
        __m256i next = two ? load32(block + 36) : _mm256_set1_epi8(-128);
        return _mm512_xor_si512(join(load32(block + 2), next), _mm512_set1_epi8(-128));
    }
    return join(q4_0(block), two ? q4_0(block + 18) : _mm256_setzero_si256());
}

INLINE __m512i nibbles(const uint8_t *p)
{
    __m256i v = load32(p);
    return _mm512_and_si512(join(v, _mm256_srli_epi16(v, 4)), _mm512_set1_epi8(15));
}

/* Quarter p of a block of 256. */
INLINE __m512i load_q5_k(const uint8_t *block, size_t p)
{
    __m512i bit = join(_mm256_set1_epi8((char)(1 << 2 * p)), _mm256_set1_epi8((char)(2 << 2 * p)));
    __mmask64 fifth = _mm512_test_epi8_mask(_mm512_broadcast_i64x4(load32(block + 16)), bit);
    __m512i low = nibbles(block + 48 + 32 * p);
    return _mm512_mask_add_epi8(low, fifth, low, _mm512_set1_epi8(16));
}

INLINE __m512i load_q6_k(const uint8_t *block, size_t p)
{
    __m512i low = _mm512_loadu_si512(block + p / 2 * 64);
    __m256i high = load32(block + 128 + p / 2 * 32);
    if (p % 2) low = _mm512_srli_epi16(low, 4), high = _mm256_srli_epi16(high, 4);
    __m512i bits = _mm512_and_si512(join(high, _mm256_srli_epi16(high, 2)), _mm512_set1_epi8(3));
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)), _mm512_slli_epi16(bits, 4));
}

/* Inputs i to i + 64 behind `data`, the beginning of a block; i a multiple of 64. */
INLINE __m512i load64(wr_block_type type, const uint8_t *data, size_t i, bool two)
{
    if (values_of(type) == 32) return load_simple(type, data + i / 32 * bytes_of(type), two);
    const uint8_t *block = data + i / 256 * bytes_of(type);
    size_t p = i / 64 % 4;
    if (type == WR_BLOCK_Q4_K) return nibbles(block + 16 + 32 * p);
    return type == WR_BLOCK_Q5_K ? load_q5_k(block, p) : load_q6_k(block, p);
}

/* ---- scales of 16 outputs ---- */

INLINE float half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

/* The eight scales, then the eight minima of 6 bits, as bytes: see wr_block_open(). */
INLINE __m128i six_bits(const uint8_t *block)
{
    uint32_t a, b, c;
    memcpy(&a, block + 4, 4);
    memcpy(&b, block + 8, 4);
    memcpy(&c, block + 12, 4);
    uint32_t scale = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030), min = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    return _mm_setr_epi32((int)(a & 0x3f3f3f3f), (int)scale, (int)(b & 0x3f3f3f3f), (int)min);
}

INLINE __m512 scales_of_256(wr_block_type type, const uint8_t *block)
{
    if (type == WR_BLOCK_Q6_K) {
        __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(block + 192));
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(s)), _mm512_set1_ps(half(block + 208)));
    }
    __m512 parts = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(six_bits(block)));
    __m512 d = _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(half(block)), _mm512_set1_ps(-half(block + 2)));
    return _mm512_mul_ps(parts, d);
}

/* The halves at the beginning of 16 blocks. Inserted one by one: by way of memory they take twice as long, since a load
 * of what several stores have just written waits for all of them. */
#define HALF(v, lane) memcpy(&h, data[lane] + at, 2), v = _mm_insert_epi16(v, (int16_t)h, (lane) % 8)
#define HALVES(v, from)                                                                                                \
    HALF(v, from), HALF(v, from + 1), HALF(v, from + 2), HALF(v, from + 3), HALF(v, from + 4), HALF(v, from + 5),      \
        HALF(v, from + 6), HALF(v, from + 7)

INLINE __m512 halves(const uint8_t *const data[LANES], size_t at)
{
    uint16_t h;
    __m128i low = _mm_setzero_si128(), high = low;
    HALVES(low, 0);
    HALVES(high, 8);
    return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}

/* scale and min of n inputs of 16 outputs; data[lane] is the beginning of a block. */
INLINE void unpack_scales(wr_block_type type, const uint8_t *const data[LANES], size_t n, panel *to, size_t half_panel)
{
    size_t at = half_panel * LANES, bytes = bytes_of(type);
    if (values_of(type) == 32) {
        for (size_t b = 0; b < n / 32; b++) _mm512_store_ps(&to->scale[b][at], halves(data, b * bytes));
        return;
    }
    for (size_t b = 0; b < n / 256; b++) {
        __m512i part[LANES];
        UNROLL for (size_t lane = 0; lane < LANES; lane++) part[lane] =
            _mm512_castps_si512(scales_of_256(type, data[lane] + b * bytes));
        transpose(part);
        if (type == WR_BLOCK_Q6_K)
            UNROLL for (size_t g = 0; g < 16; g++) _mm512_store_si512(&to->scale[16 * b + g][at], part[g]);
        else
            UNROLL for (size_t g = 0; g < 8; g++)
            {
                _mm512_store_si512(&to->scale[8 * b + g][at], part[g]);
                _mm512_store_si512(&to->min[8 * b + g][at], part[g + 8]);
            }
    }
}

/* ---- many rows ---- */

/* Where inputs from i on of 16 outputs from o on begin; those beyond `to` are the last one again. */
INLINE void places(wr_block_type type, const job *j, size_t o, size_t to, size_t i, const uint8_t *data[LANES])
{
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t output = o + lane < to ? o + lane : to - 1;
        data[lane] = j->data + output * j->row + i / values_of(type) * bytes_of(type);
    }
}

INLINE void unpack(wr_block_type type, const uint8_t *const data[LANES], size_t n, panel *to, size_t half_panel)
{
    for (size_t i = 0; i < n; i += 64) {
        bool two = i + 64 <= n;
        __m512i v[LANES];
        UNROLL for (size_t lane = 0; lane < LANES; lane++) v[lane] = load64(type, data[lane], i, two);
        transpose(v);
        for (size_t k = 0; k < 8; k++) _mm512_store_si512(to->w[i / 32][k][half_panel * LANES], v[k]);
        for (size_t k = 0; k < 8 && two; k++) _mm512_store_si512(to->w[i / 32 + 1][k][half_panel * LANES], v[k + 8]);
    }
    unpack_scales(type, data, n, to, half_panel);
}

INLINE __m512i broadcast(const void *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

INLINE __m512 broadcast_float(const void *x)
{
    float v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_ps(v);
}

/* n inputs from i on of `rows` rows, added to sum. */
INLINE void tile(wr_block_type type, size_t rows, const job *j, const char *x, size_t i, size_t n, const panel *p,
                 __m512 sum[ROWS][2])
{
    size_t group = group_of(type), steps = group / 4;
    for (size_t g = 0; g < n / group; g++) {
        sums s[ROWS][2];
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            const char *extra = x + r * j->shape.bytes + j->shape.extra + (i / group + g) * 4;
            s[r][0] = s[r][1] = has_min(type) ? (sums)_mm512_setzero_si512() : (sums)broadcast(extra);
        }
        UNROLL for (size_t k = 0; k < steps; k++)
        {
            const uint8_t *w = p->w[g * group / 32][(g * group % 32) / 4 + k][0];
            __m512i a = _mm512_load_si512(w), b = _mm512_load_si512(w + 64);
            UNROLL for (size_t r = 0; r < rows; r++)
            {
                __m512i v = broadcast(x + r * j->shape.bytes + i + g * group + 4 * k);
                s[r][0] = (sums)_mm512_dpbusd_epi32((__m512i)s[r][0], a, v);
                s[r][1] = (sums)_mm512_dpbusd_epi32((__m512i)s[r][1], b, v);
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            const char *row = x + r * j->shape.bytes;
            __m512 scale = broadcast_float(row + j->shape.scale + (i + g * group) / 32 * 4);
            UNROLL for (size_t v = 0; v < 2; v++)
            {
                __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)s[r][v]), scale);
                sum[r][v] = _mm512_fmadd_ps(scaled, _mm512_load_ps(&p->scale[g][v * LANES]), sum[r][v]);
                if (has_min(type))
                    sum[r][v] = _mm512_fmadd_ps(broadcast_float(row + j->shape.extra + (i / 32 + g) * 4),
                                                _mm512_load_ps(&p->min[g][v * LANES]), sum[r][v]);
            }
        }
    }
}

/* The same with y, of which cols numbers a row are there, before and after. */
INLINE void tile_of(wr_block_type type, size_t rows, const job *j, const char *x, size_t i, size_t n, const panel *p,
                    float *y, size_t y_stride, size_t cols)
{
    __m512 sum[ROWS][2];
    __mmask16 mask[2] = {first(cols), first(cols > LANES ? cols - LANES : 0)};
    UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t v = 0; v < 2; v++) sum[r][v] =
        i ? _mm512_maskz_loadu_ps(mask[v], y + r * y_stride + v * LANES) : _mm512_setzero_ps();
    tile(type, rows, j, x, i, n, p, sum);
    UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t v = 0; v < 2; v++)
        _mm512_mask_storeu_ps(y + r * y_stride + v * LANES, mask[v], sum[r][v]);
}

INLINE void tiles(wr_block_type type, size_t rows, const job *j, size_t i, size_t n, const panel *p, float *y,
                  size_t y_stride, size_t cols)
{
    const char *x = j->x;
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * j->shape.bytes, y += ROWS * y_stride)
        tile_of(type, ROWS, j, x, i, n, p, y, y_stride, cols);
    if (rows == 1) tile_of(type, 1, j, x, i, n, p, y, y_stride, cols);
    if (rows == 2) tile_of(type, 2, j, x, i, n, p, y, y_stride, cols);
    if (rows == 3) tile_of(type, 3, j, x, i, n, p, y, y_stride, cols);
    if (rows == 4) tile_of(type, 4, j, x, i, n, p, y, y_stride, cols);
    if (rows == 5) tile_of(type, 5, j, x, i, n, p, y, y_stride, cols);
}

INLINE void many(wr_block_type type, const job *j, size_t rows, size_t to, float *y, size_t y_stride, panel *p)
{
    const uint8_t *data[LANES];
    for (size_t o = j->from; o < to; o += COLS) {
        size_t cols = to - o < COLS ? to - o : COLS;
        for (size_t i = 0; i < j->in; i += DEPTH) {
            size_t n = j->in - i < DEPTH ? j->in - i : DEPTH;
            for (size_t h = 0; h < 2; h++) {
                places(type, j, o + h * LANES, to, i, data);
                unpack(type, data, n, p, h);
            }
            tiles(type, rows, j, i, n, p, y + o, y_stride, cols);
        }
    }
}

/* ---- one row ---- */

/* Lane by lane sums of 16 outputs become, for each group of 16 inputs, their sums: 16 outputs in a register. */
INLINE void reduce(const __m512i s[LANES], __m512i group[4])
{
    __m512i t[8], u[4];
    UNROLL for (size_t i = 0; i < 8; i++) t[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[2 * i], s[2 * i + 1]), _mm512_unpackhi_epi32(s[2 * i], s[2 * i + 1]));
    UNROLL for (size_t i = 0; i < 4; i++) u[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm512_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
    __m512i a = _mm512_shuffle_i32x4(u[0], u[1], 0x44), b = _mm512_shuffle_i32x4(u[0], u[1], 0xee);
    __m512i c = _mm512_shuffle_i32x4(u[2], u[3], 0x44), d = _mm512_shuffle_i32x4(u[2], u[3], 0xee);
    group[0] = _mm512_shuffle_i32x4(a, c, 0x88);
    group[1] = _mm512_shuffle_i32x4(a, c, 0xdd);
    group[2] = _mm512_shuffle_i32x4(b, d, 0x88);
    group[3] = _mm512_shuffle_i32x4(b, d, 0xdd);
}

/* One group of inputs, the g-th of this part and the all-th of the row. */
INLINE __m512 add_group(wr_block_type type, const job *j, __m512i s, size_t g, size_t all, const panel *p, __m512 sum)
{
    const char *extra = j->x + j->shape.extra + 4 * all;
    if (!has_min(type)) s = _mm512_add_epi32(s, broadcast(extra));
    __m512 scale = broadcast_float(j->x + j->shape.scale + all * group_of(type) / 32 * 4);
    sum = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(s), scale), _mm512_load_ps(p->scale[g]), sum);
    if (has_min(type)) sum = _mm512_fmadd_ps(broadcast_float(extra), _mm512_load_ps(p->min[g]), sum);
    return sum;
}

/* Long rows' next inputs are fetched meanwhile: 16 streams are more than processors follow well. */
INLINE void fetch(wr_block_type type, const job *j, const uint8_t *const data[LANES], size_t i, size_t k)
{
    size_t step = 64 * bytes_of(type) / values_of(type);
    size_t at = k / 64 * step + (i + DEPTH < j->in ? DEPTH / 64 * step : LANES * j->row - i / 64 * step);
    UNROLL for (size_t lane = 0; lane < LANES; lane++)
        _mm_prefetch((const char *)((uintptr_t)data[lane] + at), _MM_HINT_T0);
}

INLINE __m512 one_part(wr_block_type type, const job *j, const uint8_t *const data[LANES], size_t i, size_t n,
                       const panel *p, __m512 sum)
{
    for (size_t k = 0; k < n; k += 64) {
        fetch(type, j, data, i, k);
        bool two = k + 64 <= n;
        __m512i x = join(load32(j->x + i + k), two ? load32(j->x + i + k + 32) : _mm256_setzero_si256());
        __m512i s[LANES], part[4];
        UNROLL for (size_t lane = 0; lane < LANES; lane++) s[lane] =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), load64(type, data[lane], k, two), x);
        reduce(s, part);
        if (type == WR_BLOCK_Q6_K) {
            UNROLL for (size_t g = 0; g < 4; g++) sum =
                add_group(type, j, part[g], k / 16 + g, (i + k) / 16 + g, p, sum);
            continue;
        }
        sum = add_group(type, j, _mm512_add_epi32(part[0], part[1]), k / 32, (i + k) / 32, p, sum);
        if (two) sum = add_group(type, j, _mm512_add_epi32(part[2], part[3]), k / 32 + 1, (i + k) / 32 + 1, p, sum);
    }
    return sum;
}

INLINE void one(wr_block_type type, const job *j, size_t to, float *y, panel *p)
{
    const uint8_t *data[LANES];
    for (size_t o = j->from; o < to; o += LANES) {
        __m512 sum = _mm512_setzero_ps();
        for (size_t i = 0; i < j->in; i += DEPTH) {
            size_t n = j->in - i < DEPTH ? j->in - i : DEPTH;
            places(type, j, o, to, i, data);
            unpack_scales(type, data, n, p, 0);
            sum = one_part(type, j, data, i, n, p, sum);
        }
        _mm512_mask_storeu_ps(y + o, first(to - o), sum);
    }
}

/* ---- the product ---- */

#define PRODUCT(name, type)                                                                                            \
    static void name(const job *j, size_t rows, size_t to, float *y, size_t y_stride, panel *p)                        \
    {                                                                                                                  \
        if (rows == 1)                                                                                                 \
            one(type, j, to, y, p);                                                                                    \
        else                                                                                                           \
            many(type, j, rows, to, y, y_stride, p);                                                                   \
    }

PRODUCT(product_q8_0, WR_BLOCK_Q8_0)
PRODUCT(product_q4_0, WR_BLOCK_Q4_0)
PRODUCT(product_q4_k, WR_BLOCK_Q4_K)
PRODUCT(product_q5_k, WR_BLOCK_Q5_K)
PRODUCT(product_q6_k, WR_BLOCK_Q6_K)

static void gemm(const wr_blocks *w, const void *input, size_t rows, size_t from, size_t to, float *y, size_t y_stride,
                 void *scratch)
{
    size_t row = w->in / wr_block_values(w->type) * wr_block_bytes(w->type);
    job j = {w->data, row, from, w->in, input, wr_block_shape_of(w)};
    if (rows == 1 && row <= SHORT) {
        wr_block_gemm_narrow(w, input, rows, from, to, y, y_stride, scratch);
        return;
    }
    if (w->type == WR_BLOCK_Q8_0) product_q8_0(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q4_0) product_q4_0(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q4_K) product_q4_k(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q5_K) product_q5_k(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q6_K) product_q6_k(&j, rows, to, y, y_stride, scratch);
}

/* ---- activations ---- */

/* 32 numbers as bytes; sum is set to that of the lower and of the upper 16. */
INLINE float quantize(const float *x, int8_t *q, int32_t sum[2])
{
    const __m128i ones = _mm_set1_epi8(1);
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + LANES);
    float max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    __m512 by = _mm512_set1_ps(max < WR_BLOCK_TINY ? 0 : 127 / max);
    __m128i low = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, by)));
    __m128i high = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, by)));
    _mm_storeu_si128((__m128i *)(void *)q, low);
    _mm_storeu_si128((__m128i *)(void *)(q + LANES), high);
    low = _mm_dpbusd_epi32(_mm_setzero_si128(), ones, low);
    high = _mm_dpbusd_epi32(_mm_setzero_si128(), ones, high);
    __m128i both = _mm_add_epi32(_mm_unpacklo_epi32(low, high), _mm_unpackhi_epi32(low, high));
    _mm_storel_epi64((__m128i *)(void *)sum, _mm_add_epi32(both, _mm_unpackhi_epi64(both, both)));
    return max < WR_BLOCK_TINY ? 0 : max / 127;
}

static void input(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *to)
{
    wr_block_shape shape = wr_block_shape_of(w);
    int32_t offset = wr_block_offset(w->type);
    for (size_t r = 0; r < rows; r++, x += x_stride) {
        char *row = (char *)to + r * shape.bytes;
        float *scale = (float *)(void *)(row + shape.scale), *scaled = (float *)(void *)(row + shape.extra);
        int32_t *correction = (int32_t *)(void *)(row + shape.extra);
        for (size_t b = 0; b < w->in / 32; b++) {
            int32_t sum[2];
            scale[b] = quantize(x + 32 * b, (int8_t *)row + 32 * b, sum);
            if (w->type == WR_BLOCK_Q6_K) {
                correction[2 * b] = -offset * sum[0];
                correction[2 * b + 1] = -offset * sum[1];
            } else if (offset)
                correction[b] = -offset * (sum[0] + sum[1]);
            else
                scaled[b] = (float)(sum[0] + sum[1]) * scale[b];
        }
    }
}

void wr_block_kernels_avx512_vnni(wr_block_kernels *table)
{
    _Static_assert(sizeof(panel) <= WR_BLOCK_PANEL_BYTES, "the scratch");
    table->input = input;
    table->gemm = gemm;
}
