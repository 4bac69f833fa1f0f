#!/usr/bin/env python3
"""Makes tests/golden/decoders: configurations of tiny decoders, and what transformers says behind 512 tokens.

    python3 tests/golden/make_decoders.py        # needs torch, transformers

NAME.json is config.json as transformers writes it; NAME.bin holds the fp32 logits of the last position, [3][512], with the
weights rounded to F32, F16 and BF16 and multiplied in fp32. The weights are not stored: they are the formula of
tests/testlib_decoder.h, which tests/test_decoder.c evaluates too.
"""
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

OUT = Path(__file__).parent / "decoders"
TOKENS = 512
PLAIN = 272  # ids that the tiny tokenizer has beside its special tokens
SIZES = {
    "vocab_size": 512,
    "hidden_size": 72,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 272,
    "eos_token_id": 276,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}
CONFIGS = {
    "llama": LlamaConfig(attention_bias=True, **SIZES),
    "llama3": LlamaConfig(rope_parameters=LLAMA3, **SIZES),
    "mistral": MistralConfig(sliding_window=100, **SIZES),
    "qwen2": Qwen2Config(tie_word_embeddings=True, **SIZES),
    "qwen3": Qwen3Config(head_dim=24, **SIZES),
}


def numbers(seed, name, n):
    """The first n of SplitMix64, seeded by FNV-1a of the name."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed ^ h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return z ^ z >> np.uint64(31)


def weights(seed, name, shape):
    u = (numbers(seed, name, int(np.prod(shape))) >> np.uint64(40)).astype(np.int64) - 2**23
    u = u.astype(np.float32) * np.float32(2.0**-23)
    if len(shape) == 1:
        x = np.float32("norm" in name) + u * np.float32(0.25)
    else:
        gain = 2 if any(part in name for part in ("q_proj", "k_proj", "lm_head")) else 1
        scale = 1 if "embed" in name else gain * 2.0 ** np.round(np.log2(np.sqrt(3 / shape[1])))
        x = u * np.float32(scale)
    return torch.from_numpy(x.reshape(shape))


def logits(config, seed, dtype):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights(seed, name, tuple(parameter.shape)).to(dtype).float())
        ids = (numbers(seed, "ids", TOKENS) % np.uint64(PLAIN)).astype(np.int64)
        return model(torch.from_numpy(ids)[None]).logits[0, -1].numpy().astype("<f4")


def main():
    OUT.mkdir(exist_ok=True)
    for seed, (name, config) in enumerate(CONFIGS.items(), 100):
        config.architectures = [{"llama3": "Llama"}.get(name, name.capitalize()) + "ForCausalLM"]
        (OUT / (name + ".json")).write_text(config.to_json_string())
        all_ = [logits(config, seed, dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16)]
        (OUT / (name + ".bin")).write_bytes(b"".join(x.tobytes() for x in all_))
        print(name, all_[0].std())


if __name__ == "__main__":
    main()
