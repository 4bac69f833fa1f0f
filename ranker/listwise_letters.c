/* Which tokens are letters. */
#include <string.h>

#include "ranker/listwise.h"

/* The letter that a token decodes to, 0..25, or WR_WINDOW_MAX. SentencePiece's mark of a space goes when one token is
 * decoded alone; the space of a byte-level token stays. */
static size_t letter_of(const wr_tokenizer *tok, uint32_t id)
{
    static const char mark[] = "\xE2\x96\x81";
    char bytes[2];
    const char *token = wr_tokenizer_token(tok, id);
    if (!token) return WR_WINDOW_MAX;
    char c = wr_tokenizer_bytes(tok, id, bytes, sizeof bytes) == 1 ? bytes[0] : 0;
    if (!strncmp(token, mark, 3) && token[3] && !token[4]) c = token[3];
    return c >= 'A' && c <= 'Z' ? (size_t)(c - 'A') : WR_WINDOW_MAX;
}

wr_status wr_letters_find(wr_letters *letters, const wr_tokenizer *tok, wr_err *err)
{
    uint32_t found[WR_WINDOW_MAX][WR_LETTER_IDS];
    size_t count[WR_WINDOW_MAX] = {0};
    size_t vocab = wr_tokenizer_vocab_size(tok);
    memset(letters, 0, sizeof *letters);
    for (size_t id = 0; id < vocab; id++) {
        size_t letter = letter_of(tok, (uint32_t)id);
        if (letter == WR_WINDOW_MAX) continue;
        if (count[letter] == WR_LETTER_IDS)
            return wr_fail(err, WR_EUNSUPPORTED, "vocabulary: more than %d tokens decode to '%c'", WR_LETTER_IDS,
                           (int)('A' + letter));
        found[letter][count[letter]++] = (uint32_t)id;
    }
    for (size_t i = 0; i < WR_WINDOW_MAX && count[i]; i++) {
        char name[2] = {(char)('A' + i), 0};
        int64_t bare = wr_tokenizer_id(tok, name);
        if (bare < 0) break;
        letters->id[i] = (uint32_t)bare;
        memcpy(letters->row + letters->first[i], found[i], count[i] * sizeof **found);
        letters->first[i + 1] = letters->first[i] + count[i];
        letters->n = i + 1;
    }
    if (letters->n >= 2) return WR_OK;
    return wr_fail(err, WR_EUNSUPPORTED, "vocabulary: no tokens \"A\" and \"B\", whose logits listwise ranking reads");
}

wr_status wr_letters_between(const wr_tokenizer *tok, wr_arena *arena, wr_tokens *out, wr_err *err)
{
    static const char answer[] = "A] > [";
    wr_status st = wr_tokenizer_encode(tok, answer, sizeof answer - 1, arena, SIZE_MAX, out);
    if (st) return wr_fail(err, st, "\"%s\": no memory for its tokens", answer);
    if (out->n < 2 || letter_of(tok, out->id[0]) != 0)
        return wr_fail(err, WR_EUNSUPPORTED, "vocabulary: \"%s\" does not begin with a token for its letter", answer);
    out->id++;
    out->n--;
    return WR_OK;
}
