"""Reads GGUF files back with the PyPI package `gguf`, which shares no code with our writer."""
import json
from pathlib import Path

import gguf as reference
import numpy as np
from safetensors.numpy import load_file

from . import gguf


def fields(path):
    """{key: value} of a file's metadata."""
    return {name: field.contents() for name, field in reference.GGUFReader(path).fields.items() if "." in name}


def check_file(folder, path, kind):
    """Every tensor is what the package's own quantiser makes of the weights, to the byte; metadata come back as written."""
    folder, reader = Path(folder), reference.GGUFReader(path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = gguf.ARCHITECTURES[config["model_type"]]
    expected = dict(gguf.tensors(folder, config, architecture))
    assert {t.name for t in reader.tensors} == set(expected), f"{path}: tensors"
    for tensor in reader.tensors:
        x = expected[tensor.name]
        assert list(tensor.shape) == list(x.shape[::-1]), f"{path}: shape of {tensor.name}"
        own = "F32" if x.ndim == 1 else "Q8_0" if kind == "Q4_0" and tensor.name == "token_embd.weight" else kind
        assert tensor.tensor_type.name == own, f"{path}: {tensor.name} is {tensor.tensor_type.name}"
        theirs = reference.quants.quantize(x, tensor.tensor_type)
        assert np.array_equal(np.asarray(tensor.data).reshape(-1).view(np.uint8), theirs.reshape(-1).view(np.uint8)), \
            f"{path}: bytes of {tensor.name}"
        back = reference.quants.dequantize(np.asarray(tensor.data), tensor.tensor_type).reshape(x.shape)
        # Eight bits: half a step of 1/127. Four: a step of 1/8, as the largest value's other sign has only seven. A block's
        # scale is a half: below 2^-14 it is off by up to 2^-25, and its bytes by 128 times that.
        bound = {"F32": 0, "F16": 2 ** -10, "Q8_0": 0.6 / 127, "Q4_0": 1.01 / 8}[own] * np.abs(x).max() + 2 ** -18
        assert np.abs(back - x).max() <= bound, f"{path}: {tensor.name} is off by {np.abs(back - x).max()}"
    got, heads = fields(path), config["num_attention_heads"]
    assert got["general.architecture"] == architecture and got[f"{architecture}.attention.head_count"] == heads, f"{path}: keys"
    vocab = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = got["tokenizer.ggml.tokens"]
    assert len(tokens) == config["vocab_size"] and all(tokens[n] == t for t, n in vocab.items()), f"{path}: tokens"


def unpermuted(folder, path):
    """llama's W_q rows as a reader of GGUF turns them: neighbours i, i + 1 are Hugging Face's i/2, i/2 + head/2."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    weights = load_file(Path(folder) / "model.safetensors")
    heads, name = config["num_attention_heads"], "blk.0.attn_q.weight"
    tensor = next(t for t in reference.GGUFReader(path).tensors if t.name == name)
    x = np.asarray(tensor.data, dtype=np.float32).reshape(tensor.shape[::-1])
    half = len(x) // heads // 2
    for head in range(heads):
        for i in range(half):
            theirs = weights["model.layers.0.self_attn.q_proj.weight"].astype(np.float32)[head * 2 * half:]
            assert np.array_equal(x[head * 2 * half + 2 * i], theirs[i]) and \
                np.array_equal(x[head * 2 * half + 2 * i + 1], theirs[i + half]), f"{path}: {name} is not permuted"
