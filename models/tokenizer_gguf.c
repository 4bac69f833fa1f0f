#include "models/gguf.h"
#include "models/tokenizer.h"

/* No kind of tokenizer that GGUF files bring is here yet: each is refused by its name. */
wr_status wr_tokenizer_open_gguf(wr_tokenizer **tok, const wr_gguf *gguf, wr_err *err)
{
    wr_text model;
    *tok = NULL;
    if (!wr_gguf_text(gguf, "tokenizer.ggml.model", &model))
        return wr_fail(err, WR_ENOTFOUND, "the GGUF file has no tokenizer");
    return wr_fail(err, WR_EUNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported",
                   model.n < 40 ? (int)model.n : 40, model.bytes);
}
