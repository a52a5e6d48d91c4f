#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The points of benchmark_sinkhorn with POT: milliseconds and processor milliseconds per iteration, one JSON line per case.

    python -m venv peers && peers/bin/pip install POT && peers/bin/python benchmarks/sinkhorn_peer.py [SIZE...]

A SIZE is n, for one problem of n x n points in R^5 (sinkhorn_log), or p/n, for p of them in R^3: one after another
(sinkhorn_log) and at once (ot.batch). NumPy arrays in float64, and PyTorch tensors in float32 and float64 where torch is
installed. What comes before and after the iterations is not counted: the time of one iteration is taken from that of six.
Environment: THREADS, of both; without it, it is the libraries' own. REPEATS, timed calls.
"""
import json
import os
import sys
import time

THREADS = os.environ.get("THREADS")
if THREADS:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = THREADS

import numpy
import ot

try:
    import torch
    if THREADS:
        torch.set_num_threads(int(THREADS))
except ImportError:
    torch = None

ITERATIONS, REPEATS = 6, int(os.environ.get("REPEATS", 5))


def curve(n, d, shift, noise, seed):
    u = 2 * numpy.pi * (numpy.arange(n) + shift) / n
    x = numpy.stack([2 * numpy.sin((j + 1) * u + j) for j in range(d)], 1)
    return x + noise * numpy.random.default_rng(seed).normal(size=x.shape)


def single(iterations, a, b, empty):
    ot.sinkhorn2(empty, empty, ot.dist(a, b), reg=1e-3, numItermax=iterations, stopThr=0, method="sinkhorn_log",
                 warn=False)


def alone(iterations, a, b, empty):
    for u, v in zip(a, b):
        single(iterations, u, v, empty)


def together(iterations, a, b, _empty):
    ot.solve_sample_batch(a, b, reg=1e-3, max_iter=iterations, tol=0, method="log_sinkhorn", grad="detach")


def clocks(run, iterations, *arrays):
    begin, begin_cpu = time.perf_counter(), time.process_time()
    run(iterations, *arrays)
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def measure(run, *arrays):
    """Milliseconds per iteration, of the clock and of all threads."""
    run(1, *arrays)
    pairs = [(clocks(run, ITERATIONS, *arrays), clocks(run, 1, *arrays)) for _ in range(REPEATS)]
    return [round(1e3 * sorted(many[k] - one[k] for many, one in pairs)[REPEATS // 2] / (ITERATIONS - 1), 3)
            for k in (0, 1)]


def main(sizes):
    for size in sizes:
        *problems, n = [int(x) for x in size.split("/")]
        if problems:
            u = numpy.stack([curve(n, 3, 0, 0, 0)] * problems[0])
            v = numpy.stack([curve(n, 3, 0.5, 0.02, seed) for seed in range(problems[0])])
        else:
            u, v = curve(n, 5, 0, 0, 0), curve(n, 5, 0.5, 0.02, 1)
        cases = {"numpy float64": (u, v, numpy.array([]))}
        if torch:
            for kind in ("float32", "float64"):
                t = [torch.tensor(x, dtype=getattr(torch, kind)) for x in (u, v, numpy.array([]))]
                cases["torch " + kind] = tuple(t)
        for run in (alone, together) if problems else (single,):
            for name, arrays in cases.items():
                wall, cpu = measure(run, *arrays)
                print(json.dumps({"peer": "POT " + ot.__version__, "case": f"{run.__name__} {name}", "size": size,
                                  "ms_per_iteration": wall, "cpu_ms_per_iteration": cpu}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["1024", "4096", "64/512"])
