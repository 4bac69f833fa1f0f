/* Whatever the bytes are: read as a certificate, with every pair inside its texts, or refused with a sentence. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "models/certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    wr_certificate c;
    wr_err err;
    wr_agreement agreement;
    wr_status st = wr_certificate_parse(&c, (const char *)bytes, n, "fuzz", &err);
    for (size_t i = 0; i < c.held_out.npairs && !st; i++) {
        if (c.held_out.pair[i].query >= c.held_out.ntexts || c.held_out.pair[i].passage >= c.held_out.ntexts) abort();
        if (!isfinite(c.want[i])) abort();
    }
    if (!st && wr_probe_agreement(&c.held_out, c.want, c.want, &agreement)) abort();
    wr_certificate_release(&c);
    return 0;
}
