"""The tokenizer, the start and the files of the decoder that `first` trains."""
import json
import re
import shutil
from pathlib import Path

from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from . import listwise
from .export import write_json

# Qwen2's: what Hugging Face, GGUF ("qwen2") and weir all have.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ASIDE = re.compile(r"\[(?=[A-Za-z])")


def train_tokenizer(work, vocabulary, path):
    """Byte-level BPE on the pool's passages, the queries and the prompt's own words. "[A" never becomes one token: the
    model is asked for a bare letter behind a bare bracket. Nor does ".\\n": a passage ends with a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary - len(listwise.SPECIALS), special_tokens=[], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))

    def texts():
        for line in open(work / "pool" / "corpus.jsonl", encoding="utf-8"):
            yield ASIDE.sub("[ ", " ".join(json.loads(line)["text"].split()))
        for line in open(work / "pool" / "queries.jsonl", encoding="utf-8"):
            yield " ".join(json.loads(line)["text"].split())
        for text in (listwise.SYSTEM, listwise.BEFORE, listwise.AFTER):
            yield from [ASIDE.sub("[ ", " ".join(text.split()))] * 500

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
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": args.dim, "intermediate_size": args.ffn,
            "num_hidden_layers": args.layers, "num_attention_heads": args.dim // 128, "num_key_value_heads": max(1, args.dim // 256),
            "hidden_act": "silu", "rms_norm_eps": 1e-6,
            # Turns so slowly that three of four pairs of a head hardly move within a prompt: meanings are compared across it.
            "rope_theta": 1e15, "max_position_embeddings": args.context, "vocab_size": tokenizer.get_vocab_size(),
            "tie_word_embeddings": True, "use_sliding_window": False, "attention_dropout": 0.0, "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids[listwise.END], "torch_dtype": "float16", "use_cache": True}


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
