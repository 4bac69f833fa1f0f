/* Products with blocks in 256-bit registers: private to the files that compile it, with AVX-VNNI, with the same
 * instructions of AVX-512 (for tests), or without either. The same plan as kernels_blocks_avx512.c, with panels of 16
 * outputs x 256 inputs and tiles of 4 rows x 2 vectors of 8.
 *
 * Without vpdpbusd two products of bytes are added up to 16 bits by vpmaddubsw, which saturates. Nibbles and 6 bits are
 * far from that; bytes of Q8_0 are multiplied as signed ones: |w| * (x with w's sign), two of which are 32512 at most.
 */
#ifndef WR_MODELS_KERNELS_BLOCKS_AVX2_H
#define WR_MODELS_KERNELS_BLOCKS_AVX2_H

#include <string.h>

#include "models/kernels_avx2_lanes.h"
#include "models/kernels_blocks.h"

#if defined __AVX512VNNI__ && defined __AVX512VL__
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_epi32
#elif defined __AVXVNNI__
#define WITH_VNNI 1
#define DPBUSD _mm256_dpbusd_avx_epi32
#else
#define WITH_VNNI 0
#endif

enum { LANES = 8, COLS = 2 * LANES, ROWS = 4, DEPTH = 256, BLOCKS = DEPTH / 32, NEAR = 10 * 1024 };

typedef struct panel {
    uint8_t w[BLOCKS][8][COLS][4];
    float scale[2 * BLOCKS][COLS];
    float min[BLOCKS][COLS]; /* negative */
} panel;

typedef struct job {
    const uint8_t *data;
    size_t row, from, in;
    const char *x;
    wr_block_shape shape;
} job;

INLINE size_t group_of(wr_block_type type)
{
    return type == WR_BLOCK_Q6_K ? 16 : 32;
}

INLINE bool has_min(wr_block_type type)
{
    return type == WR_BLOCK_Q4_K || type == WR_BLOCK_Q5_K;
}

/* Whether inputs bring a number that makes up for weights stored too large. */
INLINE bool has_offset(wr_block_type type)
{
    return !has_min(type) && (WITH_VNNI || type != WR_BLOCK_Q8_0);
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

/* ---- 32 weights of one output, in order ---- */

INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m256i q4_0(const uint8_t *block)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

/* Eighth p of a block of 256. */
INLINE __m256i nibbles(const uint8_t *p, size_t eighth)
{
    __m256i v = load32(p + eighth / 2 * 32);
    return _mm256_and_si256(eighth % 2 ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

INLINE __m256i load_q5_k(const uint8_t *block, size_t p)
{
    __m256i bit = _mm256_set1_epi8((char)(1 << p));
    __m256i fifth = _mm256_cmpeq_epi8(_mm256_and_si256(load32(block + 16), bit), bit);
    return _mm256_or_si256(nibbles(block + 48, p), _mm256_and_si256(fifth, _mm256_set1_epi8(16)));
}

INLINE __m256i load_q6_k(const uint8_t *block, size_t p)
{
    size_t quarter = p % 4;
    __m256i low = load32(block + p / 4 * 64 + quarter % 2 * 32), high = load32(block + 128 + p / 4 * 32);
    low = _mm256_and_si256(quarter / 2 ? _mm256_srli_epi16(low, 4) : low, _mm256_set1_epi8(15));
    high = _mm256_srl_epi16(high, _mm_cvtsi32_si128((int)(2 * quarter)));
    return _mm256_or_si256(low, _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4));
}

/* Inputs i to i + 32 behind `data`, the beginning of a block. */
INLINE __m256i load_weights(wr_block_type type, const uint8_t *data, size_t i)
{
    const uint8_t *block = data + i / values_of(type) * bytes_of(type);
    size_t p = i / 32 % 8;
    if (type == WR_BLOCK_Q8_0)
        return WITH_VNNI ? _mm256_xor_si256(load32(block + 2), _mm256_set1_epi8(-128)) : load32(block + 2);
    if (type == WR_BLOCK_Q4_0) return q4_0(block);
    if (type == WR_BLOCK_Q4_K) return nibbles(block + 16, p);
    return type == WR_BLOCK_Q5_K ? load_q5_k(block, p) : load_q6_k(block, p);
}

/* sum + four products a lane. */
INLINE __m256i dot(wr_block_type type, __m256i sum, __m256i w, __m256i x)
{
#if WITH_VNNI
    (void)type;
    return DPBUSD(sum, w, x);
#else
    __m256i two = type == WR_BLOCK_Q8_0 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                                        : _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(two, _mm256_set1_epi16(1)));
#endif
}

/* ---- scales of 8 outputs ---- */

INLINE float half(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

#define HALF(lane) memcpy(&h, data[lane] + at, 2), v = _mm_insert_epi16(v, (int16_t)h, lane)

INLINE __m256 halves(const uint8_t *const data[LANES], size_t at)
{
    uint16_t h;
    __m128i v = _mm_setzero_si128();
    HALF(0), HALF(1), HALF(2), HALF(3), HALF(4), HALF(5), HALF(6), HALF(7);
    return _mm256_cvtph_ps(v);
}

/* Eight bytes as floats, times d. */
INLINE __m256i scaled(__m128i bytes, bool is_signed, float d)
{
    __m256i wide = is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    return _mm256_castps_si256(_mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(d)));
}

/* Eight of 6 bits, see wr_block_open(): scales, or minima with their sign turned. */
INLINE __m256i six_bits(const uint8_t *block, bool min)
{
    uint32_t low, high, rest;
    memcpy(&low, block + (min ? 8 : 4), 4);
    memcpy(&high, block + 12, 4);
    rest = ((min ? high >> 4 : high) & 0x0f0f0f0f) | (low >> 2 & 0x30303030);
    __m128i bytes = _mm_setr_epi32((int)(low & 0x3f3f3f3f), (int)rest, 0, 0);
    return scaled(bytes, false, min ? -half(block + 2) : half(block));
}

INLINE __m256i eight_scales(wr_block_type type, const uint8_t *block, size_t part)
{
    if (type != WR_BLOCK_Q6_K) return six_bits(block, part);
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(block + 192 + 8 * part));
    return scaled(bytes, true, half(block + 208));
}

INLINE void unpack_scales(wr_block_type type, const uint8_t *const data[LANES], size_t n, panel *to, size_t at)
{
    if (values_of(type) == 32) {
        for (size_t b = 0; b < n / 32; b++) _mm256_storeu_ps(&to->scale[b][at], halves(data, b * bytes_of(type)));
        return;
    }
    for (size_t part = 0; part < 2; part++) { /* a panel is one block of 256 deep */
        __m256i v[LANES];
        UNROLL for (size_t lane = 0; lane < LANES; lane++) v[lane] = eight_scales(type, data[lane], part);
        transpose(v);
        UNROLL for (size_t g = 0; g < 8; g++)
        {
            float *row = type == WR_BLOCK_Q6_K ? to->scale[8 * part + g] : part ? to->min[g] : to->scale[g];
            _mm256_storeu_ps(row + at, _mm256_castsi256_ps(v[g]));
        }
    }
}

/* ---- many rows ---- */

INLINE void places(wr_block_type type, const job *j, size_t o, size_t to, size_t i, const uint8_t *data[LANES])
{
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t output = o + lane < to ? o + lane : to - 1;
        data[lane] = j->data + output * j->row + i / values_of(type) * bytes_of(type);
    }
}

INLINE void unpack(wr_block_type type, const uint8_t *const data[LANES], size_t n, panel *to, size_t at)
{
    for (size_t i = 0; i < n; i += 32) {
        __m256i v[LANES];
        UNROLL for (size_t lane = 0; lane < LANES; lane++) v[lane] = load_weights(type, data[lane], i);
        transpose(v);
        UNROLL for (size_t k = 0; k < 8; k++) _mm256_storeu_si256((__m256i *)(void *)to->w[i / 32][k][at], v[k]);
    }
    unpack_scales(type, data, n, to, at);
}

INLINE __m256i broadcast(const void *x)
{
    int32_t v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE __m256 broadcast_float(const void *x)
{
    float v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_ps(v);
}

INLINE void tile(wr_block_type type, size_t rows, const job *j, const char *x, size_t i, size_t n, const panel *p,
                 __m256 sum[ROWS][2])
{
    size_t group = group_of(type), steps = group / 4;
    for (size_t g = 0; g < n / group; g++) {
        __m256i s[ROWS][2];
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            const char *extra = x + r * j->shape.bytes + j->shape.extra + (i / group + g) * 4;
            s[r][0] = s[r][1] = has_offset(type) ? broadcast(extra) : _mm256_setzero_si256();
        }
        UNROLL for (size_t k = 0; k < steps; k++)
        {
            const uint8_t *w = p->w[g * group / 32][(g * group % 32) / 4 + k][0];
            __m256i a = load32(w), b = load32(w + 32);
            UNROLL for (size_t r = 0; r < rows; r++)
            {
                __m256i v = broadcast(x + r * j->shape.bytes + i + g * group + 4 * k);
                s[r][0] = dot(type, s[r][0], a, v);
                s[r][1] = dot(type, s[r][1], b, v);
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            const char *row = x + r * j->shape.bytes;
            __m256 scale = broadcast_float(row + j->shape.scale + (i + g * group) / 32 * 4);
            UNROLL for (size_t v = 0; v < 2; v++)
            {
                __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(s[r][v]), scale);
                sum[r][v] = _mm256_fmadd_ps(product, _mm256_loadu_ps(&p->scale[g][v * LANES]), sum[r][v]);
                if (has_min(type))
                    sum[r][v] = _mm256_fmadd_ps(broadcast_float(row + j->shape.extra + (i / 32 + g) * 4),
                                                _mm256_loadu_ps(&p->min[g][v * LANES]), sum[r][v]);
            }
        }
    }
}

INLINE void tile_of(wr_block_type type, size_t rows, const job *j, const char *x, size_t i, size_t n, const panel *p,
                    float *y, size_t y_stride, size_t cols)
{
    __m256 sum[ROWS][2];
    size_t second = cols > LANES ? cols - LANES : 0;
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        sum[r][0] = i ? load(y + r * y_stride, cols) : _mm256_setzero_ps();
        sum[r][1] = i ? load(y + r * y_stride + LANES, second) : _mm256_setzero_ps();
    }
    tile(type, rows, j, x, i, n, p, sum);
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        store(y + r * y_stride, cols, sum[r][0]);
        store(y + r * y_stride + LANES, second, sum[r][1]);
    }
}

INLINE void many(wr_block_type type, const job *j, size_t rows, size_t to, float *y, size_t y_stride, panel *p)
{
    const uint8_t *data[LANES];
    for (size_t o = j->from; o < to; o += COLS)
        for (size_t i = 0; i < j->in; i += DEPTH) {
            size_t n = j->in - i < DEPTH ? j->in - i : DEPTH, cols = to - o < COLS ? to - o : COLS, r = 0;
            for (size_t at = 0; at < COLS; at += LANES) {
                places(type, j, o + at, to, i, data);
                unpack(type, data, n, p, at);
            }
            for (; r + ROWS <= rows; r += ROWS)
                tile_of(type, ROWS, j, j->x + r * j->shape.bytes, i, n, p, y + r * y_stride + o, y_stride, cols);
            for (; r < rows; r++)
                tile_of(type, 1, j, j->x + r * j->shape.bytes, i, n, p, y + r * y_stride + o, y_stride, cols);
        }
}

/* ---- one row ---- */

/* Lane by lane sums of 8 outputs become, for both groups of 16 inputs, their sums: 8 outputs in a register. */
INLINE void reduce(const __m256i s[LANES], __m256i group[2])
{
    __m256i t[4], u[2];
    UNROLL for (size_t i = 0; i < 4; i++) t[i] =
        _mm256_add_epi32(_mm256_unpacklo_epi32(s[2 * i], s[2 * i + 1]), _mm256_unpackhi_epi32(s[2 * i], s[2 * i + 1]));
    UNROLL for (size_t i = 0; i < 2; i++) u[i] =
        _mm256_add_epi32(_mm256_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm256_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
    group[0] = _mm256_permute2x128_si256(u[0], u[1], 0x20);
    group[1] = _mm256_permute2x128_si256(u[0], u[1], 0x31);
}

INLINE __m256 add_group(wr_block_type type, const job *j, __m256i s, size_t g, size_t all, const panel *p, __m256 sum)
{
    const char *extra = j->x + j->shape.extra + 4 * all;
    if (has_offset(type)) s = _mm256_add_epi32(s, broadcast(extra));
    __m256 scale = broadcast_float(j->x + j->shape.scale + all * group_of(type) / 32 * 4);
    sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(s), scale), _mm256_loadu_ps(p->scale[g]), sum);
    if (has_min(type)) sum = _mm256_fmadd_ps(broadcast_float(extra), _mm256_loadu_ps(p->min[g]), sum);
    return sum;
}

/* As in kernels_blocks_avx512.c: short rows' successors, line after line. Of long rows processors find the streams. */
INLINE void fetch(wr_block_type type, const job *j, const uint8_t *first_row, size_t i, size_t k)
{
    size_t piece = LANES * 32 * bytes_of(type) / values_of(type);
    if (LANES * j->row > NEAR) return;
    uintptr_t next = (uintptr_t)first_row - i / 32 * (piece / LANES) + LANES * j->row + (i + k) / 32 * piece;
    UNROLL for (size_t at = 0; at < piece; at += 64) _mm_prefetch((const char *)(next + at), _MM_HINT_T0);
}

INLINE __m256 one_part(wr_block_type type, const job *j, const uint8_t *const data[LANES], size_t i, size_t n,
                       const panel *p, __m256 sum)
{
    for (size_t k = 0; k < n; k += 32) {
        __m256i x = load32(j->x + i + k), s[LANES], part[2];
        fetch(type, j, data[0], i, k);
        UNROLL for (size_t lane = 0; lane < LANES; lane++) s[lane] =
            dot(type, _mm256_setzero_si256(), load_weights(type, data[lane], k), x);
        reduce(s, part);
        if (type == WR_BLOCK_Q6_K)
            UNROLL for (size_t g = 0; g < 2; g++) sum =
                add_group(type, j, part[g], k / 16 + g, (i + k) / 16 + g, p, sum);
        else
            sum = add_group(type, j, _mm256_add_epi32(part[0], part[1]), k / 32, (i + k) / 32, p, sum);
    }
    return sum;
}

INLINE void one(wr_block_type type, const job *j, size_t to, float *y, panel *p)
{
    const uint8_t *data[LANES];
    for (size_t o = j->from; o < to; o += LANES) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t i = 0; i < j->in; i += DEPTH) {
            size_t n = j->in - i < DEPTH ? j->in - i : DEPTH;
            places(type, j, o, to, i, data);
            unpack_scales(type, data, n, p, 0);
            sum = one_part(type, j, data, i, n, p, sum);
        }
        store(y + o, to - o, sum);
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
    if (w->type == WR_BLOCK_Q8_0) product_q8_0(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q4_0) product_q4_0(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q4_K) product_q4_k(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q5_K) product_q5_k(&j, rows, to, y, y_stride, scratch);
    if (w->type == WR_BLOCK_Q6_K) product_q6_k(&j, rows, to, y, y_stride, scratch);
}

/* ---- activations ---- */

INLINE float absmax(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 m = _mm256_max_ps(_mm256_max_ps(_mm256_andnot_ps(sign, a), _mm256_andnot_ps(sign, b)),
                             _mm256_max_ps(_mm256_andnot_ps(sign, c), _mm256_andnot_ps(sign, d)));
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_shuffle_ps(h, h, 1)));
}

INLINE int32_t sum16(__m256i a, __m256i b)
{
    __m256i s = _mm256_add_epi32(a, b);
    __m128i h = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
}

INLINE float quantize(const float *x, int8_t *q, int32_t sum[2])
{
    __m256 v[4];
    __m256i n[4];
    UNROLL for (size_t i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
    float max = absmax(v[0], v[1], v[2], v[3]);
    __m256 by = _mm256_set1_ps(max < WR_BLOCK_TINY ? 0 : 127 / max);
    UNROLL for (size_t i = 0; i < 4; i++) n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], by));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    sum[0] = sum16(n[0], n[1]);
    sum[1] = sum16(n[2], n[3]);
    return max < WR_BLOCK_TINY ? 0 : max / 127;
}

static void input(const wr_blocks *w, const float *x, size_t x_stride, size_t rows, void *to)
{
    wr_block_shape shape = wr_block_shape_of(w);
    int32_t offset = wr_block_offset(w->type);
    for (size_t r = 0; r < rows; r++, x += x_stride) {
        char *row = (char *)to + r * shape.bytes;
        float *scale = (float *)(void *)(row + shape.scale), *sums = (float *)(void *)(row + shape.extra);
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
                sums[b] = (float)(sum[0] + sum[1]) * scale[b];
        }
    }
}

static void fill(wr_block_kernels *table)
{
    _Static_assert(sizeof(panel) <= WR_BLOCK_PANEL_BYTES, "the scratch");
    table->input = input;
    table->gemm = gemm;
}

#endif
