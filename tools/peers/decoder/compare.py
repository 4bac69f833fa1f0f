"""weir's decoders beside llama.cpp: the same GGUF files, threads and tokens, in turn in one run. README.md."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import models

HERE = pathlib.Path(__file__).parent
FOLDER = pathlib.Path("build/peers/decoder")
POSITIONS = "64,128,256,512"  # prompts whose logits are compared


def arguments():
    parser = argparse.ArgumentParser(prog="tools/peers/decoder/run", description=__doc__)
    parser.add_argument("--shapes", default="0.1B,0.5B", help="of tiny,0.1B,0.5B (0.1B,0.5B)")
    parser.add_argument("--types", default="Q8_0,Q4_0", help="of " + ",".join(models.TYPES) + " (Q8_0,Q4_0)")
    parser.add_argument("--threads", default="1,2", help="threads of both engines, one after the other (1,2)")
    parser.add_argument("--lengths", default="512,2048", help="tokens of a prefill (512,2048)")
    parser.add_argument("--generated", type=int, default=48, help="tokens to generate behind the first length (48)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both engines in turn; the best counts (3)")
    parser.add_argument("--parts", default="speed,agreement", help="of speed,agreement (both)")
    return parser.parse_args()


def run(engine, path, threads, lengths, generated, *more):
    program = [sys.executable, str(HERE / "llama.py")] if engine == "llama.cpp" else ["build/release/tests/bench_decoder"]
    words = program + [str(path), str(threads), str(lengths), str(generated), *map(str, more)]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in out.splitlines()]
    return {(kind, int(n)): int(n) / float(seconds) for kind, n, seconds in lines}


def speed(args, path, shape, kind, threads):
    """Tokens a second, the best of the rounds, and weir's share of llama.cpp's."""
    best = {}
    for _ in range(args.rounds):
        for engine in ("weir", "llama.cpp"):
            for what, rate in run(engine, path, threads, args.lengths, args.generated).items():
                key = (engine, *what)
                best[key] = max(best.get(key, 0), rate)
    for (engine, what, n), rate in best.items():
        if engine != "weir":
            continue
        peer = best["llama.cpp", "generate" if what == "generate" else "prefill", n]
        print("speed %-5s %-5s %d threads %-9s %5d tokens  weir %8.1f/s  llama.cpp %8.1f/s  ratio %.2f"
              % (shape, kind, threads, what, n, rate, peer, rate / peer), flush=True)


def agreement(shape, kind):
    """How far both are from fp32 with the same weights, at the last position of four prompts."""
    with tempfile.TemporaryDirectory() as folder:
        def logits(engine, path, *more):
            to = pathlib.Path(folder) / engine
            run(engine, path, 2, POSITIONS, 0, to, *more)
            return np.fromfile(to, "<f4").reshape(POSITIONS.count(",") + 1, -1)

        floats = models.path_of(FOLDER, shape, "F32of" + kind)
        exact = logits("llama.cpp", floats, "exact")
        path = models.path_of(FOLDER, shape, kind)
        loss = {engine: np.abs(logits(engine, path) - exact) for engine in ("weir", "llama.cpp")}
        fp32 = np.abs(logits("weir", floats) - exact).max()
    rms = {engine: float(np.sqrt((d.astype(np.float64) ** 2).mean())) for engine, d in loss.items()}
    print("agreement %-5s %-5s from fp32: weir rms %.5f max %.4f  llama.cpp rms %.5f max %.4f  ratio rms %.2f max %.2f"
          "  (logits' deviation %.2f; weir's own fp32 differs by %.1e)"
          % (shape, kind, rms["weir"], loss["weir"].max(), rms["llama.cpp"], loss["llama.cpp"].max(),
             rms["weir"] / rms["llama.cpp"], loss["weir"].max() / loss["llama.cpp"].max(), exact.std(), fp32), flush=True)
    floats.unlink()  # 1.5 GB at 0.5 B


def main():
    args = arguments()
    os.environ["OMP_WAIT_POLICY"] = "active"  # as llama.cpp's own programs run
    print(subprocess.run([sys.executable, str(HERE / "llama.py"), "info"], capture_output=True, text=True).stdout)
    for shape in args.shapes.split(","):
        for kind in args.types.split(","):
            if not models.fits(shape, kind):
                print("left out: %s in %s, whose rows are no multiples of 256" % (shape, kind), flush=True)
                continue
            path = models.path_of(FOLDER, shape, kind)
            if "speed" in args.parts:
                for threads in args.threads.split(","):
                    speed(args, path, shape, kind, int(threads))
            if "agreement" in args.parts:
                agreement(shape, kind)


main()
