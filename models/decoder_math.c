#include <math.h>
#include <string.h>

#include "models/decoder_parts.h"
#include "models/kernels.h"

/* Partial sums, and numbers at a time: four registers of the baseline. */
enum { LANES = 16 };

void wr_rms_norm(const float *x, const float *w, float eps, size_t n, float *y)
{
    float sum[LANES] = {0};
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) sum[j] += x[i + j] * x[i + j];
    for (size_t i = whole; i < n; i++) sum[i % LANES] += x[i] * x[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) sum[j] += sum[j + half];
    float scale = 1 / sqrtf(sum[0] / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

/* exp(-u) for u >= 0, by the polynomial of models/kernels.h without fused steps: one product and one sum more would be a
 * call each where the CPU's baseline has no FMA. 2e-7 relative. */
static void exp_of_minus(const float u[LANES], float out[LANES])
{
    static const float e[] = WR_EXP_E;
    for (size_t j = 0; j < LANES; j++) {
        float x = -u[j] > WR_EXP_LOWEST ? -u[j] : WR_EXP_LOWEST;
        float rounded = x * WR_EXP_LOG2E + WR_EXP_ROUND, n = rounded - WR_EXP_ROUND;
        float r = (x - n * WR_EXP_LN2_HI) - n * WR_EXP_LN2_LO;
        float y = (((e[4] * r + e[3]) * r + e[2]) * r + e[1]) * r + e[0];
        union {
            float f;
            uint32_t bits;
        } value = {.f = (y * (r * r) + r) + 1}, shift = {.f = rounded};
        value.bits += shift.bits << 23;
        out[j] = value.f;
    }
}

/* sigmoid(x) = e / (1 + e) below 0 and 1 / (1 + e) above, e = exp(-|x|): nothing overflows. */
static void silu_times(float a[LANES], const float b[LANES])
{
    float u[LANES], e[LANES];
    for (size_t j = 0; j < LANES; j++) u[j] = fabsf(a[j]);
    exp_of_minus(u, e);
    for (size_t j = 0; j < LANES; j++) {
        float top = a[j] < 0 ? e[j] : 1;
        a[j] = a[j] * (top / (1 + e[j])) * b[j];
    }
}

void wr_silu_times(float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) silu_times(a + i, b + i);
    if (i == n) return;
    float x[LANES] = {0}, y[LANES] = {0};
    memcpy(x, a + i, (n - i) * sizeof *x);
    memcpy(y, b + i, (n - i) * sizeof *y);
    silu_times(x, y);
    memcpy(a + i, x, (n - i) * sizeof *x);
}
