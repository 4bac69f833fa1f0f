/* Chat templates: a list of messages becomes the text that a checkpoint was trained to read.
 *
 * The template is the checkpoint's own, run by models/jinja.h as transformers' apply_chat_template() runs it: variables
 * messages, add_generation_prompt, tools (none), documents (none), enable_thinking (false), bos_token, eos_token,
 * unk_token, pad_token and what other *_token strings tokenizer_config.json holds. What a model lacks is undefined, as
 * it is there. A prompt is a function of its messages alone: there is no clock (see strftime_now in models/jinja.h).
 *
 *     wr_message turn[] = {{"system", system}, {"user", user}};
 *     st = wr_chat_render(chat, turn, 2, true, arena, &prompt, err);
 */
#ifndef WR_MODELS_CHAT_H
#define WR_MODELS_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "data/arena.h"
#include "data/status.h"
#include "data/text.h"

typedef struct wr_gguf wr_gguf; /* models/gguf.h */
typedef struct wr_chat wr_chat; /* constant after open; shared by all threads */

/* A template file and tokenizer_config.json may have at most this many bytes (the largest in use has 30 KB; Llama-3's
 * configuration with its 256 reserved tokens has 60 KB). */
#define WR_CHAT_MAX_BYTES ((size_t)4 << 20)

/* The template of a Hugging Face directory: `file` when it is not NULL (--chat-template), else dir/chat_template.jinja,
 * else "chat_template" of dir/tokenizer_config.json, a string or a list of {"name", "template"} of which "default" is
 * taken. Token strings come from tokenizer_config.json, "</s>" or {"content": "</s>"}. A model without template:
 * WR_ENOTFOUND and *chat NULL. A template with a construct that the interpreter lacks: WR_EUNSUPPORTED, one sentence
 * that names the construct and --chat-template. */
wr_status wr_chat_open(wr_chat **chat, const char *dir, const char *file, wr_err *err);

/* The same of a GGUF file: tokenizer.chat_template and the tokens at bos_token_id, eos_token_id, unknown_token_id and
 * padding_token_id. */
wr_status wr_chat_open_gguf(wr_chat **chat, const wr_gguf *gguf, const char *file, wr_err *err);
void wr_chat_close(wr_chat *chat); /* NULL is fine */

/* Whether "system" occurs in the template: if not, a system text goes in front of the user's (papers.md 1.3). */
bool wr_chat_has_system(const wr_chat *chat);

/* The string of bos_token; n 0 when the model has none. */
wr_text wr_chat_bos(const wr_chat *chat);

typedef struct wr_message {
    const char *role; /* "system", "user", "assistant" */
    wr_text content;  /* UTF-8; what is not becomes U+FFFD */
} wr_message;

/* generate: add_generation_prompt. out is borrowed from the arena. WR_EFORMAT when the template raises an exception
 * (its own words are in err), WR_EFULL when it goes beyond the interpreter's limits, WR_ENOMEM. */
wr_status wr_chat_render(const wr_chat *chat, const wr_message *message, size_t n, bool generate, wr_arena *arena,
                         wr_text *out, wr_err *err);

#endif
