/* What a tokenizer is, as one hash: the same for two folders whose files differ only in what does not decide ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/wordpiece.h"

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

wr_status wr_wordpiece_hash(struct wr_tokenizer *tok)
{
    feed f = {.hash = wr_sha256_new()};
    const wr_fold *fold = &tok->raw.fold;
    if (!f.hash) return WR_ENOMEM;
    add_text(&f, "wordpiece 1", 11); /* another number when the same tables come to mean other ids */
    add_number(&f, (uint64_t)fold->clean | (uint64_t)fold->han << 1 | (uint64_t)fold->strip << 2 |
                       (uint64_t)fold->lower << 3);
    add_number(&f, tok->unk);
    add_number(&f, tok->max_chars);
    add_number(&f, tok->ids);
    for (uint32_t id = 0; id < tok->ids; id++) {
        const char *token = wr_vocab_token(&tok->vocab, id);
        add_text(&f, token, token ? strlen(token) : 0);
    }
    add_number(&f, tok->nadded);
    for (size_t i = 0; i < tok->nadded; i++) add_added(&f, &tok->added[i]);
    wr_sha256_add(f.hash, f.block, f.n);
    wr_sha256_finish(f.hash, tok->sha256);
    return WR_OK;
}

const char *wr_tokenizer_sha256(const wr_tokenizer *tok)
{
    return tok->sha256;
}
