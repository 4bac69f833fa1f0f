"""Hugging Face directories that weir loads as they are; rows of the vocabulary that no text can reach are left out."""
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def reachable(vocabulary):
    """Tokens without BERT's [unused1] .. [unused993]: nothing is ever tokenised to them."""
    return [token for token in vocabulary if not (token.startswith("[unused") and token.endswith("]"))]


def shrink(base, out):
    """Writes the tokenizer's files without the unreachable tokens; returns the kept rows of the embeddings."""
    base, out = Path(base), Path(out)
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    old = tokenizer["model"]["vocab"]
    kept = reachable(sorted(old, key=old.get))
    new = {token: number for number, token in enumerate(kept)}
    tokenizer["model"]["vocab"] = new
    for added in tokenizer["added_tokens"]:
        added["id"] = new[added["content"]]
    processor = tokenizer["post_processor"]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new[token] for token in special["tokens"]]
    for name in ("cls", "sep"):
        if name in processor:
            processor[name][1] = new[processor[name][0]]
    tokenizer["truncation"] = tokenizer["padding"] = None
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)
    path = out / "tokenizer_config.json"
    if path.exists():
        config = json.loads(path.read_text(encoding="utf-8"))
        if "added_tokens_decoder" in config:
            config["added_tokens_decoder"] = {str(new[t["content"]]): t for t in config["added_tokens_decoder"].values()}
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [old[token] for token in kept]


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def export(model, base, out, max_length, extra):
    """The weights of `model` (its state_for_export) beside config, tokenizer and maximum length; `extra` goes into config."""
    out = Path(out)
    encoder = model.encoder
    kept = shrink(base, out)
    state = model.state_for_export() if hasattr(model, "state_for_export") else encoder.state_for_export()
    state["embeddings.word_embeddings.weight"] = state["embeddings.word_embeddings.weight"][kept].contiguous()
    # Half the bytes where weir keeps what it is given: positions are added once, an error of 2^-11 of one is nothing.
    state["embeddings.position_embeddings.weight"] = state["embeddings.position_embeddings.weight"].half()
    config = {k: v for k, v in encoder.config.items() if not k.startswith("_") and k != "transformers_version"}
    config.update({"vocab_size": len(kept), "pad_token_id": 0, **extra})
    write_json(out / "config.json", config)
    write_json(out / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})


def export_dense(model, base, out, max_length=512):
    export(model, base, out, max_length, {"architectures": ["BertModel"]})
    out = Path(out)
    write_json(out / "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])
    write_json(out / "1_Pooling/config.json", {
        "word_embedding_dimension": encoder_dim(model), "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})


def encoder_dim(model):
    return model.encoder.config["hidden_size"]


def export_cross(model, base, out, max_length):
    export(model, base, out, max_length, {"architectures": ["BertForInteraction"], "join_layer": model.join,
                                          "exit_layers": list(model.exits)})


def export_sparse(head, idf, base, out, max_length, density, threshold, logs):
    """The dense model's own weights, as they are, the head, and the queries' table: sentence-transformers' Router. (There the
    table's folder has a second copy of tokenizer.json; put it in if you load the model with that.)"""
    base, out = Path(base), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)
    state = {"bert." + name: value for name, value in load_file(base / "model.safetensors").items()}
    own = head.state_for_export()
    own["cls.predictions.bias"] -= threshold
    # Half the bytes: each output is a sum over 384 of them, an error of 2^-11 of one is nothing.
    own["cls.predictions.transform.dense.weight"] = own["cls.predictions.transform.dense.weight"].half()
    save_file({**state, **own}, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    write_json(out / "config.json", {**config, "architectures": ["BertForMaskedLM"], "tie_word_embeddings": True, "sparse_density": density,
                                       "sparse_idf_documents": 5000, "sparse_lexical": 1, "sparse_query_tf": "sqrt"})
    write_json(out / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    where = "sentence_transformers.sparse_encoder.models."
    write_json(out / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}])
    write_json(out / "router_config.json", {
        "types": {"query_0_SparseStaticEmbedding": where + "SparseStaticEmbedding", "": where + "MLMTransformer",
                  "document_1_SpladePooling": where + "SpladePooling"},
        "structure": {"query": ["query_0_SparseStaticEmbedding"], "document": ["", "document_1_SpladePooling"]},
        "parameters": {"default_route": "document"}})
    write_json(out / "document_1_SpladePooling/config.json", {
        "pooling_strategy": "max", "activation_function": "log1p_relu" if logs == 2 else "relu", "word_embedding_dimension": len(idf)})
    query = out / "query_0_SparseStaticEmbedding"
    write_json(query / "config.json", {"frozen": True})
    save_file({"weight": idf.float().contiguous()}, query / "model.safetensors", metadata={"format": "pt"})
