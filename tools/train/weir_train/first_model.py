"""The tokenizer, the start and the files of the decoder that `first` trains."""
import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from . import listwise, loop, model, teacher
from .export import write_json

# Qwen2's: what Hugging Face, GGUF ("qwen2") and weir all have.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ASIDE = re.compile(r"\[(?=[A-Za-z])")


def train_tokenizer(work, vocabulary, path):
    """Byte-level BPE on the pool's passages, the queries and the prompt's own words. "[A" never becomes one token: the
    model is asked for a bare letter behind a bare bracket."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - len(listwise.SPECIALS), special_tokens=[], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))

    def texts():
        for line in open(work / "pool" / "corpus.jsonl", encoding="utf-8"):
            yield ASIDE.sub("[ ", json.loads(line)["text"])
        yield from json.loads((work / "lists" / "queries.json").read_text(encoding="utf-8"))
        for text in (listwise.SYSTEM, listwise.BEFORE, listwise.AFTER):
            yield from [ASIDE.sub("[ ", text)] * 500

    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in listwise.SPECIALS])
    tokenizer.save(str(path))


def letter_ids(tokenizer):
    """Of "A" to "T"; a prompt's "[A] " must be bracket, letter, bracket."""
    ids = [tokenizer.token_to_id(letter) for letter in listwise.LETTERS]
    for letter, number in zip(listwise.LETTERS, ids):
        found = tokenizer.encode(f"x\n[{letter}] word", add_special_tokens=False).ids
        if number not in found or tokenizer.token_to_id("[") != found[found.index(number) - 1]:
            raise SystemExit(f"the tokenizer does not keep {letter} in [{letter}] apart")
    return ids


def config(args, tokenizer):
    ids = {name: tokenizer.token_to_id(name) for name in listwise.SPECIALS}
    heads = max(2, args.dim // 64)
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": args.dim, "intermediate_size": args.ffn,
            "num_hidden_layers": args.layers, "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 2),
            "hidden_act": "silu", "rms_norm_eps": 1e-6,
            # Turns so slowly that half of a head's pairs hardly move within a prompt: words are compared across it.
            "rope_theta": 1e10, "max_position_embeddings": args.context, "vocab_size": tokenizer.get_vocab_size(),
            "tie_word_embeddings": True, "use_sliding_window": False, "attention_dropout": 0.0, "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids[listwise.END], "torch_dtype": "float16", "use_cache": True}


@torch.inference_mode()
def start_words(base, tokenizer, dim):
    """[vocab, dim], rows of norm 1: what the encoder says of each token's text alone, by principal components. Letters,
    brackets and special tokens get random rows instead: the prompt needs them apart from each other."""
    encoder, words = model.Encoder.load(base).eval(), teacher.Words(base)
    texts = [tokenizer.decode([n], skip_special_tokens=False).strip() for n in range(tokenizer.get_vocab_size())]
    vectors = torch.zeros(len(texts), encoder.config["hidden_size"])

    def take(row, states):
        vectors[row] = states.float().mean(0)

    teacher.encode_states(encoder, words.ids(texts, 16), 256, torch.device("cpu"), take)
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    vectors -= vectors.mean(0)
    x = vectors.double()
    axes = torch.linalg.eigh(x.T @ x).eigenvectors.flip(1)[:, :dim]
    axes *= torch.sign(axes[axes.abs().argmax(0), torch.arange(axes.shape[1])])
    out = torch.nn.functional.normalize((x @ axes).float(), dim=1)
    apart = [tokenizer.token_to_id(t) for t in [*listwise.LETTERS, "[", "]", *listwise.SPECIALS]]
    random_ = torch.randn(len(apart), out.shape[1], generator=torch.Generator().manual_seed(7))
    out[apart] = torch.nn.functional.normalize(random_, dim=1)
    return out


def rarity(tokenizer, texts, most=20000):
    """idf of every token over some passages, in standard deviations of tokens as they occur."""
    seen = np.zeros(tokenizer.get_vocab_size())
    for start in range(0, min(len(texts), most), 1000):
        for encoding in tokenizer.encode_batch(texts[start:min(start + 1000, most)], add_special_tokens=False):
            seen[sorted(set(encoding.ids))] += 1
    idf = np.log1p((min(len(texts), most) - seen + 0.5) / (seen + 0.5))
    mean = np.average(idf, weights=seen)
    silent = [n for n in range(len(idf)) if not any(c.isalnum() for c in tokenizer.decode([n], skip_special_tokens=False))]
    idf[silent] = 0  # nobody asks for a comma
    return torch.from_numpy(((idf - mean) / max(np.average((idf - mean) ** 2, weights=seen) ** 0.5, 1e-6)).clip(-3, 3)).float()


def export(student, tokenizer, out):
    """A Hugging Face directory: halves, one file."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", student.config)
    write_json(out / "generation_config.json", {"do_sample": False, "eos_token_id": student.config["eos_token_id"],
                                                "pad_token_id": student.config["pad_token_id"]})
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "model_max_length": student.config["max_position_embeddings"], "bos_token": None,
        "eos_token": "<|im_end|>", "pad_token": listwise.END, "unk_token": None, "add_bos_token": False, "add_prefix_space": False,
        "clean_up_tokenization_spaces": False, "chat_template": listwise.CHAT})
    save_file({name: value.half() for name, value in student.state_for_export().items()}, out / "model.safetensors",
              metadata={"format": "pt"})
