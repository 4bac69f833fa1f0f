"""Tokenizers of the families that weir runs, as `tokenizers` makes them: their normalisers, pre-tokenizers, added tokens and
post-processors, on vocabularies that are trained here (no public one is at hand, and none is needed to compare ids)."""
import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CHAT = "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
LLAMA3_SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"]
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_pad|>"]
QWEN_PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>"]
QWEN3_PLAIN = QWEN_PLAIN + ["<think>", "</think>", "<tool_response>"]
MISTRAL3 = ["[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[control_8]"]


def added(tokenizer, contents, special, **flags):
    """Entries of "added_tokens"; the ids follow the vocabulary's unless a token is in it."""
    vocab, entries = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    for content in contents:
        known = [e["id"] for e in entries]
        fresh = max([len(vocab)] + [i + 1 for i in known if i >= len(vocab)])
        entry = {"id": vocab.get(content, fresh), "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                 "special": special}
        entries.append(dict(entry, **flags))


def byte_level(texts, size, pattern, normalizer=None, by_gpt2=False, digits=False):
    tokenizer = Tokenizer(models.BPE())
    split = [pre_tokenizers.Digits(individual_digits=True)] if digits else [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_gpt2)])
    tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return json.loads(tokenizer.to_str())


def bos(tokenizer, token, also_bytes):
    """`<bos> A`, `<bos> A <bos>:1 B:1`."""
    ids = {e["content"]: e["id"] for e in tokenizer["added_tokens"]}
    template = json.loads(processors.TemplateProcessing(single="%s $A" % token, pair="%s $A %s:1 $B:1" % (token, token),
                                                        special_tokens=[(token, ids[token])]).__getstate__())
    tokenizer["post_processor"] = {"type": "Sequence", "processors": [tokenizer["post_processor"], template]} if also_bytes else template


def merges_of(scores):
    """As a SentencePiece model is converted: every way to put a piece together, by the piece's score, then longest first."""
    place, merges = {piece: i for i, piece in enumerate(scores)}, []
    for piece, score in scores.items():
        local = [(piece[:i], piece[i:], score) for i in range(1, len(piece)) if piece[:i] in scores and piece[i:] in scores]
        merges += sorted(local, key=lambda m: (place[m[0]], place[m[1]]))
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [[left, right] for left, right, _ in merges]


def sentence_piece(texts, size):
    """{"tokens": [...], "scores": [...]} of a SentencePiece model of kind BPE with byte fallback: <unk>, <s>, </s>, bytes, pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=size, limit_alphabet=400, show_progress=False, max_token_length=16)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    alphabet = [t for t in model["vocab"] if len(t) == 1]
    made = list(dict.fromkeys("".join(m) for m in model["merges"]))
    for spaces in (2, 3, 4, 8):
        made.insert(spaces * 40, "\u2581" * spaces)
    made = list(dict.fromkeys(made))
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)] + made + alphabet
    scores = [0.0] * 259 + [float(-i) for i in range(len(made))] + [float(-len(made) - i) for i in range(len(alphabet))]
    return tokens, scores


def llama2(tokens, scores, legacy, specials=(), **flags):
    pieces = {t: s for t, s in list(zip(tokens, scores))[259:]}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
                 "decoder": None, "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                                            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                                            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges_of(pieces)}}
    if legacy:
        tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                                                       {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
        tokenizer["model"]["merges"] = ["%s %s" % tuple(m) for m in tokenizer["model"]["merges"]]
    else:
        tokenizer["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    added(tokenizer, ["<unk>", "<s>", "</s>", *specials], True, **flags)
    bos(tokenizer, "<s>", False)
    return tokenizer


def families(texts, size):
    """name -> tokenizer.json as a dict, and how a GGUF file says it: (model, pre, scores)."""
    out = {}
    texts = [t.replace("\0", "") for t in texts]  # no token holds a NUL
    gpt2 = byte_level(texts, size, None, by_gpt2=True)
    added(gpt2, ["<|endoftext|>"], True)
    gpt2["model"]["merges"] = ["%s %s" % tuple(m) for m in gpt2["model"]["merges"]]
    gpt2["model"]["continuing_subword_prefix"] = gpt2["model"]["end_of_word_suffix"] = ""
    out["gpt2"] = gpt2, ("gpt2", "gpt-2", None)

    llama3 = byte_level(texts, size, LLAMA3)
    llama3["model"]["ignore_merges"] = True
    llama3["model"]["merges"] = llama3["model"]["merges"][:2 * len(llama3["model"]["merges"]) // 3]  # whole words that merges do not reach
    added(llama3, LLAMA3_SPECIALS, True)
    bos(llama3, "<|begin_of_text|>", True)
    out["llama3"] = llama3, ("gpt2", "llama-bpe", None)

    for name, plain in ("qwen2", QWEN_PLAIN), ("qwen3", QWEN3_PLAIN):
        qwen = byte_level(texts, size, QWEN2, normalizers.NFC())
        added(qwen, QWEN_SPECIALS, True)
        added(qwen, plain, False)
        out[name] = qwen, ("gpt2", "qwen2", None)

    tekken = byte_level(texts, size, TEKKEN)
    added(tekken, ["<s>", "</s>", "[INST]", "[/INST]"], True)
    bos(tekken, "<s>", True)
    tekken["model"]["ignore_merges"] = True
    out["tekken"] = tekken, ("gpt2", "tekken", None)

    smollm = byte_level(texts, size, None, by_gpt2=True, digits=True)
    added(smollm, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], True)
    out["smollm"] = smollm, ("gpt2", "smollm", None)

    tokens, scores = sentence_piece(texts, size)
    out["llama2"] = llama2(tokens, scores, True), ("llama", "default", (tokens, scores))
    out["llama2-normalized"] = llama2(tokens, scores, True, normalized=True), None
    out["mistral1"] = llama2(tokens, scores, False), None
    out["mistral3"] = llama2(tokens, scores, False, MISTRAL3), None
    return out


def write_gguf(path, tokenizer, how):
    """The same tokenizer in a GGUF file's metadata (needs the package gguf)."""
    import gguf
    model, pre, scored = how
    vocab = tokenizer["model"]["vocab"]
    entries = {e["id"]: e for e in tokenizer["added_tokens"]}
    n = 1 + max([*vocab.values(), *entries])
    tokens, types = ["[PAD%d]" % i for i in range(n)], [gguf.TokenType.UNUSED] * n
    for token, i in vocab.items():
        tokens[i], types[i] = token, gguf.TokenType.NORMAL
    for i, e in entries.items():
        tokens[i], types[i] = e["content"], gguf.TokenType.CONTROL if e["special"] else gguf.TokenType.USER_DEFINED
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    if scored:
        types = [gguf.TokenType.BYTE if t.startswith("<0x") else k for t, k in zip(tokens, types)]
        types[0] = gguf.TokenType.UNKNOWN
        writer.add_token_scores(scored[1] + [0.0] * (n - len(scored[1])))
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
    else:
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
        first = [e["id"] for e in tokenizer["added_tokens"] if e["content"] in ("<|begin_of_text|>", "<s>")]
        if first:
            writer.add_bos_token_id(first[0])
            writer.add_add_bos_token(True)
    last = [e["id"] for e in tokenizer["added_tokens"] if e["content"] in ("<|eot_id|>", "</s>", "<|im_end|>", "<|endoftext|>")]
    writer.add_eos_token_id(last[-1])
    writer.add_chat_template(CHAT)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
