"""Several teachers' scores as one, on the scale of the student that learns from it."""
import numpy as np


def spread(lists, values):
    """The standard deviation of a teacher's scores within a list, over all lists."""
    total, count = 0.0, 0
    for i in range(len(lists)):
        part = values[lists.span(i)]
        part = part[np.isfinite(part)]
        if len(part) > 1:
            total += float(((part - part.mean()) ** 2).sum())
            count += len(part)
    return (total / max(count, 1)) ** 0.5


def combine(lists, weights, scale):
    """sum_k w_k x_k / spread_k, brought to a spread of `scale` within a list. weights: {teacher: weight}.

    A teacher may know some passages only (not a number elsewhere): the others get 0 and must not be drawn."""
    total = np.zeros(len(lists.cand), dtype=np.float64)
    for name, weight in weights.items():
        if name not in lists.teachers:
            raise SystemExit(f"no teacher {name} in {lists.folder}; there are {', '.join(lists.teachers)}")
        values = lists.teachers[name].astype(np.float64)
        total += weight * values / max(spread(lists, values), 1e-9)
    total *= scale / max(spread(lists, total), 1e-9)
    return np.nan_to_num(total, nan=0.0).astype(np.float32)


def parse(text):
    """'cos=1,late=1,bm25=0.5' -> {...}"""
    return {name: float(weight) for name, weight in (part.split("=") for part in text.split(","))}
