#include "ranker/rerank_pointwise.h"

#include <math.h>
#include <string.h>

#include "data/utf8.h"
#include "ranker/prompt.h"

static const char system_text[] = "Judge whether the Document meets the requirements based on the Query and the Instruct "
                                  "provided. Note that the answer can only be \"yes\" or \"no\".";

/* What stands for query and text where only the frame counts. */
static const wr_text harmless = {"x", 1};

const char *wr_judge_name(wr_judge judge)
{
    static const char *const name[] = {"auto", "yesno", "monot5"};
    return name[judge];
}

/* ---- the string ---- */

typedef struct page {
    char *at;
    size_t n;
} page;

static void put(page *to, wr_text text)
{
    if (text.n) memcpy(to->at + to->n, text.bytes, text.n);
    to->n += text.n;
}

static void word(page *to, const char *s)
{
    put(to, (wr_text){s, strlen(s)});
}

/* Room for the fixed words of any prompt; the longest have 300 bytes. */
#define FRAME 1024

static void put_body(page *to, const wr_pointwise *j, wr_text query, wr_text text)
{
    bool yesno = j->judge == WR_JUDGE_YESNO;
    if (yesno) word(to, "<Instruct>: "), put(to, j->instruction);
    word(to, yesno ? "\n<Query>: " : "Query: "), put(to, query);
    word(to, yesno ? "\n<Document>: " : " Document: "), put(to, text);
    if (!yesno) word(to, " Relevant:");
}

/* By the model's own template; a template without system turns gets the system text in front of the user's. */
static wr_status rendered(const wr_chat *chat, wr_text body, wr_arena *arena, wr_text *out, wr_err *err)
{
    wr_message message[2] = {{"system", {system_text, sizeof system_text - 1}}, {"user", body}};
    if (wr_chat_has_system(chat)) return wr_chat_render(chat, message, 2, true, arena, out, err);
    page user = {wr_arena_alloc(arena, body.n + FRAME), 0};
    if (!user.at) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    word(&user, system_text), word(&user, "\n "), put(&user, body);
    message[1].content = (wr_text){user.at, user.n};
    return wr_chat_render(chat, message + 1, 1, true, arena, out, err);
}

static wr_status string_of(const wr_pointwise *j, wr_text query, wr_text text, wr_arena *arena, wr_text *out, wr_err *err)
{
    const wr_chat *chat = wr_decoder_chat(wr_llm_decoder(j->llm));
    page to = {wr_arena_alloc(arena, query.n + text.n + j->instruction.n + FRAME), 0};
    if (!to.at) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    bool yesno = j->judge == WR_JUDGE_YESNO;
    if (yesno && !j->chatml && chat) {
        put_body(&to, j, query, text);
        return rendered(chat, (wr_text){to.at, to.n}, arena, out, err);
    }
    if (j->chatml) word(&to, "<|im_start|>system\n");
    if (yesno) word(&to, system_text);
    if (yesno) word(&to, j->chatml ? "<|im_end|>\n<|im_start|>user\n" : "\n");
    put_body(&to, j, query, text);
    if (j->chatml) word(&to, "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    else if (yesno) word(&to, "\n");
    *out = (wr_text){to.at, to.n};
    return WR_OK;
}

static wr_status assembled(const wr_pointwise *j, wr_text query, wr_text text, wr_arena *arena, wr_text *prompt,
                           wr_tokens *ids, wr_err *err)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(j->llm));
    wr_text string;
    wr_status st = string_of(j, query, text, arena, &string, err);
    if (st) return st;
    st = wr_prompt_encode(tok, string, arena, prompt, ids);
    return st ? wr_fail(err, st, "prompt: the arena is exhausted") : WR_OK;
}

/* ---- beginning ---- */

static bool has(const wr_tokenizer *tok, const char *token)
{
    return wr_tokenizer_id(tok, token) >= 0;
}

/* Valid UTF-8 that makes no special token. */
static wr_status guarded(const wr_tokenizer *tok, wr_text text, wr_arena *arena, wr_text *out)
{
    if (text.n > SIZE_MAX / 3) return WR_ENOMEM;
    char *bytes = wr_arena_alloc(arena, 3 * text.n);
    if (!bytes) return WR_ENOMEM;
    return wr_tokenizer_guard(tok, (wr_text){bytes, wr_utf8_repair(text.bytes, text.n, bytes)}, arena, out);
}

/* The token that an answer begins with behind the prompt. */
static wr_status find_answer(const wr_pointwise *j, wr_text prompt, const char *answer, wr_arena *arena, uint32_t *id,
                             wr_err *err)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(j->llm));
    page to = {wr_arena_alloc(arena, prompt.n + strlen(answer)), 0};
    wr_tokens with;
    if (!to.at) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    put(&to, prompt), word(&to, answer);
    if (wr_tokenizer_encode(tok, to.at, to.n, arena, SIZE_MAX, &with))
        return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    if (with.n <= j->bones.n || wr_prompt_shared(with.id, with.n, j->bones.id, j->bones.n) < j->bones.n)
        return wr_fail(err, WR_EUNSUPPORTED, "vocabulary: \"%s\" behind the prompt does not begin with a token of its own",
                       answer);
    *id = with.id[j->bones.n];
    return WR_OK;
}

static wr_status find_answers(wr_pointwise *j, wr_text prompt, wr_arena *arena, wr_err *err)
{
    bool yesno = j->judge == WR_JUDGE_YESNO;
    wr_status st = find_answer(j, prompt, yesno ? "yes" : " true", arena, &j->row[0], err);
    if (!st) st = find_answer(j, prompt, yesno ? "no" : " false", arena, &j->row[1], err);
    if (st || j->row[0] != j->row[1]) return st;
    return wr_fail(err, WR_EUNSUPPORTED, "vocabulary: both answers of the prompt %s begin with one token",
                   wr_judge_name(j->judge));
}

static wr_status begin(wr_pointwise *j, wr_text query, wr_text instruction, wr_arena *arena, wr_err *err)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(j->llm));
    wr_text prompt;
    wr_tokens empty;
    if (guarded(tok, query, arena, &j->query) || guarded(tok, instruction, arena, &j->instruction))
        return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    wr_status st = assembled(j, harmless, harmless, arena, &prompt, &j->bones, err);
    if (!st) st = find_answers(j, prompt, arena, err);
    if (!st) st = assembled(j, j->query, harmless, arena, &prompt, &empty, err);
    if (st) return st;
    if (empty.n > j->tokens)
        return wr_fail(err, WR_EARG, "prompt: %zu tokens without a text, at most %zu fit: the query is too long", empty.n,
                       j->tokens);
    if (!wr_prompt_same_specials(tok, &empty, &j->bones))
        return wr_fail(err, WR_EFORMAT, "prompt: the query forms a special token with the chat template");
    return WR_OK;
}

wr_status wr_pointwise_begin(wr_pointwise *j, wr_llm *llm, const wr_pointwise_options *options, wr_text query,
                             wr_arena *arena, wr_err *err)
{
    const wr_decoder *decoder = wr_llm_decoder(llm);
    const wr_tokenizer *tok = wr_decoder_tokenizer(decoder);
    wr_text instruction = options->instruction;
    if (!instruction.n) instruction = (wr_text){WR_INSTRUCTION, sizeof WR_INSTRUCTION - 1};
    *j = (wr_pointwise){.llm = llm, .judge = options->judge, .tokens = wr_llm_tokens(llm)};
    bool chatml = has(tok, "<|im_start|>") && has(tok, "<|im_end|>") && has(tok, "<think>") && !wr_llm_template_given(llm);
    if (j->judge == WR_JUDGE_AUTO) j->judge = chatml || wr_decoder_chat(decoder) ? WR_JUDGE_YESNO : WR_JUDGE_MONOT5;
    j->chatml = chatml && j->judge == WR_JUDGE_YESNO;
    return begin(j, query, instruction, arena, err);
}

/* ---- one text ---- */

/* The text loses its end until the prompt fits: what is too much, and then an eighth more each time. */
static wr_status fitted(const wr_pointwise *j, wr_text text, wr_arena *arena, wr_text *prompt, wr_tokens *ids, bool *cut,
                        wr_err *err)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(j->llm));
    size_t mark = wr_arena_mark(arena), room = 0;
    wr_text part = text;
    for (*cut = false;; *cut = true) {
        wr_status st = assembled(j, j->query, part, arena, prompt, ids, err);
        if (st || ids->n <= j->tokens || !part.n) return st;
        size_t over = ids->n - j->tokens;
        wr_arena_rollback(arena, mark);
        if (!*cut) {
            wr_tokens all;
            if (wr_tokenizer_encode(tok, text.bytes, text.n, arena, SIZE_MAX, &all))
                return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
            room = all.n > over ? all.n - over : 0;
            wr_arena_rollback(arena, mark);
        } else {
            room -= room / 8 + (room > 0);
        }
        if (wr_prompt_cut(tok, text, room, arena, &part)) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    }
}

wr_status wr_pointwise_prompt(const wr_pointwise *j, wr_text text, wr_arena *arena, wr_text *prompt, wr_tokens *ids, bool *cut,
                              wr_err *err)
{
    const wr_tokenizer *tok = wr_decoder_tokenizer(wr_llm_decoder(j->llm));
    wr_text safe, head = wr_prompt_head(text);
    if (guarded(tok, head, arena, &safe)) return wr_fail(err, WR_ENOMEM, "prompt: the arena is exhausted");
    wr_status st = fitted(j, safe, arena, prompt, ids, cut, err);
    *cut |= head.n < text.n;
    if (st || wr_prompt_same_specials(tok, ids, &j->bones)) return st;
    return wr_fail(err, WR_EFORMAT, "prompt: a text forms a special token with the chat template");
}

static wr_status score_text(const wr_pointwise *j, wr_text text, wr_pool *pool, const wr_budget *budget, wr_arena *arena,
                            float *score, bool *cut, wr_err *err)
{
    float out[2];
    bool shorter;
    wr_text prompt;
    wr_tokens ids;
    const wr_logits wanted = {j->row, 2, out};
    wr_status st = wr_pointwise_prompt(j, text, arena, &prompt, &ids, &shorter, err);
    if (st) return st;
    wr_crew *crew = wr_crew_gather(pool);
    st = wr_llm_read(j->llm, &ids, &wanted, crew, arena, budget, NULL);
    wr_crew_dismiss(crew);
    if (st) return st > 0 ? st : wr_fail(err, st, "scoring: %s", wr_status_name(st));
    *score = out[0] - out[1];
    if (!isfinite(*score)) return wr_fail(err, WR_EFORMAT, "scoring: the model's logits are no numbers");
    *cut = shorter;
    return WR_OK;
}

wr_status wr_pointwise_score(const wr_pointwise *j, wr_text text, wr_pool *pool, const wr_budget *budget, float *score,
                             bool *cut, wr_err *err)
{
    wr_arena *arena = wr_arena_of_thread();
    if (wr_budget_spent(budget)) return WR_STOPPED;
    if (!arena) return wr_fail(err, WR_ENOMEM, "scoring: out of memory");
    size_t mark = wr_arena_mark(arena);
    wr_status st = score_text(j, text, pool, budget, arena, score, cut, err);
    wr_arena_rollback(arena, mark);
    return st;
}

wr_status wr_pointwise_run(const wr_pointwise *j, const wr_text *text, size_t n, wr_pool *pool, const wr_budget *budget,
                           float *score, bool *cut, size_t *done, wr_err *err)
{
    wr_status st = WR_OK;
    for (*done = 0; *done < n && !st; *done += !st)
        st = wr_pointwise_score(j, text[*done], pool, budget, &score[*done], &cut[*done], err);
    return st > 0 ? WR_OK : st;
}
