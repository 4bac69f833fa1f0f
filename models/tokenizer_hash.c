/* What a tokenizer is, as one hash: the same for two folders whose files differ only in what does not decide ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/bpe.h"
#include "models/tokenizer_parts.h"

/* The hash is fed through a block: a vocabulary is thirty thousand pieces of a few bytes. */
typedef struct feed {
    wr_sha256 *hash;
    size_t n;
    char block[1 << 14];
} feed;

static void add(feed *f, const void *bytes, size_t n)
{
    if (n > sizeof f->block - f->n) {
        wr_sha256_add(f->hash, f->block, f->n);
        f->n = 0;
    }
    if (n > sizeof f->block)
        wr_sha256_add(f->hash, bytes, n);
    else {
        memcpy(f->block + f->n, bytes, n);
        f->n += n;
    }
}

static void add_number(feed *f, uint64_t x)
{
    unsigned char le[8];
    for (int i = 0; i < 8; i++) le[i] = (unsigned char)(x >> 8 * i);
    add(f, le, sizeof le);
}

static void add_text(feed *f, const char *text, size_t n)
{
    add_number(f, n);
    if (n) add(f, text, n);
}

static void add_added(feed *f, const wr_added *a)
{
    add_text(f, a->text, a->n);
    add_number(f, a->id);
    add_number(f, a->order);
    add_number(f, (uint64_t)a->normalized | (uint64_t)a->single_word << 1 | (uint64_t)a->lstrip << 2 |
                      (uint64_t)a->rstrip << 3);
}

static void add_wordpiece(feed *f, const struct wr_tokenizer *tok)
{
    const wr_fold *fold = &tok->raw.fold;
    add_text(f, "wordpiece 1", 11); /* another number when the same tables come to mean other ids */
    add_number(f, (uint64_t)fold->clean | (uint64_t)fold->han << 1 | (uint64_t)fold->strip << 2 |
                      (uint64_t)fold->lower << 3);
    add_number(f, tok->unk);
    add_number(f, tok->max_chars);
}

static void add_normal(feed *f, const wr_normal *normal)
{
    add_number(f, normal->n);
    for (size_t i = 0; i < normal->n; i++) {
        const wr_normal_step *step = &normal->step[i];
        add_number(f, step->kind);
        add_text(f, step->from, step->from_n);
        add_text(f, step->to, step->to_n);
    }
}

static void add_stages(feed *f, const wr_bpe *bpe)
{
    add_number(f, bpe->nstages);
    for (size_t i = 0; i < bpe->nstages; i++) {
        const wr_stage *stage = &bpe->stage[i];
        const char *source = stage->pattern ? wr_pattern_source(stage->pattern) : "";
        add_number(f, (uint64_t)stage->kind | (uint64_t)stage->behavior << 8 | (uint64_t)stage->invert << 16 |
                          (uint64_t)stage->prefix_space << 17 | (uint64_t)stage->scheme << 18);
        add_text(f, source, strlen(source));
        add_text(f, stage->mark, strlen(stage->mark));
    }
}

/* Merges in their order, whatever numbers they have. */
static wr_status add_merges(feed *f, const wr_bpe *bpe)
{
    const wr_merge **sorted = malloc((bpe->nmerges + 1) * sizeof *sorted);
    if (!sorted) return WR_ENOMEM;
    size_t n = wr_bpe_merges(bpe, sorted);
    add_number(f, n);
    for (size_t i = 0; i < n; i++) {
        add_number(f, sorted[i]->left);
        add_number(f, sorted[i]->right);
    }
    free(sorted);
    return WR_OK;
}

static wr_status add_bpe(feed *f, const wr_bpe *bpe)
{
    add_text(f, "bpe 1", 5);
    add_number(f, (uint64_t)bpe->ignore_merges | (uint64_t)bpe->byte_fallback << 1 | (uint64_t)bpe->fuse_unk << 2);
    add_number(f, (uint64_t)bpe->unk);
    add_normal(f, &bpe->normal);
    add_stages(f, bpe);
    return add_merges(f, bpe);
}

wr_status wr_tokenizer_hash(struct wr_tokenizer *tok)
{
    feed f = {.hash = wr_sha256_new()};
    wr_status st = WR_OK;
    if (!f.hash) return WR_ENOMEM;
    if (tok->bpe)
        st = add_bpe(&f, tok->bpe);
    else
        add_wordpiece(&f, tok);
    add_number(&f, tok->ids);
    for (uint32_t id = 0; id < tok->ids; id++) {
        const char *token = wr_vocab_token(&tok->vocab, id);
        add_text(&f, token, token ? strlen(token) : 0);
    }
    add_number(&f, tok->nadded);
    for (size_t i = 0; i < tok->nadded; i++) add_added(&f, &tok->added[i]);
    wr_sha256_add(f.hash, f.block, f.n);
    wr_sha256_finish(f.hash, tok->sha256);
    return st;
}
