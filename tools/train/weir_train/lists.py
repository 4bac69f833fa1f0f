"""Lists of passages for every query, with what each teacher says of them: flat arrays with offsets, one file each."""
import json
from pathlib import Path

import numpy as np

from .teacher import list_scores


class Lists:
    """query i has passages cand[offsets[i]:offsets[i+1]]; positive[i] is a place in its list, or -1.

    Teachers are arrays of the same shape: bm25 (0 where a passage was not in BM25's list), cos, late, and what `add`
    brought later.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.queries = json.loads((self.folder / "queries.json").read_text(encoding="utf-8"))
        self.offsets, self.cand, self.positive = (np.load(self.folder / f"{n}.npy") for n in ("offsets", "cand", "positive"))
        self.teachers = {p.stem[8:]: np.load(p) for p in sorted(self.folder.glob("teacher_*.npy"))}

    def __len__(self):
        return len(self.queries)

    def span(self, i):
        return slice(self.offsets[i], self.offsets[i + 1])

    def add(self, name, values):
        np.save(self.folder / f"teacher_{name}.npy", values.astype(np.float32))
        self.teachers[name] = values.astype(np.float32)


def build(folder, examples, runs, query_states, states):
    """Unites the mined lists of each example with its positive (never with the passage that a pseudo-query was made of)."""
    folder = Path(folder)
    if (folder / "teacher_late.npy").exists():  # written last
        return Lists(folder)
    folder.mkdir(parents=True, exist_ok=True)
    offsets, cand, bm25, cos, late, positive = [0], [], [], [], [], []
    for i, example in enumerate(examples):
        lexical = {int(d): s for d, s in runs["bm25"].get(str(i), [])}
        found = sorted({*lexical, *(int(d) for d, _ in runs["dense"].get(str(i), []))} - {example.get("own")})
        own = example["positive"]
        if own is not None and own not in found:
            found.append(own)
        if found:
            c, m = list_scores(query_states, states, i, found)
            cos.append(c.numpy())
            late.append(m.numpy())
        cand += found
        bm25 += [lexical.get(d, 0.0) for d in found]
        offsets.append(len(cand))
        positive.append(found.index(own) if own is not None else -1)
    (folder / "queries.json").write_text(json.dumps([e["query"] for e in examples], ensure_ascii=False), encoding="utf-8")
    for name, values, kind in (("offsets", offsets, np.int64), ("cand", cand, np.int32), ("positive", positive, np.int32),
                               ("teacher_bm25", bm25, np.float32), ("teacher_cos", np.concatenate(cos), np.float32),
                               ("teacher_late", np.concatenate(late), np.float32)):
        np.save(folder / f"{name}.npy", np.asarray(values, dtype=kind))
    return Lists(folder)
