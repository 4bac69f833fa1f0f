#!/usr/bin/env python3
"""Makes tests/golden/blocks.bin: blocks of every type and the floats that gguf-py makes of them.

    python3 tests/golden/make_blocks.py        # needs gguf (0.19.0) and numpy

Every bit of a block is random, which every layout permits, except that scales are finite: one row of ordinary ones, one
of subnormal halves and zeros. Per type: name in 8 bytes, out and inputs as u32, the rows' bytes, then [out, in] floats.
"""
import struct
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

# where a block's halves begin
HALVES = {"F16": [0], "Q8_0": [0], "Q4_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
SHAPE = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_K": (256, 144),
         "Q5_K": (256, 176), "Q6_K": (256, 210)}
INPUTS = 256


def scales(random, n, small):
    """n halves: ordinary ones, or subnormal ones with some zeros of either sign."""
    if small:
        bits = random.integers(0, 1024, n) * random.integers(0, 2, n) | random.integers(0, 2, n) << 15
        return bits.astype("<u2")
    return random.normal(0, 0.05, n).astype("<f2").view("<u2")


def blocks(random, name, small):
    values, size = SHAPE[name]
    n = INPUTS // values
    if name == "F32":
        return random.normal(0, 1e-40 if small else 1, n).astype("<f4").view("u1").reshape(n, 4)
    if name == "BF16":
        floats = random.normal(0, 1e-39 if small else 1, n).astype("<f4")
        return (floats.view("<u4") >> 16).astype("<u2").view("u1").reshape(n, 2)
    block = random.integers(0, 256, (n, size), dtype="u1")
    for at in HALVES[name]:
        block[:, at : at + 2] = scales(random, n, small).view("u1").reshape(n, 2)
    return block


def main():
    random = np.random.default_rng(8)
    with open(Path(__file__).parent / "blocks.bin", "wb") as out:
        for name in SHAPE:
            rows = np.stack([blocks(random, name, small).reshape(-1) for small in (False, True)])
            floats = quants.dequantize(rows, Type[name]) if name != "F32" else rows.view("<f4")
            assert floats.shape == (2, INPUTS) and np.isfinite(floats).all()
            out.write(name.encode().ljust(8, b"\0") + struct.pack("<II", *floats.shape))
            out.write(rows.tobytes() + floats.astype("<f4").tobytes())


main()
