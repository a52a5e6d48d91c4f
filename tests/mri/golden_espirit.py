#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/espirit*.safetensors: k-space of a made-up object behind made-up coils, and the maps that SigPy finds.

    pip install sigpy safetensors && python tests/mri/golden_espirit.py
"""
import json
import pathlib

import numpy as np
import sigpy.mri as mr
from safetensors.numpy import save_file

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"


def centred(f, x):
    return np.fft.fftshift(f(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def kspace(rng, coils, height, width):
    """An ellipse with stripes, in front of coils whose sensitivity falls off from places around it."""
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    body = ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1) * (1 + 0.3 * np.sin(5 * x + 2 * y) * np.exp(0.5j * y))
    maps = []
    for c in range(coils):
        turn = 2 * np.pi * c / coils
        far = (x - 1.2 * np.cos(turn)) ** 2 + (y - 1.2 * np.sin(turn)) ** 2
        maps.append(np.exp(-far / 3 + 1j * (turn + 0.4 * x * np.sin(turn))))
    k = centred(np.fft.fft2, np.array(maps) * body)
    noise = rng.standard_normal((2,) + k.shape)
    return (k + 1e-3 * (noise[0] + 1j * noise[1])).astype(np.complex64)


def as_pairs(z):
    return np.ascontiguousarray(np.stack([z.real, z.imag], -1))


def write(name, seed, coils, height, width, **options):
    rng = np.random.default_rng(seed)
    ks = [kspace(rng, coils, height, width) for _ in range(2)]
    maps = []
    for k in ks:
        app = mr.app.EspiritCalib(k.astype(np.complex128), show_pbar=False, max_iter=4000, output_eigenvalue=True,
                                  **options)
        found, eigenvalue = app.run()
        # A pixel on the verge of the crop would fall on either side by rounding; one that the first coil hardly sees has
        # a phase of rounding.
        assert np.abs(eigenvalue - options["crop"]).min() > 1e-4, name
        inside = np.abs(found).max(0) > 0
        assert np.abs(found[0])[inside].min() > 0.05, name
        print(name, f"{inside.sum()} of {inside.size} pixels inside")
        maps.append(found)
    config = {"kind": "espirit", "parameters": [], "coils": coils, "height": height, "width": width,
              "calibration": options["calib_width"], "kernel": options["kernel_width"],
              "threshold": options["thresh"], "crop": options["crop"],
              "tolerance": {"maps": {"float32": 1e-4, "float64": 1e-9}}}
    save_file({"in/kspace": as_pairs(np.array(ks)).astype(np.float32), "out/maps": as_pairs(np.array(maps))},
              DATA / f"{name}.safetensors", {"config": json.dumps(config)})


if __name__ == "__main__":
    write("espirit", 1, 3, 21, 16, calib_width=12, kernel_width=4, thresh=0.02, crop=0.9)
    # Fewer patches than numbers in one, and an image smaller than what kernels correlate over.
    write("espirit_small", 2, 4, 8, 9, calib_width=8, kernel_width=5, thresh=0.05, crop=0.5)
