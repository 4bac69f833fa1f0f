"""weir's encoder beside ONNX Runtime and PyTorch: the same models, texts and threads, in turn in one run. README.md."""
import argparse
import logging
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import transformers

import engines
import models
import texts

PRECISIONS = ("fp32", "bf16", "int8")
QUERY = "what is the daily life here"  # 8 tokens
REST_S = .2  # threads of the engine before have stopped spinning


def arguments():
    parser = argparse.ArgumentParser(prog="tools/peers/encoder/run", description=__doc__)
    parser.add_argument("--shapes", default="minilm", help="of minilm,bert,tiny (minilm)")
    parser.add_argument("--engines", default="onnx,torch,weir", help="of onnx,torch,weir (all)")
    parser.add_argument("--parts", default="peak,pairs,one,index,memory", help="of peak,pairs,one,index,memory (all)")
    parser.add_argument("--precisions", default="fp32,bf16,int8", help="of fp32,bf16,int8 (all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all pairs (3)")
    parser.add_argument("--pairs", type=int, default=1000, help="query-passage pairs (1000)")
    parser.add_argument("--passages", type=int, default=800, help="passages for the index, 0: all of them (800)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of every engine (all)")
    parser.add_argument("--weir-int8", help="a directory that `weir model quantize` wrote, for weir int8")
    parser.add_argument("--chosen", help="ONNX Runtime's graphs by name instead of trying all: 'fp32 plain 8,int8 ..'")
    args = parser.parse_args()
    for name in ("shapes", "engines", "parts", "precisions"):
        setattr(args, name, getattr(args, name).split(","))
    return args


# ---- the peak

def measure_peak(threads):
    out = subprocess.run(["build/release/tests/bench_peak", str(threads), "3"], check=True, capture_output=True, text=True)
    print(out.stdout)
    words = [line.split() for line in out.stdout.splitlines()]
    return {w[1]: float(w[4]) for w in words if w[0] == "peak" and w[2] == str(threads)}


# ---- pairs

def operations(shape, lengths, first_only):
    """Twice the multiply-adds of weights and attention, padding not counted. first_only: the last layer computes keys
    and values for all tokens and the rest for the first alone, which is what weir does and the peers do not."""
    layers, dim, _, ffn = models.SHAPES[shape]
    total = 0
    for n in lengths:
        full = n * (4 * dim * dim + 2 * dim * ffn) + 2 * n * n * dim
        last = n * 2 * dim * dim + 2 * dim * dim + 2 * dim * ffn + 2 * n * dim
        total += 2 * ((layers - 1) * full + (last if first_only else full))
    return total


def tokenise(folder, pairs):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start = time.perf_counter()
    made = tokenizer([q for q, _ in pairs], [d for _, d in pairs], truncation="longest_first", max_length=512)
    seconds = time.perf_counter() - start
    short = tokenizer(*pairs[0], truncation="longest_first", max_length=8)
    return (list(zip(made["input_ids"], made["token_type_ids"])), (short["input_ids"], short["token_type_ids"]), seconds)


def open_onnx(args, folder, token_ids):
    """The graphs and batch sizes that count: the two fastest of each precision on a quarter of the batches."""
    tried = {}
    paths = engines.export(folder)
    for graph, path in paths.items():
        for batch in (8, 32):
            name = f"{graph} {batch}"
            if graph.split()[0] not in args.precisions or args.chosen and name not in args.chosen.split(","):
                continue
            tried[name] = engines.Onnx(path, args.threads)
            tried[name].prepare(token_ids, batch)
    if args.chosen:
        return {"ONNX Runtime " + name: engine for name, engine in tried.items()}
    seconds = {name: [] for name in tried}
    for attempt in range(3):
        for name, engine in tried.items():
            engine.score(every=40 if attempt == 0 else 4)  # the first is a warm-up
            time.sleep(.05)
            if attempt:
                seconds[name].append(engine.score(every=4)[0])
    print("ONNX Runtime's graphs on a quarter of the pairs, seconds:")
    kept = {}
    for precision in PRECISIONS:
        names = sorted((n for n in tried if n.startswith(precision)), key=lambda n: min(seconds[n]))
        for name in names:
            print(f"    {name:<24}{min(seconds[name]):8.2f}")
        kept |= {"ONNX Runtime " + name: tried[name] for name in names[:2]}
    return kept


def open_torch(args, folder, token_ids):
    opened = {}
    for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        if precision not in args.precisions and precision != "fp32":
            continue
        best = None
        for batch in (8, 32):
            engine = engines.Torch(folder, dtype, args.threads)
            engine.prepare(token_ids, batch)
            engine.score(every=40)
            seconds = engine.score(every=8)[0]
            if best is None or seconds < best[0]:
                best = seconds, f"PyTorch {precision} {batch}", engine
        opened[best[1]] = best[2]
    return opened


def open_weir(args, folder, kind):
    """A model in every precision; each name of engines.Weir is one of bench_scores' models."""
    opened = {}
    for precision in args.precisions:
        source = args.weir_int8 if precision == "int8" and args.weir_int8 else folder
        engine = engines.Weir(kind + "-" + precision, precision, source)
        if engine.refused:
            print(f"weir {precision}: not in this build ({engine.refused})")
        else:
            opened["weir " + precision] = engine
    return opened


def spearman(a, b):
    rank = [np.argsort(np.argsort(x, kind="stable"), kind="stable") for x in (a, b)]
    return float(np.corrcoef(*rank)[0, 1])


def precision_of(name):
    return next(p for p in PRECISIONS if p in name)


def check_tokens(weir, token_ids):
    got = weir.token_ids()
    differ = sum(got[i] != list(ids) for i, (ids, _) in enumerate(token_ids))
    print(f"token ids that differ between weir and Hugging Face: {differ} of {len(token_ids)} pairs")


def compare_pairs(opened, args, token_ids):
    seconds, scores = {name: [] for name in opened}, {}
    for _ in range(args.rounds):
        for name, engine in opened.items():
            time.sleep(REST_S)
            took, scores[name] = engine.score()
            seconds[name].append(took)
    return seconds, scores


def report_pairs(shape, seconds, scores, peak, token_ids):
    n = len(token_ids)
    ops = {first: operations(shape, [len(ids) for ids, _ in token_ids], first) for first in (True, False)}
    rate = {name: n / min(took) for name, took in seconds.items()}
    best = {p: max((r for name, r in rate.items() if name.startswith("ONNX Runtime " + p)), default=None)
            for p in PRECISIONS}
    torch = next((name for name in rate if name.startswith("PyTorch fp32")), None)
    print(f"{'':<36}{'pairs/s':>9}{'median':>9}{'x ORT fp32':>12}{'x ORT int8':>12}{'x torch fp32':>14}{'of peak':>9}"
          f"{'max error':>11}{'Spearman':>10}")
    for name, took in seconds.items():
        row = f"{name:<36}{rate[name]:>9.1f}{n / statistics.median(took):>9.1f}"
        for base, width in ((best["fp32"], 12), (best["int8"], 12), (rate.get(torch), 14)):
            row += f"{rate[name] / base:>{width}.2f}" if base else " " * (width - 1) + "-"
        top = peak.get(precision_of(name))
        row += f"{100 * ops[name.startswith('weir')] / n * rate[name] / 1e9 / top:>8.1f}%" if top else f"{'-':>9}"
        if torch:
            row += f"{np.abs(scores[name] - scores[torch]).max():>11.2g}{spearman(scores[name], scores[torch]):>10.5f}"
        print(row)
    if torch:
        print(f"scores from {scores[torch].min():.2f} to {scores[torch].max():.2f}, standard deviation "
              f"{scores[torch].std():.2f}; a pair takes {ops[False] / n / 1e9:.2f} GFLOP, {ops[True] / n / 1e9:.2f} where only "
              f"the first token leaves the last layer, as in weir")


def compare_whole(opened, args, seconds, tokenising, n):
    """From raw texts: weir as the service runs it, one call a query; the peers' tokenising added to their scoring."""
    print("from raw texts, tokenising included, pairs/s:")
    for name, engine in opened.items():
        if isinstance(engine, engines.Weir):
            took = min(engine.rank() for _ in range(args.rounds))
        else:
            took = min(seconds[name]) + tokenising
        print(f"    {name:<36}{n / took:>9.1f}")


def compare_one(opened, embedders, args, short):
    """embedders: weir's, which encode a raw text as the service encodes a query."""
    opened = opened | {name + ", raw text": engine for name, engine in embedders.items()}
    took = {name: [] for name in opened}
    for attempt in range(1 + args.rounds):
        for name, engine in opened.items():
            time.sleep(REST_S)
            calls = 100 if attempt else 20  # the first round is a warm-up
            if "raw text" in name:
                made = engine.query(calls, QUERY)
            elif isinstance(engine, engines.Weir):
                made = engine.one(calls, len(short[0]))
            else:
                made = engine.one(short, calls)
            took[name] += made if attempt else []
    print(f"one text of {len(short[0])} tokens, {100 * args.rounds} calls, ms:")
    for name, all_took in sorted(took.items(), key=lambda item: statistics.median(item[1])):
        ms = np.array(all_took) * 1e3
        print(f"    {name:<36} median {np.median(ms):8.3f}   p95 {np.percentile(ms, 95):8.3f}   best {ms.min():8.3f}")


def compare_shape(shape, args, peak):
    pairs = texts.pairs(args.pairs)
    if pairs is None:
        print("pairs: ../shared/collections/dl19 is not here, skipped")
        return
    folder = models.make(shape)
    token_ids, short, tokenising = tokenise(folder, pairs)
    print(f"== {shape}: {models.SHAPES[shape]}, {len(pairs)} pairs of "
          f"{statistics.mean(len(ids) for ids, _ in token_ids):.1f} tokens, {args.threads} threads")
    opened, weir = {}, {}
    if "onnx" in args.engines:
        opened |= open_onnx(args, folder, token_ids)
    if "torch" in args.engines:
        opened |= open_torch(args, folder, token_ids)
    if "weir" in args.engines:
        weir = open_weir(args, folder, shape)
        engines.Weir.ask("pairs", texts.write("pairs.tsv", (q + "\t" + d for q, d in pairs)))
        opened |= weir
    for engine in list(weir.values())[:1]:
        check_tokens(engine, token_ids)
    if "pairs" in args.parts:
        seconds, scores = compare_pairs(opened, args, token_ids)
        report_pairs(shape, seconds, scores, peak, token_ids)
        compare_whole(opened, args, seconds, tokenising, len(pairs))
    if "one" in args.parts:
        embedders = open_weir(args, models.MINILM, "query") if weir and shape == "minilm" else {}
        compare_one(opened, embedders, args, short)


# ---- an index, memory

def compare_index(args):
    passages = texts.passages(args.passages)
    if passages is None:
        print("index: ../shared/collections/nfcorpus is not here, skipped")
        return
    opened = {}
    if "weir" in args.engines:
        opened |= open_weir(args, models.MINILM, "embed")
        engines.Weir.ask("texts", texts.write("passages.txt", passages))
    if "torch" in args.engines:
        import torch
        from sentence_transformers import SentenceTransformer
        torch.set_num_threads(args.threads)
        model = SentenceTransformer(str(models.MINILM), device="cpu")
        opened["sentence-transformers fp32"] = model
    total = dict.fromkeys(opened, 0.)
    step = 200  # passages that one engine encodes before the next has its turn
    for begin in range(0, len(passages), step):
        end = min(begin + step, len(passages))
        for name, engine in opened.items():
            time.sleep(REST_S)
            start = time.perf_counter()
            if isinstance(engine, engines.Weir):
                total[name] += engine.embed(begin, end)
            else:
                engine.encode(passages[begin:end], batch_size=32, normalize_embeddings=True, show_progress_bar=False)
                total[name] += time.perf_counter() - start
    base = total.get("sentence-transformers fp32")
    print(f"== index: all-MiniLM-L6-v2, {len(passages)} passages of NFCorpus, tokenising included, {args.threads} threads")
    for name, seconds in total.items():
        ratio = f"{base / seconds:8.2f} x sentence-transformers" if base else ""
        print(f"    {name:<36}{len(passages) / seconds:>9.1f} passages/s{ratio}")


# Run by a fresh interpreter: a child starts with the resident set of whoever forked it, and this process is large.
LARGEST = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def measure_memory(args):
    """Largest resident set of `weir rerank` over 100 passages of one query."""
    pairs = texts.pairs(args.pairs)
    if pairs is None or "weir" not in args.engines:
        return
    folder = models.make("minilm")
    path = texts.write("rerank.txt", [d for _, d in pairs[:100]])
    print("== memory of `weir rerank`, MiniLM-L6 shape, 100 passages")
    for precision in args.precisions:
        source = args.weir_int8 if precision == "int8" and args.weir_int8 else folder
        command = ["build/release/weir", "rerank", "--model", str(pathlib.Path(source).resolve()), "--query", pairs[0][0],
                   "--threads", str(args.threads), "--precision", precision]
        with open(path, "rb") as given:
            child = subprocess.run([sys.executable, "-S", "-c", LARGEST] + command, stdin=given, capture_output=True, text=True)
        said = f"{int(child.stderr.split()[-1]) / 1024:.1f} MB" if child.returncode == 0 else "not in this build"
        print(f"    weir {precision}: {said}")


def main():
    args = arguments()
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    peak = measure_peak(args.threads) if "peak" in args.parts else {}
    engines.Weir.start(args.threads)
    if {"pairs", "one"} & set(args.parts):
        for shape in args.shapes:
            compare_shape(shape, args, peak)
    if "index" in args.parts:
        compare_index(args)
    engines.Weir.stop()
    if "memory" in args.parts:
        measure_memory(args)


if __name__ == "__main__":
    main()
