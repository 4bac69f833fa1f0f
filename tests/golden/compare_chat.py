#!/usr/bin/env python3
"""Compares weir's chat templates with Jinja 2 as transformers sets it up, byte by byte. Exit status 0 when nothing differs.

    make build/release/tests/golden/render_chat
    python3 tests/golden/compare_chat.py

Needs the package jinja2. strftime_now is left undefined, as it is in weir.
"""
import json
import os
import random
import subprocess
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chat_templates import TEMPLATES

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = ROOT + "/build/release/tests/golden/render_chat"
CONTENT = ["Hello", "", "  spaces \n", "line\nbreaks\n\n", "{{ not }} {% run %}", "<s>[INST] x [/INST]</s>", "é 日本 😀 ﬁ",
           "tab\tnbsp\u00a0\u3000", "'quotes' \"and\" \\ back\\n", "<think>\nwhy\n</think>\n\nanswer", "</think>", "[A] > [B]",
           "\x1f\x0b\x01", "<tool_response>a</tool_response>", "x" * 3000]


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env.globals["raise_exception"] = refuse
    return env


def theirs(template, test):
    messages = [{"role": r, "content": c} for r, c in test[0]]
    try:
        return template.render(messages=messages, add_generation_prompt=test[1], tools=None, documents=None,
                               enable_thinking=False, bos_token="<s>", eos_token="</s>")
    except (jinja2.exceptions.TemplateError, TypeError):
        return None


def cases(rng):
    out = []
    for i in range(400):
        messages = [["system", rng.choice(CONTENT)]] if rng.random() < .6 else []
        for turn in range(rng.randrange(1, 6)):
            role = ("user", "assistant")[turn % 2] if rng.random() < .95 else rng.choice(["tool", "assistant", "user"])
            messages.append([role, rng.choice(CONTENT)])
        out.append([messages, rng.random() < .7])
    return out


def main():
    rng, env, bad, total = random.Random(1), environment(), 0, 0
    work = [(name, text, cases(rng)) for name, text in TEMPLATES.items()]
    data = "".join(json.dumps(t) + "\n" + json.dumps(c) + "\n" for _, t, c in work)
    ran = subprocess.run([PROGRAM], input=data.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    for (name, text, tests), line in zip(work, ran.stdout.decode().splitlines()):
        template, wrong = env.from_string(text), 0
        refused = 0
        for test, got in zip(tests, json.loads(line)):
            want = theirs(template, test)
            refused += want is None
            if want != got:
                wrong += 1
                if wrong == 1:
                    print(f"{name}: {json.dumps(test)[:200]}\n  want {want!r:.900}\n  got  {got!r:.900}")
        print(f"{name}: {len(tests)} renderings ({refused} refused by both), {wrong} differ")
        bad, total = bad + wrong, total + len(tests)
    if bad:
        print(ran.stderr.decode()[:1500])
    print(f"{total} compared, {bad} differ")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
