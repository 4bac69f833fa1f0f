/* Feeds the checkpoint reader bytes: as a file (zip or stream), and as a pickle of their own, so that mutations need not
 * keep a zip's offsets right. What is accepted lies inside the file and has the size of its shape; the links of a pickle
 * lead to nodes that exist. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/pickle.h"

static void need(int fact)
{
    if (!fact) abort();
}

static void check_tensors(const wr_tensor_list *list, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < list->n; i++) {
        const wr_tensor *t = &list->tensor[i];
        const unsigned char *data = t->data;
        need(data >= bytes && t->bytes <= n && (size_t)(data - bytes) <= n - t->bytes);
        size_t elements = wr_tensor_elements(t);
        need(t->bytes >= elements);
        float *out = malloc((elements + 1) * sizeof *out);
        if (out) wr_tensor_to_f32(t, out, elements, NULL);
        free(out);
    }
}

static void check_pickle(const wr_pickle *p)
{
    need(p->root < p->nnodes);
    for (uint32_t i = 0; i < p->nnodes; i++) {
        const wr_pickle_node *node = &p->node[i];
        if (node->kind != WR_PICKLE_TUPLE && node->kind != WR_PICKLE_LIST && node->kind != WR_PICKLE_DICT) continue;
        uint32_t count = 0;
        for (uint32_t at = node->first; at != WR_PICKLE_END; at = p->link[at].next, count++) {
            need(at < p->nlinks && p->link[at].key < p->nnodes && p->link[at].value < p->nnodes);
            need(count < node->n);
        }
        need(count == node->n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    wr_tensor_list list = {0};
    wr_pickle pickle;
    wr_err err;
    size_t used = 0;
    if (wr_checkpoint_read(input, n, "fuzz", &list, &err) == WR_OK) check_tensors(&list, input, n);
    wr_tensor_list_release(&list);
    if (wr_pickle_read(&pickle, input, n, &used, "fuzz", &err) == WR_OK) {
        need(used <= n);
        check_pickle(&pickle);
        wr_pickle_release(&pickle);
    }
    return 0;
}
