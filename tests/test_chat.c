/* Chat templates as checkpoints bring them. */
#include <criterion/criterion.h>
#include <string.h>

#include "models/chat.h"
#include "models/gguf.h"
#include "tests/testlib.h"

static wr_arena arena;
static wr_err err;

static void begin(void)
{
    cr_assert_eq(wr_arena_init(&arena, (size_t)256 << 20), WR_OK);
}

static void end(void)
{
    wr_arena_release(&arena);
}

TestSuite(chat, .init = begin, .fini = end);

static void renders(const char *file, const wr_message *message, size_t n, const char *want)
{
    wr_chat *chat;
    wr_text out;
    cr_assert_eq(wr_chat_open(&chat, wr_test_dir(), file, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_chat_render(chat, message, n, true, &arena, &out, &err), WR_OK, "%s", err.text);
    cr_assert(out.n == strlen(want) && !memcmp(out.bytes, want, out.n), "\"%.*s\", not \"%s\"", (int)out.n, out.bytes,
              want);
    wr_chat_close(chat);
}

static const wr_message hello[] = {{"system", {"Be brief.", 9}}, {"user", {"Hi", 2}}};

#define LLAMA2                                                                                                         \
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "           \
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif "   \
    "%}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = "       \
    "'<<SYS>>\\\\n' + system_message + '\\\\n<</SYS>>\\\\n\\\\n' + message['content'] %}{% else %}{% set content = "   \
    "message['content'] %}{% endif %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% endfor %}"

Test(chat, the_configuration_brings_template_and_tokens)
{
    wr_test_text("tokenizer_config.json",
                 "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\",\"chat_template\":\"" LLAMA2 "\"}");
    renders(NULL, hello, 2, "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]");
    renders(NULL, hello + 1, 1, "<s>[INST] Hi [/INST]");
}

Test(chat, of_several_templates_the_default_is_taken)
{
    wr_test_text("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"no\"},"
                                          "{\"name\":\"default\",\"template\":\"{{ messages | length }}\"}]}");
    renders(NULL, hello, 2, "2");
}

Test(chat, a_file_comes_before_the_configuration_and_the_option_before_both)
{
    wr_test_text("tokenizer_config.json", "{\"bos_token\":\"<s>\",\"chat_template\":\"config\"}");
    renders(NULL, hello, 2, "config");
    wr_test_text("chat_template.jinja", "{{ bos_token }}file");
    renders(NULL, hello, 2, "<s>file");
    renders(wr_test_text("mine.jinja", "option\n"), hello, 2, "option");
}

Test(chat, thinking_is_off_and_tools_are_none)
{
    wr_test_text("chat_template.jinja", "{% if enable_thinking is defined and enable_thinking is false %}off{% endif %}"
                                        "{% if tools %}tools{% endif %}{{ add_generation_prompt }}{{ eos_token }}");
    renders(NULL, hello, 2, "offTrue");
}

Test(chat, what_is_not_utf8_becomes_a_replacement_character)
{
    wr_test_text("chat_template.jinja", "{{ messages[0].content }}");
    const wr_message odd = {"user",
                            {"a\xFF"
                             "b{{ 1 }}",
                             10}};
    renders(NULL, &odd, 1,
            "a\xEF\xBF\xBD"
            "b{{ 1 }}");
}

Test(chat, a_model_without_template_says_so)
{
    wr_chat *chat;
    wr_test_text("tokenizer_config.json", "{\"bos_token\":\"<s>\"}");
    cr_assert_eq(wr_chat_open(&chat, wr_test_dir(), NULL, &err), WR_ENOTFOUND);
    cr_assert(!chat && strstr(err.text, "--chat-template"));
}

Test(chat, whether_a_template_knows_a_system_text_is_seen_in_it)
{
    wr_chat *chat;
    wr_test_text("chat_template.jinja", "{{ messages[0].content }}");
    cr_assert_eq(wr_chat_open(&chat, wr_test_dir(), NULL, &err), WR_OK);
    cr_assert_not(wr_chat_has_system(chat));
    wr_chat_close(chat);
    wr_test_text("chat_template.jinja", "{% if messages[0].role == 'system' %}s{% endif %}");
    cr_assert_eq(wr_chat_open(&chat, wr_test_dir(), NULL, &err), WR_OK);
    cr_assert(wr_chat_has_system(chat));
    wr_chat_close(chat);
}

/* The files are those of tests/golden/make_bpe.py. */
static void renders_gguf(const char *path, const char *file, const char *want)
{
    wr_gguf *gguf;
    wr_chat *chat;
    wr_text out;
    cr_assert_eq(wr_gguf_open(&gguf, path, &err), WR_OK, "%s", err.text);
    cr_assert_eq(wr_chat_open_gguf(&chat, gguf, file, &err), WR_OK, "%s", err.text);
    wr_gguf_close(gguf);
    cr_assert_eq(wr_chat_render(chat, hello, 2, true, &arena, &out, &err), WR_OK, "%s", err.text);
    cr_assert(out.n == strlen(want) && !memcmp(out.bytes, want, out.n), "\"%.*s\"", (int)out.n, out.bytes);
    wr_chat_close(chat);
}

Test(chat, a_gguf_file_brings_template_and_tokens)
{
    renders_gguf("tests/golden/bpe/llama3.gguf", NULL,
                 "<|begin_of_text|>system: Be brief.<|eot_id|>user: Hi<|eot_id|>");
    renders_gguf("tests/golden/bpe/llama2.gguf", NULL, "<s>system: Be brief.</s>user: Hi</s>");
    renders_gguf("tests/golden/bpe/llama2.gguf", wr_test_text("mine.jinja", "{{ bos_token }}option"), "<s>option");
}
