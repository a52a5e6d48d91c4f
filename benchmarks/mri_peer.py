#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cases of benchmark_mri with SigPy, and with BART where it is installed: milliseconds, one JSON line per case.

    python -m venv peers && peers/bin/pip install sigpy && peers/bin/python benchmarks/mri_peer.py [KSPACE.npy [MAPS.npy]]

sense, normal: one complex 320x320 image behind 8 coils, random columns or positions, R = 4, with SigPy's linear operators.
espirit: SigPy's EspiritCalib and `bart ecalib`, 8 coils, 230x180, of a made-up object or of KSPACE.npy (coils, height, width).
MAPS.npy of `diem mri maps` are compared with SigPy's: largest difference, the same up to the phase of a pixel, and the pixels that
only one of the two holds to be inside.
pics: `bart pics` of that k-space, 30 iterations of conjugate gradients; its 30 products with A'A and a little more.
BART's times are those of the program, with reading and writing: the clock's alone, as it is another process. Environment:
THREADS, of all. REPEATS, timed calls; the median is printed.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

THREADS = os.environ.get("THREADS")
if THREADS:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = THREADS

import numpy as np
import sigpy as sp
import sigpy.mri as mr

from peer_times import measure


def complex_normal(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def phantom(coils, height, width):
    """As phantom() of mri/cases.hpp."""
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    body = (x * x / 0.5 + y * y / 0.6 < 1) * (1 + 0.3 * np.sin(20 * x + 9 * y))
    turn = 2 * np.pi * np.arange(coils)[:, None, None] / coils
    far = (x - 1.2 * np.cos(turn)) ** 2 + (y - 1.2 * np.sin(turn)) ** 2
    images = body * np.exp(-far / 3 + 1j * (turn + 0.4 * x * np.sin(turn)))
    k = sp.fft(images.astype(np.complex64), axes=(-2, -1))
    return k + np.complex64(1e-3) * complex_normal(np.random.default_rng(3), *k.shape)


def sense(rng):
    name, n, coils = "SigPy " + sp.__version__, 320, 8
    maps, x = complex_normal(rng, coils, n, n), complex_normal(rng, n, n)
    columns = np.broadcast_to(rng.permutation(n) < n // 4, (n, n))
    full = rng.permutation(n * n).reshape(n, n) < n * n // 4
    for mask, kind in ((columns, "columns"), (full, "full")):
        a = mr.linop.Sense(maps, weights=mask.astype(np.float32))
        y = a(x)
        u = complex_normal(rng, coils, n, n)
        assert abs(np.vdot(u, y) - np.vdot(a.H(u), x)) <= 1e-4 * np.linalg.norm(y) * np.linalg.norm(u)
        measure(name, "sense/" + kind, lambda: a.H(a(x)))
        normal = a.N
        measure(name, "normal/" + kind, lambda: normal(x))


def compare(theirs, path):
    ours = np.load(path).reshape(theirs.shape)
    inside = [np.linalg.norm(each, axis=0) > 0 for each in (theirs, ours)]
    turn = np.sum(theirs.conj() * ours, axis=0)
    turn = np.where(np.abs(turn) > 0, turn / np.maximum(np.abs(turn), 1e-30), 1)
    largest = lambda a: float(np.abs(a - theirs)[:, inside[0] & inside[1]].max())
    print(json.dumps({"case": "espirit", "largest_difference": largest(ours), "up_to_phase": largest(ours / turn),
                      "inside_of_one_alone": int((inside[0] != inside[1]).sum())}), flush=True)


def write_cfl(path, array):
    dims = list(array.shape[::-1])
    dims = dims[:2] + [1] + dims[2:]  # (coils, height, width): READ, PHS1, PHS2, COIL
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
    array.astype(np.complex64).tofile(path.with_suffix(".cfl"))


def main(arguments):
    sense(np.random.default_rng(1))
    k = np.load(arguments[0]).astype(np.complex64) if arguments else phantom(8, 230, 180)
    espirit = lambda: mr.app.EspiritCalib(k, calib_width=24, show_pbar=False).run()
    measure("SigPy " + sp.__version__, "espirit", espirit)
    if len(arguments) > 1:
        compare(espirit(), arguments[1])
    if not shutil.which("bart"):
        return print("bart is not installed", file=sys.stderr)
    version = "BART " + subprocess.run(["bart", "version"], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_cfl(folder / "k", k)
        bart = lambda *words: subprocess.run(["bart", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        measure(version, "espirit",
                lambda: bart("ecalib", "-m1", "-k6", "-r24", "-t0.0004", "-c0.95", "-P", "k", "maps"))
        measure(version, "pics", lambda: bart("pics", "-l2", "-r0.01", "-i30", "k", "maps", "image"))


if __name__ == "__main__":
    main(sys.argv[1:])
