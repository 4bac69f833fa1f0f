#include "models/blocks.h"

#include <string.h>

static const struct {
    const char *name;
    size_t values, bytes;
} types[WR_BLOCK_TYPES] = {
    [WR_BLOCK_F32] = {"F32", 1, 4},       [WR_BLOCK_F16] = {"F16", 1, 2},       [WR_BLOCK_BF16] = {"BF16", 1, 2},
    [WR_BLOCK_Q8_0] = {"Q8_0", 32, 34},   [WR_BLOCK_Q4_0] = {"Q4_0", 32, 18},   [WR_BLOCK_Q4_K] = {"Q4_K", 256, 144},
    [WR_BLOCK_Q5_K] = {"Q5_K", 256, 176}, [WR_BLOCK_Q6_K] = {"Q6_K", 256, 210},
};

const char *wr_block_name(wr_block_type type)
{
    return types[type].name;
}

size_t wr_block_values(wr_block_type type)
{
    return types[type].values;
}

size_t wr_block_bytes(wr_block_type type)
{
    return types[type].bytes;
}

bool wr_block_is_quantized(wr_block_type type)
{
    return type >= WR_BLOCK_Q8_0;
}

size_t wr_block_group(wr_block_type type)
{
    return type == WR_BLOCK_Q6_K ? 16 : 32;
}

bool wr_blocks_bytes(wr_block_type type, size_t out, size_t in, size_t *bytes)
{
    if (in % types[type].values) return false;
    size_t row;
    return !__builtin_mul_overflow(in / types[type].values, types[type].bytes, &row) &&
           !__builtin_mul_overflow(row, out, bytes);
}

/* ---- numbers ---- */

static float from_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* Subnormal halves are normal floats; a signalling NaN becomes a quiet one, as conversion instructions have it. */
static float half(const uint8_t *p)
{
    uint32_t h = u16(p), sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float v = (float)mantissa * 0x1p-24f;
    return sign ? -v : v;
}

static void floats(wr_block_type type, const uint8_t *data, size_t n, float *out)
{
    if (type == WR_BLOCK_F32) memcpy(out, data, n * sizeof *out);
    for (size_t i = 0; i < n && type == WR_BLOCK_F16; i++) out[i] = half(data + 2 * i);
    for (size_t i = 0; i < n && type == WR_BLOCK_BF16; i++) out[i] = from_bits((uint32_t)u16(data + 2 * i) << 16);
}

/* ---- blocks ---- */

static void open_q8_0(const uint8_t *block, wr_block_parts *parts)
{
    parts->scale[0] = half(block);
    parts->min[0] = 0;
    for (size_t i = 0; i < 32; i++) parts->q[i] = (int8_t)block[2 + i];
}

static void open_q4_0(const uint8_t *block, wr_block_parts *parts)
{
    parts->scale[0] = half(block);
    parts->min[0] = 0;
    for (size_t i = 0; i < 16; i++) {
        parts->q[i] = (int16_t)((block[2 + i] & 15) - 8);
        parts->q[i + 16] = (int16_t)((block[2 + i] >> 4) - 8);
    }
}

/* Scales and minima of 6 bits: the first four of each whole, the upper two bits of the others above them. */
static void open_scales(const uint8_t *block, wr_block_parts *parts)
{
    const uint8_t *s = block + 4;
    float d = half(block), dmin = half(block + 2);
    for (size_t i = 0; i < 4; i++) {
        parts->scale[i] = d * (float)(s[i] & 63);
        parts->min[i] = dmin * (float)(s[i + 4] & 63);
        parts->scale[i + 4] = d * (float)((s[i + 8] & 15) | (s[i] >> 6) << 4);
        parts->min[i + 4] = dmin * (float)((s[i + 8] >> 4) | (s[i + 4] >> 6) << 4);
    }
}

static void open_q4_k(const uint8_t *block, wr_block_parts *parts)
{
    open_scales(block, parts);
    for (size_t i = 0; i < 256; i++) {
        uint8_t byte = block[16 + i / 64 * 32 + i % 32];
        parts->q[i] = i / 32 % 2 ? byte >> 4 : byte & 15;
    }
}

static void open_q5_k(const uint8_t *block, wr_block_parts *parts)
{
    open_scales(block, parts);
    for (size_t i = 0; i < 256; i++) {
        uint8_t byte = block[48 + i / 64 * 32 + i % 32], fifth = block[16 + i % 32] >> i / 32 & 1;
        parts->q[i] = (int16_t)((i / 32 % 2 ? byte >> 4 : byte & 15) | fifth << 4);
    }
}

static void open_q6_k(const uint8_t *block, wr_block_parts *parts)
{
    float d = half(block + 208);
    memset(parts->min, 0, sizeof parts->min);
    for (size_t s = 0; s < 16; s++) parts->scale[s] = d * (float)(int8_t)block[192 + s];
    for (size_t i = 0; i < 256; i++) {
        size_t quarter = i % 128 / 32;
        uint8_t low = block[i / 128 * 64 + quarter % 2 * 32 + i % 32], high = block[128 + i / 128 * 32 + i % 32];
        parts->q[i] = (int16_t)(((quarter / 2 ? low >> 4 : low & 15) | (high >> 2 * quarter & 3) << 4) - 32);
    }
}

void wr_block_open(wr_block_type type, const void *block, wr_block_parts *parts)
{
    if (type == WR_BLOCK_Q8_0) open_q8_0(block, parts);
    if (type == WR_BLOCK_Q4_0) open_q4_0(block, parts);
    if (type == WR_BLOCK_Q4_K) open_q4_k(block, parts);
    if (type == WR_BLOCK_Q5_K) open_q5_k(block, parts);
    if (type == WR_BLOCK_Q6_K) open_q6_k(block, parts);
}

void wr_blocks_row(const wr_blocks *w, size_t row, float *out)
{
    size_t values = types[w->type].values, bytes = types[w->type].bytes, n = w->in / values;
    const uint8_t *data = (const uint8_t *)w->data + row * n * bytes;
    if (!wr_block_is_quantized(w->type)) {
        floats(w->type, data, w->in, out);
        return;
    }
    wr_block_parts parts;
    size_t group = wr_block_group(w->type);
    for (size_t b = 0; b < n; b++, data += bytes, out += values) {
        wr_block_open(w->type, data, &parts);
        for (size_t i = 0; i < values; i++) {
            float scaled = parts.scale[i / group] * (float)parts.q[i];
            out[i] = scaled - parts.min[i / 32];
        }
    }
}
