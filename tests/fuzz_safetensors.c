/* Feeds the safetensors reader bytes: 8 for the header's length are put before the input, so that every mutation
 * reaches the JSON; the input's first byte says how many bytes at its end are data. What is accepted lies inside the
 * data, does not overlap and has the size of its shape. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/safetensors.h"

static void need(int fact)
{
    if (!fact) abort();
}

static void check(const wr_tensor_list *list, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < list->n; i++) {
        const wr_tensor *t = &list->tensor[i];
        const unsigned char *data = t->data;
        need(data >= bytes && t->bytes <= n && (size_t)(data - bytes) <= n - t->bytes);
        need(t->ndim <= WR_MAX_DIMS && t->name != NULL);
        if (i > 0) need((const unsigned char *)list->tensor[i - 1].data + list->tensor[i - 1].bytes <= data);
        size_t elements = wr_tensor_elements(t);
        need(t->bytes >= elements);
        float *out = malloc((elements + 1) * sizeof *out);
        if (out) wr_tensor_to_f32(t, out, elements, NULL);
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    if (n == 0) return 0;
    size_t data = input[0] < n ? input[0] : n - 1;
    uint64_t header = n - 1 - data;
    unsigned char *file = malloc(8 + n - 1);
    memcpy(file, &header, 8);
    memcpy(file + 8, input + 1, n - 1);
    for (int whole = 0; whole < 2; whole++) { /* with our length, and the input as a file of its own */
        const unsigned char *bytes = whole ? input : file;
        size_t size = whole ? n : 8 + n - 1;
        wr_tensor_list list = {0};
        wr_err err;
        if (wr_safetensors_read(bytes, size, "fuzz", &list, &err) == WR_OK) check(&list, bytes, size);
        wr_tensor_list_release(&list);
    }
    free(file);
    return 0;
}
