"""GGUF files (version 3) of a Hugging Face directory: Llama, Mistral, Qwen2 and Qwen3 with byte-level BPE.

    magic, version, counts | key, type, value ... | name, dims (fastest first), type, offset ... | padding | tensors, each at 32

Vectors are floats. Matrices are halves (F16) or blocks of 32 along a row (Q8_0, Q4_0), made as ggml makes them, to the byte;
in a Q4_0 file the embeddings have eight bits: with a tied head they are what decides. llama's W_q and W_k have their rows
permuted, because its readers turn neighbouring pairs where Hugging Face turns halves; the Qwens' are as they are.
"""
import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ALIGN = 32
TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8}
FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7}
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# Hugging Face's splitting expression -> the name that GGUF's readers know it by. The longer ones have the shorter as a part.
DIGITS, PRE = r"\p{N}{1,3}", {True: "llama-bpe", False: "qwen2"}
PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def text(value):
    raw = value.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def value(item):
    """(type, bytes) of a metadata value; ints are u32, lists have one type."""
    if isinstance(item, bool):
        return BOOL, struct.pack("<?", item)
    if isinstance(item, int):
        return U32, struct.pack("<I", item)
    if isinstance(item, float):
        return F32, struct.pack("<f", item)
    if isinstance(item, str):
        return STRING, text(item)
    kind = STRING if isinstance(item[0], str) else I32
    body = b"".join(map(text, item)) if kind == STRING else np.asarray(item, "<i4").tobytes()
    return ARRAY, struct.pack("<IQ", kind, len(item)) + body


def half_bytes(d):
    return d.astype("<f2").view(np.uint8).reshape(-1, 2)


def q8_0(x):
    """half d; i8 q[32]:  d = max |x| / 127, q = x / d rounded, halves away from zero."""
    x = x.reshape(-1, 32).astype(np.float32)
    d = np.abs(x).max(1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        scaled = x * np.where(d > 0, np.float32(1) / d, np.float32(0))
    low = np.floor(np.abs(scaled))
    q = np.sign(scaled) * (low + np.floor(np.float32(2) * (np.abs(scaled) - low)))
    return np.hstack([half_bytes(d), q.astype(np.int8).view(np.uint8)])


def q4_0(x):
    """half d; u8 qs[16]:  d = m / -8 with m the largest in size, q = x / d + 8; value j in the low bits, j + 16 in the high."""
    x = x.reshape(-1, 32).astype(np.float32)
    d = np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1) / np.float32(-8)
    with np.errstate(divide="ignore"):
        inverse = np.where(d != 0, np.float32(1) / d, np.float32(0))
    # Both operations in float, as ggml has them where the compiler fuses none.
    q = np.minimum(np.trunc(x * inverse + np.float32(8.5)), 15).astype(np.uint8)
    return np.hstack([half_bytes(d), q[:, :16] | (q[:, 16:] << 4)])


def stored(x, kind):
    """(name of the type, bytes)."""
    if x.ndim == 1 or kind == "F32":
        return "F32", x.astype("<f4").tobytes()
    if kind == "F16" or x.shape[1] % 32:
        return "F16", x.astype("<f2").tobytes()
    return kind, (q8_0 if kind == "Q8_0" else q4_0)(x).tobytes()


def permuted(x, heads):
    """Rows i and i + head/2 of every head become neighbours."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def tensors(folder, config, architecture):
    """(GGUF's name, floats) in the file's order."""
    weights = load_file(Path(folder) / "model.safetensors")
    heads = config["num_attention_heads"]
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    for name in sorted(weights):
        x = weights[name].astype(np.float32)
        if name in fixed:
            if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                continue
            yield fixed[name], x
            continue
        _, _, layer, *part, last = name.split(".")
        part = ".".join(part)
        if part not in PARTS:
            raise SystemExit(f"{folder}: tensor {name} has no place in a GGUF file of {architecture}")
        if architecture == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            x = permuted(x, heads if "q_proj" in part else config.get("num_key_value_heads") or heads)
        yield f"blk.{layer}.{PARTS[part]}.{last}", x


def model_keys(config, architecture):
    a = architecture
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    return {f"{a}.context_length": config["max_position_embeddings"], f"{a}.embedding_length": config["hidden_size"],
            f"{a}.block_count": config["num_hidden_layers"], f"{a}.feed_forward_length": config["intermediate_size"],
            f"{a}.attention.head_count": heads, f"{a}.attention.head_count_kv": config.get("num_key_value_heads") or heads,
            f"{a}.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]), f"{a}.attention.key_length": size,
            f"{a}.attention.value_length": size, f"{a}.rope.dimension_count": size,
            f"{a}.rope.freq_base": float(config.get("rope_theta") or rope["rope_theta"]), f"{a}.vocab_size": config["vocab_size"]}


def tokenizer_keys(folder, config):
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if tokenizer["model"]["type"] != "BPE" or tokenizer["model"].get("byte_fallback"):
        raise SystemExit(f"{folder}/tokenizer.json: expected byte-level BPE, there is {tokenizer['model']['type']}")
    tokens = [f"[PAD{n}]" for n in range(config["vocab_size"])]
    kinds = [5] * len(tokens)  # unused
    for token, number in tokenizer["model"]["vocab"].items():
        tokens[number], kinds[number] = token, 1  # normal
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], 3 if added["special"] else 4  # control, user-defined
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": PRE[DIGITS in json.dumps(tokenizer["pre_tokenizer"]).replace("\\\\", "\\")],
            "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges}
    own = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for kind, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        token = own.get(f"{kind}_token")
        token = token["content"] if isinstance(token, dict) else token
        if token in tokens:
            keys[f"tokenizer.ggml.{name}_token_id"] = tokens.index(token)
    keys["tokenizer.ggml.add_bos_token"] = bool(own.get("add_bos_token"))
    if own.get("chat_template"):
        keys["tokenizer.chat_template"] = own["chat_template"]
    return keys


def write(folder, path, kind, name):
    """The model in `folder` as one file: kind F16, Q8_0 or Q4_0."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] not in ARCHITECTURES:
        raise SystemExit(f"{folder}: model_type {config['model_type']}; expected one of {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[config["model_type"]]
    keys = {"general.architecture": architecture, "general.name": name, "general.file_type": FILE_TYPES[kind],
            "general.quantization_version": 2, "general.alignment": ALIGN, **model_keys(config, architecture),
            **tokenizer_keys(folder, config)}
    head, body, offset = [], [], 0
    for own, x in tensors(folder, config, architecture):
        type_, raw = stored(x, "Q8_0" if kind == "Q4_0" and own == "token_embd.weight" else kind)
        head.append(text(own) + struct.pack(f"<I{x.ndim}QIQ", x.ndim, *x.shape[::-1], TYPES[type_], offset))
        body.append(raw + b"\0" * (-len(raw) % ALIGN))
        offset += len(body[-1])
    start = b"GGUF" + struct.pack("<IQQ", 3, len(head), len(keys))
    for key, item in keys.items():
        type_, raw = value(item)
        start += text(key) + struct.pack("<I", type_) + raw
    start += b"".join(head)
    part = Path(path).with_suffix(".part")
    part.write_bytes(start + b"\0" * (-len(start) % ALIGN) + b"".join(body))
    part.rename(path)
