#!/usr/bin/env python3
"""Compares `weir rerank --pointwise` with what Qwen3-Reranker's model card does in `transformers`.

    python3 tests/golden/compare_pointwise.py COLLECTION

A tiny Qwen3 of random weights is made, with a byte-level BPE of Qwen's pattern learnt from COLLECTION (a BEIR folder) and
Qwen3's special tokens. The card tokenises what stands around the pair and the pair itself apart, puts the ids together, and
reads the logits of "yes" and "no" at the last position; monoT5's words go through the tokenizer as they are. Prints the
largest difference of the scores; exit status 1 when one is above 1e-4 or the order is another. Needs torch, transformers,
tokenizers.
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("WEIR", ROOT + "/build/release/weir")
QUERIES, TEXTS = 12, 15
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TASK = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = ('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. '
          'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n')
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def write_model(folder, corpus):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    core.decoder = decoders.ByteLevel()
    words = ["yes\nno\n true false"] * 500
    core.train_from_iterator(itertools.chain((d["text"] for d in corpus), words), trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    core.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    core.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(7)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=core.get_vocab_size(), hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=4096, rope_theta=1e6, tie_word_embeddings=True))
    for p in model.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.15)  # the default's scores would all be about 0
    model.save_pretrained(folder)
    return model.eval()


def yesno(tokenizer, query, text):
    pair = f"<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {text}"
    return [i for part in (PREFIX, pair, SUFFIX) for i in tokenizer(part, add_special_tokens=False).input_ids]


def monot5(tokenizer, query, text):
    return tokenizer(f"Query: {query} Document: {text} Relevant:", add_special_tokens=False).input_ids


def ours(folder, prompt, query, texts):
    lines = "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    ran = subprocess.run([PROGRAM, "rerank", "--model", folder, "--pointwise", "--json", "--query", query] + prompt,
                         input=lines.encode(), stdout=subprocess.PIPE, check=True)
    results = json.loads(ran.stdout)["results"]
    return [int(r["id"]) for r in results], {int(r["id"]): r["score"] for r in results}


def compare(folder, model, queries, corpus, name, prompt, ids_of, answers):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    row = [tokenizer.convert_tokens_to_ids(a) for a in answers]
    assert len(set(row)) == 2 and None not in row, row
    worst, same, spread = 0.0, 0, 0.0
    for i, query in enumerate(queries):
        texts = [d["text"] for d in corpus[i * TEXTS:(i + 1) * TEXTS]]
        order, score = ours(folder, prompt, query, texts)
        want = []
        for text in texts:
            with torch.inference_mode():
                logits = model(torch.tensor([ids_of(tokenizer, query, text)])).logits[0, -1]
            want.append(float(logits[row[0]] - logits[row[1]]))
        worst = max(worst, max(abs(score[j] - want[j]) for j in range(len(texts))))
        same += order == sorted(range(len(texts)), key=lambda j: (-want[j], j))
        spread = max(spread, max(want) - min(want))
    print(f"{name}: {len(queries)} queries, {TEXTS} texts each, scores up to {spread:.3f} apart, largest difference {worst:.7f}, same order {same}", flush=True)
    return worst > 1e-4 or same < len(queries)


def main():
    with open(sys.argv[1] + "/corpus.jsonl", encoding="utf-8") as f:
        corpus = [json.loads(line) for line in f]
    with open(sys.argv[1] + "/queries.jsonl", encoding="utf-8") as f:
        queries = [json.loads(line)["text"] for line in itertools.islice(f, QUERIES)]
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(folder, corpus)
        common = (folder, model, queries, corpus)
        bad = compare(*common, "yesno", [], yesno, ["yes", "no"])
        bad |= compare(*common, "monot5", ["--prompt", "monot5"], monot5, ["\u0120true", "\u0120false"])
    sys.exit(bad)


if __name__ == "__main__":
    main()
