/* Fetches a model from a Hugging Face hub: only the files that weir reads, resumed and verified.
 *
 *     GET  ENDPOINT/api/models/OWNER/NAME/revision/R?blobs=true   the files, their sizes and hashes
 *     GET  ENDPOINT/OWNER/NAME/resolve/COMMIT/FILE                each file, often by way of another host
 *
 * R is resolved to a commit by the first answer, and everything is fetched from that commit: a push in between
 * cannot mix two versions. A file grows as TO/FILE.part and gets its name when size and hash are right (SHA-256 of
 * a large file, the git blob's SHA-1 of a small one), so what has its name is whole. A pull that was cut off goes on
 * where it stopped; a file that is there and right is left alone.
 *
 * What the hub says is untrusted: a name that would leave TO is refused before anything is written. The token goes
 * to the endpoint's host and to no host that it redirects to.
 */
#ifndef WR_TOOLS_PULL_H
#define WR_TOOLS_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/status.h"

#define WR_PULL_HASH_HEX 65 /* SHA-256 or SHA-1 in hex, and a NUL */

/* One file of a repository. */
typedef struct wr_pull_file {
    char *name;                    /* "1_Pooling/config.json": safe to append to a folder         */
    int64_t size;                  /* bytes; -1 when the hub does not say                         */
    char sha256[WR_PULL_HASH_HEX]; /* of the content; "" when the hub does not say (small files)  */
    char blob[WR_PULL_HASH_HEX];   /* git's SHA-1 of "blob SIZE\0" and the content; "" as above   */
} wr_pull_file;

/* The files of a repository that are wanted, in the hub's order. */
typedef struct wr_pull_list {
    wr_pull_file *file; /* [n], owned; wr_pull_list_release() */
    size_t n;
    char commit[WR_PULL_HASH_HEX]; /* what the revision stands for; "" when the hub does not say */
} wr_pull_list;

/* Reads the hub's answer about a repository and keeps the files of a weir model: in the top folder and in
 * sentence-transformers' module folders (1_Pooling, query_0_Transformer, ..) the configuration, the tokenizer and the
 * weights. Weights are model*.safetensors where there are any, else any *.safetensors, else pytorch_model*.bin; a
 * repository without either gives its GGUF file if it has one only. With patterns (fnmatch(3), against the whole
 * name) the files that match any of them are kept instead.
 *
 *   json, n      the answer's body; where names it in err
 *   pattern      [npatterns], may be NULL when npatterns is 0
 *
 * WR_EFORMAT when the answer is not understood or a name is unsafe (also of a file that is not wanted);
 * WR_ENOTFOUND when no file is wanted. */
wr_status wr_pull_list_read(wr_pull_list *out, const char *json, size_t n, const char *where,
                            const char *const *pattern, size_t npatterns, wr_err *err);
void wr_pull_list_release(wr_pull_list *list);

/* True when name is relative, stays below the folder it is appended to, and has no control character, backslash,
 * empty part, "." or "..", and does not end in ".part". */
bool wr_pull_name_is_safe(const char *name);

/* What to fetch. Strings are borrowed for the call. */
typedef struct wr_pull_options {
    const char *endpoint;       /* "https://huggingface.co"; http or https, no slash at the end needed */
    const char *token;          /* NULL or "" for none                                                 */
    const char *repo;           /* "OWNER/NAME"                                                        */
    const char *revision;       /* branch, tag or commit; "main"                                       */
    const char *to;             /* folder, made when missing                                           */
    const char *const *pattern; /* as in wr_pull_list_read() */
    size_t npatterns;
    unsigned retry_ms; /* wait before the first repetition, doubled for each further one */
    /* Told after each piece that arrives; total is -1 when unknown. NULL for silence. */
    void (*progress)(void *ctx, const char *name, int64_t done, int64_t total);
    void *ctx;
} wr_pull_options;

typedef struct wr_pull_result {
    size_t files;   /* in the folder now                 */
    size_t fetched; /* of these, downloaded by this call */
    int64_t bytes;  /* that came over the network        */
    char commit[WR_PULL_HASH_HEX];
} wr_pull_result;

/* Fetches the repository's model into options->to. A connection that breaks is tried again from where it broke, up to
 * WR_PULL_TRIES times without a new byte; so are 429 and 5xx. A resumed file whose hash is wrong is fetched once more
 * from its beginning.
 *
 * Returns WR_EARG (a bad repository name or endpoint), WR_ENOTFOUND (404, or no model in it), WR_EFORMAT (size or hash
 * is wrong, an unsafe name, an answer that is not understood), WR_EIO (network, disk, or the hub refuses: 401, 403). */
#define WR_PULL_TRIES 5
wr_status wr_pull(const wr_pull_options *options, wr_pull_result *result, wr_err *err);

#endif
