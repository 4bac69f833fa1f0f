/* Added tokens of a tokenizer: strings that are found in a text before anything else happens to it.
 *
 * As `tokenizers` finds them: leftmost, then longest; one that must be a word by itself and is not is passed over with
 * its bytes; white space beside a token goes with it where lstrip or rstrip say so. Those that are not "normalized" are
 * looked for in the text as given, the others in the normalised stretches between them.
 *
 *     wr_added_walk walk = {0};
 *     wr_added_piece piece;
 *     while (wr_added_next(set, text, n, &walk, &piece)) ...   // the stretch, then the token behind it
 */
#ifndef WR_MODELS_ADDED_H
#define WR_MODELS_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

typedef struct wr_added {
    char *text; /* what is looked for; normalised where `normalized` is true */
    size_t n;
    char *content; /* as the file has it */
    uint32_t id;
    uint32_t order; /* of two that are equal once normalised, the lower one is found (`tokenizers` takes either) */
    bool special, normalized, single_word, lstrip, rstrip;
} wr_added;

/* The added tokens that are looked for in one form of the text. */
typedef struct wr_added_set {
    const wr_added **token; /* [n] by their bytes: what begins with the same bytes stands together */
    size_t n;
    uint32_t begin[257]; /* those that begin with byte b are token[begin[b]..begin[b + 1]) */
} wr_added_set;

/* Those of added[n] whose flag is `normalized`; added stays borrowed. WR_ENOMEM. */
wr_status wr_added_collect(wr_added_set *set, const wr_added *added, size_t n, bool normalized);
void wr_added_release(wr_added_set *set);

/* The longest token at text[at], NULL when there is none. One that must be a word by itself and is not is still found
 * (*stands is false). O(its length * log n). */
const wr_added *wr_added_at(const wr_added_set *set, const char *text, size_t n, size_t at, bool *stands);

/* Where the text goes on behind a token that ends at `end`, when the one before it took all up to `done`. */
size_t wr_added_after(const wr_added *token, const char *text, size_t n, size_t end, size_t done);

/* How far a text has been cut; begins zeroed. */
typedef struct wr_added_walk {
    size_t at;   /* no token begins before this place that was not found              */
    size_t done; /* text before this place belongs to a token or to its white space   */
    bool over;
} wr_added_walk;

typedef struct wr_added_piece {
    size_t start, n;       /* the stretch text[start..start + n), may be empty             */
    const wr_added *token; /* what follows it; NULL: the end, or one that is lost          */
    size_t at;             /* where the token's own bytes begin                            */
} wr_added_piece;

/* False when the text is at its end. A token that lies in white space which the one before it took, and takes some
 * itself, is lost. */
bool wr_added_next(const wr_added_set *set, const char *text, size_t n, wr_added_walk *walk, wr_added_piece *piece);

#endif
