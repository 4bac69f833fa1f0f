"""Which passages of which queries a step of list-wise distillation sees."""
import random

import numpy as np

from . import ensemble

BASE_TEACHERS = {"cos": 2, "late": 1, "bm25": 0.8}  # the best of sixteen mixtures on the dev collections' pools


class ListBatches:
    """Lists of a positive and a few others: hard ones by the teacher's own order, easy ones from the rest."""

    def __init__(self, made, size, others, seed):
        # By the base model and BM25 whatever the student learns from: then every run of a seed sees the same lists, and a
        # cross-encoder that teaches has to score those alone.
        self.scores = ensemble.combine(made, BASE_TEACHERS, 1.0)
        self.made, self.size, self.others, self.seed = made, size, others, seed
        usable = [i for i in range(len(made)) if made.offsets[i + 1] - made.offsets[i] > others]
        random.Random(seed).shuffle(usable)
        self.usable = usable

    def draw(self, step):
        random_ = random.Random(self.seed * 1_000_003 + step)
        out = []
        for n in range(step * self.size, (step + 1) * self.size):
            i = self.usable[n % len(self.usable)]
            span = self.made.span(i)
            order = np.argsort(-self.scores[span], kind="stable").tolist()
            positive = int(self.made.positive[i])
            first = positive if positive >= 0 else order[0]
            rest = [place for place in order if place != first]
            # Two thirds from the fifteen that the teacher likes best, where ranking is decided; the others from below.
            hard = random_.sample(rest[:15], min(len(rest[:15]), self.others - self.others // 3))
            below = [place for place in rest if place not in hard]
            easy = random_.sample(below, self.others - len(hard))
            out.append((i, [span.start + place for place in [first, *hard, *easy]], 0 if positive >= 0 else -1))
        return out
