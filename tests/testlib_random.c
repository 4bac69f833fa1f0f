#include <math.h>

#include "tests/testlib.h"

uint64_t wr_test_u64(wr_test_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t wr_test_below(wr_test_random *random, size_t n)
{
    return (size_t)(wr_test_u64(random) % n);
}

double wr_test_uniform(wr_test_random *random)
{
    return (double)(wr_test_u64(random) >> 11) * 0x1p-53;
}

float wr_test_normal(wr_test_random *random)
{
    double u = 1 - wr_test_uniform(random), v = wr_test_uniform(random); /* Box-Muller; u > 0 */
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
