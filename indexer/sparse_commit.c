/* The merged postings become the file of sparse.h: one term after the other, its arrays in memory until the term ends
 * (a slice at a time where most blocks have it), then the term table and the names from temporary files. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/sparse_format.h"
#include "indexer/sparse_write.h"

struct commit {
    const uint32_t *length;
    double norm, norm_per_term; /* k1 * (1 - b), k1 * b / avglen */
    wr_file *file;
    FILE *table, *names;
    wr_sparse_header header;
    uint64_t ngroups;

    /* the current term */
    wr_sparse_entry entry;
    wr_sparse_layout at;
    uint64_t seen;
    uint32_t group, in_group, block; /* where the next posting may fall at the earliest; entries of the open slice */
    uint32_t *start;                 /* [ngroups + 1] */
    uint8_t *group_bound;            /* [ngroups]     */
    unsigned char *record;           /* [GROUP_RECORD * ngroups] */
    uint32_t *posting;               /* docids of a list, or postings of the open slice */
    uint16_t *impact;                /* impacts of a list                               */
};

static wr_status io_fail(wr_err *err)
{
    return wr_fail(err, WR_EIO, "a temporary file of the index cannot be used: %s", strerror(errno));
}

static void pad_to(wr_file *file, uint64_t offset)
{
    static const unsigned char zero[SPARSE_ALIGN];
    wr_file_write(file, zero, (size_t)(offset - wr_file_offset(file)));
}

static void pad(wr_file *file, uint64_t unit)
{
    pad_to(file, wr_sparse_round_up(wr_file_offset(file), unit));
}

/* ---- one term ---- */

/* A group's record of block maxima, its first[] being set by set_first(). */
static void set_first(struct commit *out, uint32_t block)
{
    unsigned char *record = out->record + (size_t)out->group * GROUP_RECORD;
    uint16_t n = (uint16_t)out->in_group;
    for (; out->block < block; out->block++) memcpy(record + 2 * (out->block + 1), &n, 2);
}

/* Ends the slice of the open group, and those of the empty groups before `group`. */
static void to_group(struct commit *out, uint32_t group)
{
    while (out->group < group) {
        if (out->entry.shape != SHAPE_LIST) wr_file_write(out->file, out->posting, 4 * (size_t)out->in_group);
        if (out->entry.shape == SHAPE_BLOCKS) set_first(out, GROUP_BLOCKS - 1);
        out->start[++out->group] = (uint32_t)out->seen;
        out->in_group = 0;
        out->block = 0;
    }
}

static wr_status commit_term(void *arg, const unsigned char *name, size_t len, uint64_t df, wr_err *err)
{
    struct commit *out = arg;
    if (out->header.nterms == UINT32_MAX) return wr_fail(err, WR_EFULL, "postings: more than %u terms", UINT32_MAX);
    out->entry = (wr_sparse_entry){.name = out->header.names_bytes,
                                   .postings = wr_file_offset(out->file) - out->header.postings,
                                   .df = (uint32_t)df,
                                   .name_len = (uint16_t)len,
                                   .shape = (uint8_t)wr_sparse_shape(df, out->ngroups)};
    out->at = wr_sparse_layout_of(out->entry.shape, df, out->ngroups);
    out->seen = out->group = out->in_group = out->block = 0;
    memset(out->start, 0, (out->ngroups + 1) * sizeof *out->start);
    memset(out->group_bound, 0, out->ngroups);
    if (out->entry.shape == SHAPE_BLOCKS) memset(out->record, 0, out->ngroups * GROUP_RECORD);
    out->header.names_bytes += len;
    return fwrite(name, 1, len, out->names) == len ? WR_OK : io_fail(err);
}

static wr_status end_term(struct commit *out, wr_err *err)
{
    uint64_t n = out->seen, start = out->header.postings + out->entry.postings;
    if (out->entry.shape == SHAPE_LIST) {
        wr_file_write(out->file, out->posting, 4 * n);
        wr_file_write(out->file, out->impact, 2 * n);
    } else {
        to_group(out, (uint32_t)out->ngroups);
        pad_to(out->file, start + out->at.start);
        wr_file_write(out->file, out->start, 4 * (out->ngroups + 1));
        wr_file_write(out->file, out->group_bound, out->ngroups);
        pad_to(out->file, start + out->at.record);
        if (out->entry.shape == SHAPE_BLOCKS) wr_file_write(out->file, out->record, out->ngroups * GROUP_RECORD);
    }
    pad(out->file, 4);
    out->header.nterms++;
    out->header.npostings += n;
    return fwrite(&out->entry, sizeof out->entry, 1, out->table) == 1 ? WR_OK : io_fail(err);
}

/* What a run has for a posting: a count in BM25, otherwise the bits of a weight. */
static double impact_of(const struct commit *out, uint32_t docid, uint32_t tf)
{
    float weight;
    if (out->header.kind == WR_SPARSE_BM25) return tf / (tf + out->norm + out->norm_per_term * out->length[docid]);
    memcpy(&weight, &tf, sizeof weight);
    return (double)weight;
}

static uint16_t quantise(const struct commit *out, uint32_t docid, uint32_t tf)
{
    double impact = impact_of(out, docid, tf);
    double q = floor(impact / (double)out->header.scale + 0.5);
    return (uint16_t)(q < 1 ? 1 : q > IMPACT_MAX ? IMPACT_MAX : q);
}

static void put_posting(struct commit *out, uint32_t docid, uint16_t impact)
{
    uint32_t group = docid / GROUP_DOCS, block = docid % GROUP_DOCS / BLOCK_DOCS;
    uint8_t bound = wr_sparse_bound(impact);
    to_group(out, group);
    if (bound > out->group_bound[group]) out->group_bound[group] = bound;
    if (out->entry.shape == SHAPE_BLOCKS) {
        uint8_t *most = out->record + (size_t)group * GROUP_RECORD + 2 * GROUP_BLOCKS + block;
        set_first(out, block);
        if (bound > *most) *most = bound;
    }
    out->posting[out->in_group++] = wr_posting(docid, impact);
}

static wr_status commit_posting(void *arg, uint32_t docid, uint32_t tf, wr_err *err)
{
    struct commit *out = arg;
    uint16_t impact = quantise(out, docid, tf);
    if (wr_sparse_bound(impact) > out->entry.bound) out->entry.bound = wr_sparse_bound(impact);
    if (out->entry.shape == SHAPE_LIST) {
        out->posting[out->in_group] = docid;
        out->impact[out->in_group++] = impact;
    } else {
        put_posting(out, docid, impact);
    }
    return ++out->seen == out->entry.df ? end_term(out, err) : WR_OK;
}

/* ---- the file ---- */

static wr_status copy_section(struct commit *out, FILE *from, uint64_t *offset, uint64_t *bytes, wr_err *err)
{
    unsigned char buffer[1 << 14];
    size_t n;
    pad(out->file, SPARSE_ALIGN);
    *offset = wr_file_offset(out->file);
    if (fflush(from) || fseeko(from, 0, SEEK_SET)) return io_fail(err);
    while ((n = fread(buffer, 1, sizeof buffer, from)) > 0) wr_file_write(out->file, buffer, n);
    *bytes = wr_file_offset(out->file) - *offset;
    return ferror(from) ? io_fail(err) : WR_OK;
}

static void set_norm(struct commit *out, const wr_sparse_writer *writer, const wr_bm25_params *params)
{
    double avg = writer->ndocs ? (double)writer->total_length / writer->ndocs : 0;
    out->length = writer->length;
    out->norm = params->k1 * (1 - params->b);
    out->norm_per_term = avg > 0 ? params->k1 * params->b / avg : 0;
}

/* Of weights: such that the largest is IMPACT_MAX. */
static float scale_of(const wr_sparse_writer *writer)
{
    if (writer->kind == WR_SPARSE_BM25 || writer->most == 0) return IMPACT_SCALE;
    float scale = writer->most / IMPACT_MAX;
    return scale < FLT_MIN ? FLT_MIN : scale;
}

static wr_status commit_open(struct commit *out, const wr_sparse_writer *writer, const char *path,
                             const wr_bm25_params *params, wr_err *err)
{
    wr_status st;
    set_norm(out, writer, params);
    out->ngroups = wr_sparse_groups(writer->ndocs);
    out->header = (wr_sparse_header){.kind = writer->kind,
                                     .impact_bits = IMPACT_BITS,
                                     .block_docs = BLOCK_DOCS,
                                     .group_blocks = GROUP_BLOCKS,
                                     .ndocs = writer->ndocs,
                                     .total_length = writer->total_length,
                                     .k1 = params->k1,
                                     .b = params->b,
                                     .scale = scale_of(writer),
                                     .postings = wr_sparse_round_up(SPARSE_HEADER, SPARSE_ALIGN)};
    size_t n = (size_t)out->ngroups + 1; /* a list has 2.5 postings a group at most */
    out->start = malloc(n * sizeof *out->start);
    out->group_bound = malloc(n);
    out->record = malloc(n * GROUP_RECORD);
    out->posting = malloc((3 * n + GROUP_DOCS) * sizeof *out->posting);
    out->impact = malloc(3 * n * sizeof *out->impact);
    if (!out->start || !out->group_bound || !out->record || !out->posting || !out->impact)
        return wr_fail(err, WR_ENOMEM, "%s: out of memory", path);
    if ((st = wr_sparse_tmp_open(&out->table, writer->dir, err))) return st;
    if ((st = wr_sparse_tmp_open(&out->names, writer->dir, err))) return st;
    if ((st = wr_file_create(&out->file, path, SPARSE_MAGIC, SPARSE_VERSION, err))) return st;
    return wr_file_write(out->file, &out->header, sizeof out->header);
}

static wr_status commit_write(struct commit *out, wr_sparse_writer *writer, wr_err *err)
{
    FILE *run[MAX_FANIN];
    for (size_t i = 0; i < writer->nruns; i++) run[i] = writer->run[i].file;
    wr_status st = wr_sparse_merge(run, writer->nruns, &(wr_sparse_sink){out, commit_term, commit_posting}, err);
    if (st) return st;
    wr_sparse_header *h = &out->header;
    uint64_t names_bytes = h->names_bytes;
    h->postings_bytes = wr_file_offset(out->file) - h->postings;
    if ((st = copy_section(out, out->table, &h->table, &h->table_bytes, err))) return st;
    if ((st = copy_section(out, out->names, &h->names, &h->names_bytes, err))) return st;
    if (h->table_bytes != h->nterms * SPARSE_ENTRY || h->names_bytes != names_bytes)
        return wr_fail(err, WR_EIO, "a temporary file of the index is shorter than what was written to it");
    wr_file_rewrite(out->file, 0, h, sizeof *h);
    wr_file *file = out->file;
    out->file = NULL;
    return wr_file_commit(file, err);
}

static void commit_release(struct commit *out)
{
    wr_file_abort(out->file);
    if (out->table) fclose(out->table);
    if (out->names) fclose(out->names);
    free(out->start);
    free(out->group_bound);
    free(out->record);
    free(out->posting);
    free(out->impact);
}

/* Of documents that were added as the kind wants them; none at all are of any kind. */
static wr_status commit(wr_sparse_writer *writer, wr_sparse_kind kind, const char *path, const wr_bm25_params *params,
                        wr_err *err)
{
    struct commit out = {0};
    wr_status st;
    if (writer->kind && writer->kind != kind)
        st = wr_fail(err, WR_EARG, "%s: the documents were added %s weights", path,
                     kind == WR_SPARSE_BM25 ? "with" : "without");
    else
        st = wr_sparse_writer_finish(writer, err);
    writer->kind = kind;
    if (!st) st = commit_open(&out, writer, path, params, err);
    if (!st) st = commit_write(&out, writer, err);
    commit_release(&out);
    wr_sparse_writer_abort(writer);
    return st;
}

wr_status wr_sparse_writer_commit_bm25(wr_sparse_writer *writer, const char *path, const wr_bm25_params *params,
                                       wr_err *err)
{
    if (params->k1 >= 0 && isfinite(params->k1) && params->b >= 0 && params->b <= 1)
        return commit(writer, WR_SPARSE_BM25, path, params, err);
    wr_sparse_writer_abort(writer);
    return wr_fail(err, WR_EARG, "BM25: k1 %g and b %g, expected k1 >= 0 and 0 <= b <= 1", params->k1, params->b);
}

wr_status wr_sparse_writer_commit_weights(wr_sparse_writer *writer, const char *path, wr_err *err)
{
    return commit(writer, WR_SPARSE_WEIGHTS, path, &(wr_bm25_params){0}, err);
}
