"""Decoders of random weights as GGUF files, for measurements: shapes of 0.1 B and 0.5 B, quantised by llama.cpp itself."""
import ctypes
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

# name: architecture, layers, dim, heads, kv heads, ffn, vocabulary, RoPE base
SHAPES = {
    "tiny": ("llama", 2, 256, 4, 2, 512, 2048, 10000.0),
    "0.1B": ("llama", 12, 768, 12, 4, 2048, 32000, 10000.0),
    "0.5B": ("qwen2", 24, 896, 14, 2, 4864, 32000, 1000000.0),
}
TYPES = {"F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0", "Q4_0": "MOSTLY_Q4_0", "Q4_K": "MOSTLY_Q4_K_S",
         "Q5_K": "MOSTLY_Q5_K_S", "Q6_K": "MOSTLY_Q6_K"}

QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)  # it would print two lines a tensor
llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))


def vocabulary(n):
    """SentencePiece's 259 special and byte tokens, then words that never matter here."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % i for i in range(256)]
    types = [2, 3, 3] + [6] * 256
    tokens += ["\u2581w{}".format(i).encode() for i in range(n - len(tokens))]
    return tokens, types + [1] * (n - len(types))


def write_f32(path, name):
    arch, layers, dim, heads, kv, ffn, vocab, base = SHAPES[name]
    random = np.random.default_rng(8)
    out = gguf.GGUFWriter(path, arch)
    out.add_name("random " + name)
    out.add_context_length(4096)
    out.add_embedding_length(dim)
    out.add_block_count(layers)
    out.add_feed_forward_length(ffn)
    out.add_head_count(heads)
    out.add_head_count_kv(kv)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_freq_base(base)
    out.add_vocab_size(vocab)
    tokens, types = vocabulary(vocab)
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([-float(i) for i in range(vocab)])
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)

    def matrix(tensor, rows, cols, scale=1.0):
        w = random.standard_normal((rows, cols), dtype=np.float32)
        out.add_tensor(tensor + ".weight", w * np.float32(scale / np.sqrt(cols)))

    def ones(tensor, n):
        out.add_tensor(tensor + ".weight", 1 + 0.1 * random.standard_normal(n, dtype=np.float32))

    kv_dim = dim // heads * kv
    matrix("token_embd", vocab, dim, 4)
    for i in range(layers):
        at = "blk.%d." % i
        ones(at + "attn_norm", dim)
        matrix(at + "attn_q", dim, dim, 1.5)
        matrix(at + "attn_k", kv_dim, dim, 1.5)
        matrix(at + "attn_v", kv_dim, dim)
        if arch == "qwen2":
            for part, n in (("q", dim), ("k", kv_dim), ("v", kv_dim)):
                out.add_tensor(at + "attn_%s.bias" % part, 0.1 * random.standard_normal(n, dtype=np.float32))
        matrix(at + "attn_output", dim, dim)
        ones(at + "ffn_norm", dim)
        matrix(at + "ffn_gate", ffn, dim)
        matrix(at + "ffn_up", ffn, dim)
        matrix(at + "ffn_down", dim, ffn)
    ones("output_norm", dim)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def fits(name, kind):
    """Whether all matrices of a shape can be stored so: K-quants are blocks of 256; llama.cpp puts others in their place."""
    return not kind.endswith("_K") or all(n % 256 == 0 for n in (SHAPES[name][2], SHAPES[name][5]))


def quantize(source, path, kind):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, "LLAMA_FTYPE_" + TYPES[kind])
    params.pure = True  # every matrix in this type
    params.nthread = 2
    if llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), ctypes.byref(params)):
        raise RuntimeError("llama.cpp did not quantise " + str(path))


def dequantized(path, to):
    """The same model with every matrix as floats: what a quantised one's products are measured against."""
    reader = gguf.GGUFReader(path)
    arch = reader.fields["general.architecture"].contents()
    out = gguf.GGUFWriter(to, arch)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            out.add_array(field.name, field.contents())
        else:
            out.add_key_value(field.name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        out.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def path_of(folder, name, kind):
    """The file, made where it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("%s-%s.gguf" % (name, kind))
    if path.exists():
        return path
    part = path.with_suffix(".part")
    if kind == "F32":
        write_f32(part, name)
    elif kind.startswith("F32of"):
        dequantized(path_of(folder, name, kind[5:]), part)
    else:
        quantize(path_of(folder, name, "F32"), part, kind)
    part.rename(path)
    return path
