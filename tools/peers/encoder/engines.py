"""The engines under one roof: open(), score() all pairs, one() short text again and again. Tokens are made before.

ONNX Runtime's graphs, all from one export of the PyTorch model (opset 17): plain; with the fusions of
onnxruntime.transformers.optimizer (attention, GELU, LayerNorm); each also with its weights quantised dynamically to
int8, one scale a tensor or one a channel.
"""
import pathlib
import subprocess
import time

import numpy as np

GRAPHS = ("plain", "fused")
QUANTISED = ("tensor", "channel")


def padded(token_ids, order, batch):
    """Batches of texts in this order, each padded to its longest."""
    for at in range(0, len(order), batch):
        chosen = order[at:at + batch]
        width = max(len(token_ids[i][0]) for i in chosen)
        ids, mask, types = (np.zeros((len(chosen), width), np.int64) for _ in range(3))
        for row, i in enumerate(chosen):
            n = len(token_ids[i][0])
            ids[row, :n], types[row, :n], mask[row, :n] = token_ids[i][0], token_ids[i][1], 1
        yield chosen, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


class Batched:
    """What takes padded batches: score() times everything but their making."""

    def prepare(self, token_ids, batch):
        order = sorted(range(len(token_ids)), key=lambda i: -len(token_ids[i][0]))
        self.n = len(token_ids)
        self.batches = [(chosen, self.tensors(arrays)) for chosen, arrays in padded(token_ids, order, batch)]

    def score(self, every=1):
        """Seconds and scores of all batches, or of one in `every`."""
        scores, batches = np.full(self.n, np.nan), self.batches[::every]
        start = time.perf_counter()
        results = [self.run(tensors) for _, tensors in batches]
        seconds = time.perf_counter() - start
        for (chosen, _), result in zip(batches, results):
            scores[chosen] = result.reshape(-1)
        return seconds, scores

    def one(self, token_ids, calls):
        (_, arrays), = padded([token_ids], [0], 1)
        tensors, took = self.tensors(arrays), []
        for _ in range(calls):
            start = time.perf_counter()
            self.run(tensors)
            took.append(time.perf_counter() - start)
        return took


class Torch(Batched):
    def __init__(self, folder, dtype, threads):
        import torch
        from transformers import AutoModelForSequenceClassification
        self.torch = torch
        torch.set_num_threads(threads)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def tensors(self, arrays):
        return {name: self.torch.from_numpy(array) for name, array in arrays.items()}

    def run(self, tensors):
        with self.torch.inference_mode():
            return self.model(**tensors).logits.float().numpy()


def export(folder):
    """Writes every graph that is missing; {name: path}."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions
    import torch
    from transformers import AutoModelForSequenceClassification
    paths = {"fp32 " + graph: folder / f"{graph}.onnx" for graph in GRAPHS}
    paths |= {f"int8 {graph} {kind}": folder / f"{graph}-{kind}.onnx" for graph in GRAPHS for kind in QUANTISED}
    if all(path.exists() for path in paths.values()):
        return paths
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.randint(1000, 2000, (2, 16))
    torch.onnx.export(model, (ids, torch.ones_like(ids), torch.zeros_like(ids)), paths["fp32 plain"], input_names=names,
                      output_names=["logits"], opset_version=17, dynamo=False,
                      dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}})
    fused = optimizer.optimize_model(str(paths["fp32 plain"]), model_type="bert", opt_level=0,
                                     num_heads=model.config.num_attention_heads, hidden_size=model.config.hidden_size,
                                     optimization_options=FusionOptions("bert"))
    counts = fused.get_fused_operator_statistics()
    assert counts["Attention"] == model.config.num_hidden_layers, counts
    fused.save_model_to_file(str(paths["fp32 fused"]))
    for graph in GRAPHS:
        for kind in QUANTISED:
            quantize_dynamic(paths["fp32 " + graph], paths[f"int8 {graph} {kind}"], weight_type=QuantType.QInt8,
                             per_channel=kind == "channel", extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return paths


class Onnx(Batched):
    def __init__(self, path, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.wanted = {i.name for i in self.session.get_inputs()}

    def tensors(self, arrays):
        return {name: array for name, array in arrays.items() if name in self.wanted}

    def run(self, tensors):
        return self.session.run(None, tensors)[0]


class Weir:
    """bench_scores, which holds all of weir's models; an object is one of them."""
    program = None

    @classmethod
    def start(cls, threads):
        cls.program = subprocess.Popen(["build/release/tests/bench_scores", str(threads)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)

    @classmethod
    def stop(cls):
        cls.program.stdin.close()
        cls.program.wait()

    @classmethod
    def ask(cls, *words):
        cls.program.stdin.write(" ".join(map(str, words)) + "\n")
        cls.program.stdin.flush()
        answer = cls.program.stdout.readline().split(None, 1)
        if not answer:
            raise SystemExit("bench_scores ended, see above")
        return answer[0] == "ok", answer[1].strip() if len(answer) > 1 else ""

    def __init__(self, name, precision, folder):
        self.name = name
        ok, self.refused = self.ask("open", name, precision, pathlib.Path(folder).resolve())
        if ok:
            self.refused = None

    def score(self):
        """Seconds and scores of all pairs, their tokens made before."""
        seconds = float(self.ask("score", self.name)[1].split()[0])
        path = pathlib.Path("build/peers/scores.txt")
        self.ask("scores", self.name, path)
        return seconds, np.loadtxt(path, ndmin=1)

    def rank(self):
        return float(self.ask("rank", self.name)[1])

    def one(self, calls, tokens):
        return [float(us) / 1e6 for us in self.ask("one", self.name, calls, tokens)[1].split()]

    def query(self, calls, text):
        """One text as the service encodes a query: tokenised each time, by all threads. Embedders only."""
        return [float(us) / 1e6 for us in self.ask("query", self.name, calls, text)[1].split()]

    def embed(self, begin, end):
        return float(self.ask("embed", self.name, begin, end)[1])

    def token_ids(self):
        path = pathlib.Path("build/peers/ids.txt")
        self.ask("ids", self.name, path)
        return {int(line.split()[0]): list(map(int, line.split()[1:])) for line in open(path, encoding="utf-8")}
