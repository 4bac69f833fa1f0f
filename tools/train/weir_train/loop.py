"""One loop for all recipes: seeded, resumable after any interruption, logged to jsonl, with the loss drawn as SVG."""
import json
import math
import os
import random
import time
from pathlib import Path

import torch


def seed_everything(seed):
    random.seed(seed)
    torch.manual_seed(seed)


def pick_device(name=None):
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def autocast(device):
    """bf16 products where the machine has them: on a CPU with AVX512-BF16 or AMX this doubles the speed."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def rate(step, steps, peak, warm_up=0.05):
    """Linear warm-up over the first 5 % (Adam's second moments are noise until then), then cosine to a tenth of the peak."""
    warm = max(1, int(steps * warm_up))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def keep_until(log, step):
    """Drops what a broken run logged after its last checkpoint: those steps are made again."""
    if log.exists():
        kept = [line for line in log.read_text(encoding="utf-8").splitlines() if line and json.loads(line)["step"] <= step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def grouped(model, times):
    """The parameters in groups of one rate: first those that `times` does not name, then its entries, in order."""
    groups = [{"params": [], "times": 1.0}] + [{"params": [], "times": factor} for factor in times.values()]
    for name, parameter in model.named_parameters():
        place = next((n for n, prefix in enumerate(times, 1) if name.startswith(prefix)), 0)
        groups[place]["params"].append(parameter)
    return [group for group in groups if group["params"]]


class Run:
    """The state of one training run in a folder: checkpoint.pt, log.jsonl, loss.svg.

    batches(step) must depend on nothing but the seed and the step, so that a resumed run sees what the broken one would
    have seen. Everything else (weights, moments, step) is in the checkpoint, written beside the old one and then renamed.
    """

    def __init__(self, folder, model, steps, peak, weight_decay=0.01, save_every=120.0, times=None):
        """times: {prefix of parameters' names: how much faster they learn}; without it heads learn ten times as fast: they
        start from nothing and have few weights."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model, self.steps, self.peak, self.save_every = model, steps, peak, save_every
        self.groups = grouped(model, times or {"heads.": 10.0})
        self.optimizer = torch.optim.AdamW(self.groups, lr=peak, weight_decay=weight_decay, betas=(0.9, 0.98), fused=True)
        self.step, self.seconds = 0, 0.0
        self.checkpoint = self.folder / "checkpoint.pt"
        if self.checkpoint.exists():
            kept = torch.load(self.checkpoint, weights_only=True)
            model.load_state_dict(kept["model"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.step, self.seconds = kept["step"], kept["seconds"]
            keep_until(self.folder / "log.jsonl", self.step)

    def save(self):
        part = self.checkpoint.with_suffix(".part")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
                    "seconds": self.seconds}, part)
        os.replace(part, self.checkpoint)

    def train(self, loss_of, minutes=None, pause_at=None):
        """loss_of(step) -> (loss, {name: number}). Stops after `steps`, or after `minutes` of training with the rate's
        schedule bent to end there; at step `pause_at` with a checkpoint from which the same command goes on. Says whether
        the run has come to its end."""
        self.model.train()
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            while self.step < self.steps:
                progress = self.step / self.steps
                if minutes:
                    progress = (time.monotonic() - started) / (60 * minutes)
                    if progress >= 1:
                        break
                lr = rate(int(progress * 10000), 10000, self.peak)
                for group, own in zip(self.optimizer.param_groups, self.groups):
                    group["lr"] = lr * own["times"]
                loss, parts = loss_of(self.step)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.step += 1
                self.seconds = time.monotonic() - started
                log.write(json.dumps({"step": self.step, "seconds": round(self.seconds, 1), "lr": lr, "loss": loss.item(),
                                      "norm": norm.item(), **{k: round(v, 5) for k, v in parts.items()}}) + "\n")
                log.flush()
                if time.monotonic() - saved > self.save_every:
                    self.save()
                    saved = time.monotonic()
                if self.step == pause_at:
                    break
        self.save()
        draw(self.folder / "log.jsonl", self.folder / "loss.svg")
        self.model.eval()
        return self.step == self.steps or bool(minutes and self.seconds >= 60 * minutes)


def draw(log, svg, width=640, height=240, window=25):
    """The loss of a log against its steps: every step pale, the mean of the last 25 dark."""
    with open(log, encoding="utf-8") as file:
        losses = [json.loads(line)["loss"] for line in file]
    if len(losses) < 2:
        return
    top = sorted(losses)[int(0.98 * (len(losses) - 1))] * 1.05 or 1.0

    def line(values, colour):
        points = " ".join(f"{40 + i * (width - 50) / (len(values) - 1):.1f},{height - 25 - min(v, top) / top * (height - 40):.1f}"
                          for i, v in enumerate(values))
        return f'<polyline fill="none" stroke="{colour}" points="{points}"/>'

    means = [sum(losses[max(0, i - window):i + 1]) / len(losses[max(0, i - window):i + 1]) for i in range(len(losses))]
    Path(svg).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{line(losses, "#bbd")}{line(means, "#225")}'
        f'<text x="4" y="18">{top:.3g}</text><text x="22" y="{height - 22}">0</text>'
        f'<text x="{width - 90}" y="{height - 8}">step {len(losses)}</text></svg>\n', encoding="utf-8")
