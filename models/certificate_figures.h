/* What the writer and the reader of certificates share. */
#ifndef WR_MODELS_CERTIFICATE_FIGURES_H
#define WR_MODELS_CERTIFICATE_FIGURES_H

#include <stddef.h>

#include "data/hash.h"
#include "models/probe.h"

#define WR_CERTIFICATE_FORMAT "weir-certificate"
#define WR_CERTIFICATE_VERSION 1

/* By wr_model_kind. */
#define WR_MODEL_KINDS 3
extern const char *const wr_model_kind_name[WR_MODEL_KINDS];

/* In the order of wr_agreement; -1 is null in the file. */
#define WR_FIGURES 6
extern const char *const wr_figure_name[WR_FIGURES];
void wr_figures_of(const wr_agreement *agreement, double figure[WR_FIGURES]); /* rounded */

/* Of the scores as little-endian floats. */
void wr_scores_sha256(const float *score, size_t n, char hex[WR_SHA256_HEX]);

#endif
