#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The points of benchmark_sinkhorn with POT's sinkhorn_log: milliseconds per iteration, one JSON line per size.

    python -m venv peers && peers/bin/pip install POT && peers/bin/python benchmarks/sinkhorn_peer.py [SIZE...]

NumPy arrays in float64, and PyTorch tensors in float32 and float64 where torch is installed. Threads are the libraries' own.
"""
import json
import sys
import time

import numpy
import ot

ITERATIONS, REPEATS = 20, 5


def curve(n, shift, noise, seed):
    u = 2 * numpy.pi * (numpy.arange(n) + shift) / n
    x = numpy.stack([2 * numpy.sin((j + 1) * u + j) for j in range(5)], 1)
    return x + noise * numpy.random.default_rng(seed).normal(size=x.shape)


def milliseconds(a, b, empty):
    def run():
        ot.sinkhorn2(empty, empty, ot.dist(a, b), reg=1e-3, numItermax=ITERATIONS, stopThr=0, method="sinkhorn_log",
                     warn=False)

    run()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1e3 * sorted(seconds)[REPEATS // 2] / ITERATIONS


def main(sizes):
    for n in sizes:
        u, v = curve(n, 0, 0, 0), curve(n, 0.5, 0.02, 1)
        cases = {"numpy float64": (u, v, numpy.array([]))}
        try:
            import torch
            for name, kind in (("torch float32", torch.float32), ("torch float64", torch.float64)):
                cases[name] = (torch.tensor(u, dtype=kind), torch.tensor(v, dtype=kind), torch.tensor((), dtype=kind))
        except ImportError:
            pass
        for name, arrays in cases.items():
            print(json.dumps({"peer": "POT " + ot.__version__, "case": name, "points": n,
                              "ms_per_iteration": round(milliseconds(*arrays), 3)}), flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [1024, 4096])
