# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Digits:
    """Handwritten digits in [-2, 2], of which half of the pixels is seen."""

    def __init__(self, count: int = 96) -> None:
        pixels = np.load(ROOT / "examples/data/digits/digits_8x8.npy")[:count]
        self.truth = (pixels.reshape(-1, 8, 8, 1).astype(np.float32) / 4 - 2).astype(np.float32)
        rng = np.random.default_rng(0)
        self.masks = rng.random(self.truth.shape) < 0.5
        noise = 0.01 * rng.standard_normal(self.truth.shape, dtype=np.float32)
        self.y = np.where(self.masks, self.truth + noise, 0).astype(np.float32)
        self.operator = {"type": "mask", "values": self.masks}


@pytest.fixture(scope="session")
def digits():
    return Digits()


NETWORK = {"type": "mlp", "features": 64, "hidden": [32, 32], "emb": 16}
GAUSSIAN = {"rank": 8, "laps": 4, "rest": "diagonal"}
EM = {"laps": 1, "sampler": {"steps": 8}, "training": {"steps": 20, "batch": 32}}


@pytest.fixture(scope="session")
def gaussian_prior(digits):
    import diem

    return diem.fit(digits.y, digits.operator, 0.01, gaussian=GAUSSIAN, seed=3)


@pytest.fixture(scope="session")
def prior(digits):
    import diem

    return diem.fit(digits.y, digits.operator, 0.01, gaussian=GAUSSIAN, network=NETWORK, em=EM, seed=3)


@pytest.fixture(scope="session")
def program():
    """Runs the program diem, built with the same flags as the package: its path is in the environment variable DIEM."""
    path = os.environ.get("DIEM")
    if not path:
        pytest.skip("DIEM does not name the program diem: NOT COMPARED with it")

    def run(*arguments):
        done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run
