#!/usr/bin/env python3
"""Compares weir's listwise prompts with the published ones, byte by byte. Exit status 0 when nothing differs.

    make build/release/tests/golden/list_prompts
    python3 tests/golden/compare_prompt.py MODEL RANK_LLM

MODEL is a folder with tokenizer.json, which is used for counting only; its tokenizer_config.json has "<s>" and "</s>".
RANK_LLM is the unpacked wheel rank-llm of PyPI (its prompt_templates/rank_zephyr_alpha_template.yaml is read). Needs the
packages jinja2, ftfy and pyyaml.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import ftfy
import yaml

from chat_templates import TEMPLATES
from compare_chat import environment

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("LIST_PROMPTS", ROOT + "/build/release/tests/golden/list_prompts")
WORDS = "how many people live in Berlin the city has a population of 3,520,031 museums".split()
ODD = ["[12] see", "caf\u00e9", "caf\u00c3\u00a9", "\u201cq\u201d", "[B]", "[\u0661\u0662]", "&amp;", "x<y", "\ufb01n", " \x1c ", "\u3000", "[1][2]",
       "[ 3]", "[[4]]", "\u65e5\u672c"]


def rounded(text):
    return re.sub(r"\[(\d+)\]", r"(\1)", text)


def passage(title, text):
    content = f"Title: {title} Content: {text}" if title else text
    return rounded(" ".join(ftfy.fix_text(content.strip()).split()[:300]))


def user(parts, request):
    query, texts = rounded(request["query"]), [passage(*p) for p in request["passages"]]
    body = "".join(parts["body"].format(rank=chr(65 + i), candidate=t) for i, t in enumerate(texts))
    return parts["prefix"].format(num=len(texts), query=query) + body + parts["suffix"].format(num=len(texts), query=query)


def prompt(parts, request, template, env):
    system, text = parts["system_message"], user(parts, request)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    if "system" not in template:
        messages = [{"role": "user", "content": system + "\n " + text}]
    return ftfy.fix_text(env.from_string(template).render(
        messages=messages, add_generation_prompt=True, enable_thinking=False, tools=None, documents=None, bos_token="<s>",
        eos_token="</s>")) + "["


def paper(parts):
    """What differed in November 2024: "a alphabetical", a blank line, and a shorter demand."""
    return dict(parts, prefix=parts["prefix"].replace(" by an alphabetical", " by a alphabetical") + "\n",
                suffix=parts["suffix"].replace("Answer concisely and directly and only respond", "Only respond"))


def text(rng, n):
    return " ".join(rng.choice(WORDS) if rng.random() < .95 else rng.choice(ODD) for _ in range(rng.randrange(n)))


def main():
    model, rank_llm = sys.argv[1:3]
    with open(rank_llm + "/rank_llm/rerank/prompt_templates/rank_zephyr_alpha_template.yaml") as f:
        parts = yaml.safe_load(f.read().split("output_validation")[0])
    rng, env, bad, total = random.Random(3), environment(), 0, 0
    for name in ("zephyr", "llama3", "mistral0.1", "mistral0.3", "qwen2.5", "qwen3"):
        requests = [{"query": text(rng, 12), "paper": rng.random() < .5, "context": 10**6,
                     "passages": [["" if rng.random() < .5 else text(rng, 6), text(rng, 500)] for _ in range(rng.randrange(1, 21))]}
                    for _ in range(50)]
        with tempfile.NamedTemporaryFile("w", suffix=".jinja") as f:
            f.write(TEMPLATES[name])
            f.flush()
            ran = subprocess.run([PROGRAM, model, f.name], input="".join(json.dumps(r) + "\n" for r in requests).encode(),
                                 stdout=subprocess.PIPE, check=True)
        wrong = 0
        for request, line in zip(requests, ran.stdout.decode().splitlines()):
            want = prompt(paper(parts) if request["paper"] else parts, request, TEMPLATES[name], env)
            got = json.loads(line).get("text", line)
            got = got.removeprefix("<s>") if not want.startswith("<s>") else got
            wrong += got != want
        print(f"{name}: {len(requests)} prompts, {wrong} differ")
        bad, total = bad + wrong, total + len(requests)
    print(f"{total} compared, {bad} differ")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
