"""A paired test without assumptions on the shape of differences, and no more packages than numpy."""
import numpy as np


def permutation_test(differences, seed=1, rounds=20000):
    """Two-sided p of a mean of paired differences, by random sign flips; never below 1/(rounds+1)."""
    d = np.asarray(differences, dtype=np.float64)
    observed = abs(d.mean())
    random_ = np.random.default_rng(seed)
    hits = 0
    for _ in range(0, rounds, 500):
        signs = random_.integers(0, 2, (500, len(d))) * 2 - 1
        hits += int((np.abs((signs * d).mean(1)) >= observed - 1e-15).sum())
    return (hits + 1) / (rounds + 1)
