#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/config.h"
#include "server/listen.h"
#include "tests/testlib.h"

static const struct wr_command command = {"serve", "weir serve", "serves", NULL};

/* Reads options given as one NULL-terminated list. */
static wr_status read_config(wr_config *config, char **argv, wr_err *err)
{
    bool said;
    int argc = 0;
    while (argv[argc]) argc++;
    memset(err, 0, sizeof *err);
    return wr_config_read(config, &command, argc, argv, &said, err);
}

#define ARGS(...) (char *[]){"serve", __VA_ARGS__, NULL}

static void refuses(char **argv, const char *words)
{
    wr_config config;
    wr_err err;
    cr_assert_eq(read_config(&config, argv, &err), WR_EARG, "%s", argv[1]);
    cr_assert_not_null(strstr(err.text, words), "%s", err.text);
}

Test(config, an_index_is_enough)
{
    wr_config config;
    wr_err err;
    cr_assert_eq(read_config(&config, ARGS("--index", "/srv/wiki/"), &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(config.listen, "127.0.0.1:8080");
    cr_assert_eq(config.nindexes, 1);
    cr_assert_str_eq(config.index[0].name, "wiki");
    cr_assert_str_eq(config.index[0].dir, "/srv/wiki/");
    cr_assert_eq(config.queue, 256);
    cr_assert_eq(config.max_body, 8388608);
    cr_assert_eq(config.nkeys, 0);
    wr_config_release(&config);
}

Test(config, indexes_have_names)
{
    wr_config config;
    wr_err err;
    cr_assert_eq(read_config(&config, ARGS("--index", "a=/x/y", "--index=b=rel", "--index", "./p=q/z"), &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(config.index[0].name, "a");
    cr_assert_str_eq(config.index[1].dir, "rel");
    cr_assert_str_eq(config.index[2].name, "z");
    cr_assert_str_eq(config.index[2].dir, "./p=q/z");
    refuses(ARGS("--index", "a=/x", "--index", "/y/a"), "taken");
    refuses(ARGS("--index", "sp ace=/x"), "name");
    refuses(ARGS("--index", "/"), "name");
    refuses(ARGS("--queue", "4"), "no index");
}

Test(config, flags_win_over_the_file)
{
    const char *file = wr_test_text("c.json", "{\"listen\": \"127.0.0.1:1\", \"index\": [\"a=/a\", \"b=/b\"], \"queue\": 7, \"threads\": 3,"
                                              "\"default_budget_ms\": 5.5, \"max_budget_ms\": 10, \"log_jsonl\": true, \"cross\": \"t=/t\", \"list\": [\"/q\", \"m=/m\"]}");
    wr_config config;
    wr_err err;
    cr_assert_eq(read_config(&config, ARGS("--config", (char *)file, "--queue", "9"), &err), WR_OK, "%s", err.text);
    cr_assert_str_eq(config.listen, "127.0.0.1:1");
    cr_assert_eq(config.nindexes, 2);
    cr_assert_eq(config.queue, 9);
    cr_assert_eq(config.threads, 3);
    cr_assert_eq(config.default_budget_ms, 5.5);
    cr_assert_eq(config.cross.n, 1);
    cr_assert_eq(config.list.n, 2);
    cr_assert_str_eq(config.list.item[1], "m=/m");
    cr_assert(config.log_jsonl);
    wr_config_release(&config);
    cr_assert_eq(read_config(&config, ARGS("--config", (char *)file, "--index", "/only"), &err), WR_OK, "%s", err.text);
    cr_assert_eq(config.nindexes, 1);
    wr_config_release(&config);
}

Test(config, the_environment_stands_between_flag_and_file)
{
    const char *file = wr_test_text("c.json", "{\"queue\": 7, \"threads\": 3}");
    wr_config config;
    wr_err err;
    setenv("WEIR_QUEUE", "8", 1);
    cr_assert_eq(read_config(&config, ARGS("--config", (char *)file, "--index", "/i"), &err), WR_OK, "%s", err.text);
    cr_assert_eq(config.queue, 8);
    cr_assert_eq(config.threads, 3);
    wr_config_release(&config);
}

static void file_refuses(const char *json, const char *words)
{
    refuses(ARGS("--index", "/i", "--config", (char *)wr_test_text("c.json", json)), words);
}

Test(config, a_file_that_is_wrong_is_refused_with_the_member)
{
    file_refuses("{\"queue\": \"7\"}", "\"queue\": expected a whole number");
    file_refuses("{\"que\": 7}", "\"que\": no such option");
    file_refuses("{\"listen\": 8080}", "\"listen\": expected a string");
    file_refuses("{\"index\": [1]}", "\"index\": expected a string");
    file_refuses("{\"log_jsonl\": 1}", "\"log_jsonl\": expected true or false");
    file_refuses("{\"max_budget_ms\": -1}", "\"max_budget_ms\": expected");
    file_refuses("{\"default_budget_ms\": 20, \"max_budget_ms\": 10}", "more than max_budget_ms");
    file_refuses("[]", "expected one JSON object");
    file_refuses("{\"api_keys\": [\"\"]}", "a key is empty");
    file_refuses("{\"queue\": 0}", "queue: 0, expected 1 to");
}

Test(config, other_machines_need_a_key)
{
    wr_config config;
    wr_err err;
    refuses(ARGS("--index", "/i", "--listen", "0.0.0.0:80"), "key");
    refuses(ARGS("--index", "/i", "--listen", "[::]:80"), "key");
    refuses(ARGS("--index", "/i", "--listen", ":80"), "key");
    refuses(ARGS("--index", "/i", "--listen", "10.0.0.1:80"), "key");
    cr_assert_eq(read_config(&config, ARGS("--index", "/i", "--listen", "0.0.0.0:80", "--api-key", "secret"), &err), WR_OK);
    wr_config_release(&config);
    cr_assert_eq(read_config(&config, ARGS("--index", "/i", "--listen", "[::1]:80"), &err), WR_OK, "%s", err.text);
    wr_config_release(&config);
}

Test(config, keys_are_known_again_and_nothing_else_is)
{
    const char *file = wr_test_text("c.json", "{\"api_keys\": [\"second\", \"third\"]}");
    wr_config config;
    wr_err err;
    cr_assert_eq(read_config(&config, ARGS("--index", "/i", "--config", (char *)file, "--api-key", "first"), &err), WR_OK);
    cr_assert(wr_config_has_key(&config, "first", 5));
    cr_assert(wr_config_has_key(&config, "second", 6));
    cr_assert(wr_config_has_key(&config, "third", 5));
    cr_assert_not(wr_config_has_key(&config, "fourth", 6));
    cr_assert_not(wr_config_has_key(&config, "firs", 4));
    cr_assert_not(wr_config_has_key(&config, "", 0));
    wr_config_release(&config);
}

Test(listen, addresses_of_this_machine_are_told_from_others)
{
    const struct { const char *address; bool local; } cases[] = {
        {"127.0.0.1:80", true}, {"127.8.8.8:0", true}, {"[::1]:80", true}, {"[::ffff:127.0.0.1]:80", true}, {"8080", true},
        {"0.0.0.0:80", false}, {"[::]:80", false}, {":80", false}, {"10.1.2.3:80", false}, {"[fe80::1]:80", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool local;
        wr_err err;
        cr_assert_eq(wr_listen_is_local(cases[i].address, &local, &err), WR_OK, "%s: %s", cases[i].address, err.text);
        cr_assert_eq(local, cases[i].local, "%s", cases[i].address);
    }
}

Test(listen, what_is_no_address_is_refused)
{
    static const char *const bad[] = {"", "localhost", "127.0.0.1:", "127.0.0.1:x", "::1:80", "[::1", "[::1]", "1.2.3.4:99999", "1.2.3.4:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bool local;
        wr_err err;
        cr_assert_eq(wr_listen_is_local(bad[i], &local, &err), WR_EARG, "%s", bad[i]);
    }
}
