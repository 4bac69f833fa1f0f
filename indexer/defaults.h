/* The pipelines that are used where none is named: one for each kind of index. `weir index` writes the one that fits into
 * the manifest ("default_pipeline"); an index keeps what it was built with, whatever this file says later.
 *
 * A pipeline may hold cross stages. They mean the cross-encoder that the process has loaded first, weir-cross where none
 * is named. Where none is loaded, the default pipeline, and no other, goes on without them: each is named in a reply's
 * `degraded` as model_unavailable. An exit that the loaded model does not have is not used there: all layers are run
 * (ranker/pipeline.h).
 *
 * Numbers: nDCG@10, mean of ten collections (BENCHMARKS.md). A list of 100 is what published fusions keep, and all that
 * R@100 looks at; with 200, min-max has a longer tail to measure against.
 */
#ifndef WR_INDEXER_DEFAULTS_H
#define WR_INDEXER_DEFAULTS_H

/* Words and vectors, without learned sparse postings (--no-sparse). Depth, exit and share won among those that stay within 50 ms at p95 on two cores
 * (BENCHMARKS.md, "The default models"). A fifth of the exit's score is best: the cross-encoder corrects the fusion, it
 * does not replace it. lin alone is .004 below and takes a fifth to a tenth of the time: for throughput take that. */
#define WR_PIPELINE_DENSE "lin(0.45*bm25,0.55*dense):200 > cross@0.2[exit=2]:15"

/* Words alone: --no-dense, or no model was found. */
#define WR_PIPELINE_WORDS "bm25:100"

/* All three, the usual index: weights won among five triples, depth, exit and share are those from above. The learned list
 * costs less than a millisecond a query, so it only has to add something (BENCHMARKS.md, "Learned sparse by default"). */
#define WR_PIPELINE_ALL "lin(0.4*bm25,0.15*sparse,0.45*dense):200 > cross@0.2[exit=2]:15"

/* Words and learned sparse postings (--no-dense): no encoder at query time. Halves beat rrf by .010 (.5503, .5401). */
#define WR_PIPELINE_SPARSE "lin(0.5*bm25,0.5*sparse):200"

/* Documents came as learned sparse vectors, perhaps without texts. */
#define WR_PIPELINE_VECTORS "sparse:100"

#endif
