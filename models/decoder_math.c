#include <math.h>

#include "models/decoder_parts.h"

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
