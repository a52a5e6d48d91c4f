# SPDX-License-Identifier: Apache-2.0
"""diem.posterior against the program diem on the same prior, observations and thread, in turns: processor time of whole processes.

DIEM=build/release/examples/diem python benchmarks/python_peer.py [ROUNDS [SAMPLES]]

The package (pip install .) and the program must be built with the same flags; python/examples/tutorial.py makes the prior.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

root = pathlib.Path(__file__).resolve().parents[1]
rounds, samples = int(sys.argv[1]) if len(sys.argv) > 1 else 7, sys.argv[2] if len(sys.argv) > 2 else "64"
prior = root / "out/python/prior.safetensors"
CALL = """
import sys, numpy, diem
prior, y, operator, samples = sys.argv[1:]
x = diem.posterior(diem.load(prior, threads=1), numpy.load(y), operator, 0.01, samples=int(samples), seed=1)
numpy.save(sys.argv[2] + ".out.npy", x)
"""


def seconds(command):
    """Of the processor."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: status {status}")
    return used.ru_utime + used.ru_stime


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    digits = np.load(root / "examples/data/digits/digits_8x8.npy").reshape(-1, 8, 8, 1)[1536:] / 4.0 - 2
    random = np.random.default_rng(0)
    seen = random.random(digits.shape) < 0.25
    y = np.where(seen, digits + 0.01 * random.standard_normal(digits.shape), np.nan).astype(np.float32)
    np.save(folder / "y.npy", y)
    (folder / "operator.json").write_text(json.dumps({"type": "identity", "mask": "nan"}))
    program = [os.environ["DIEM"], "posterior", prior, folder / "y.npy", "--operator", folder / "operator.json", "--sigma-y",
               "0.01", "--samples", samples, "--seed", "1", "--threads", "1", "--out", folder / "out"]  # fmt: skip
    python = [sys.executable, "-c", CALL, prior, folder / "y.npy", folder / "operator.json", samples]
    times = {"program": [], "python": []}
    for k in range(rounds):
        order = [("program", program), ("python", python)]
        for which, command in order if k % 2 == 0 else reversed(order):
            times[which].append(seconds([str(part) for part in command]))
    same = np.array_equal(np.load(folder / "y.npy.out.npy"), np.swapaxes(np.load(folder / "out/samples.npy"), 0, 1))
ratios = sorted(b / a for a, b in zip(times["program"], times["python"]))
for which, values in times.items():
    print(f"{which}: median {statistics.median(values):.2f} s of {', '.join(f'{v:.2f}' for v in values)}")
print(f"python / program: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}; same samples: {same}")
