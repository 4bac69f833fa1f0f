/* A hub's listing is anything: it is read or refused, and what is read is safe to append to a folder. */
#include "tools/pull.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wr_pull_list list;
    wr_err err = {0};
    const char *pattern[] = {"*"};
    for (size_t npatterns = 0; npatterns < 2; npatterns++) {
        if (wr_pull_list_read(&list, (const char *)data, size, "fuzz", pattern, npatterns, &err)) continue;
        for (size_t i = 0; i < list.n; i++)
            if (!wr_pull_name_is_safe(list.file[i].name) || strstr(list.file[i].name, "/../")) abort();
        wr_pull_list_release(&list);
    }
    return 0;
}
