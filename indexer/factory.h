/* FAISS's factory strings from users: read and bounded before FAISS sees them.
 *
 * FAISS answers most of its errors with an exception, which its C API turns into an error code. But some strings make
 * its factory loop (HNSW0), divide by zero (PQ0), fail an assertion that aborts the process or ask for all memory
 * there is (IVF999999999). So a string may hold only the words below, and every number stands in its word's range:
 *
 *   IVF{lists}  HNSW{links}  NSG{links}  Flat  SQ{4|6|8}  SQfp16  PQ{parts}[x{bits}][np]  PQ{parts}x4fs[r]
 *   OPQ{parts}[_{dim}]  PCA[R|W|WR]{dim}  RR[{dim}]  ITQ[{dim}]  L2norm  Pad{dim}  RFlat  Refine(...)
 *
 * joined as FAISS joins them ("OPQ16_64,IVF256_HNSW32,PQ16"); what the words mean together is FAISS's business.
 */
#ifndef WR_INDEXER_FACTORY_H
#define WR_INDEXER_FACTORY_H

#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

#define WR_MAX_FACTORY 80 /* characters: FAISS reads them by recursive regular expressions */

/* What a string asks for. */
typedef struct wr_factory {
    size_t nlist;     /* the number after IVF, 0 without                                      */
    size_t centroids; /* of the largest k-means that training will run; 0 = none that is known */
} wr_factory;

/* dim and count are the vectors' (count 0: not known, as when an index is opened). WR_EARG says which word or number is
 * refused and what is expected. */
wr_status wr_factory_parse(wr_factory *factory, const char *text, size_t dim, uint64_t count, wr_err *err);

#endif
