# SPDX-License-Identifier: Apache-2.0
"""Complex observations: k-space of one coil or of several, with the program's results to the bit."""

import json

import numpy as np
import pytest

import diem
from test_program import load_tensors

ITEMS, COILS, HEIGHT, WIDTH = 12, 3, 8, 10
SIGMA = 0.1


def transform(x):
    """Centred and orthonormal."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes), norm="ortho"), axes)


def adjoint(y):
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(y, axes), norm="ortho"), axes)


class Scan:
    """Random smooth images seen by three coils, of which some columns of k-space are measured."""

    def __init__(self):
        random = np.random.default_rng(5)

        def noise(*shape):
            return random.standard_normal(shape) + 1j * random.standard_normal(shape)

        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        coils = np.arange(COILS)[:, None, None]
        maps = np.exp(1j * coils * columns / WIDTH) * (1 + 0.5 * np.cos(rows / HEIGHT + coils))
        self.maps = (maps / np.sqrt((abs(maps) ** 2).sum(0))).astype(np.complex64)
        low = (abs(rows - HEIGHT // 2) < 3) & (abs(columns - WIDTH // 2) < 3)
        self.images = adjoint(noise(ITEMS, HEIGHT, WIDTH) * low).astype(np.complex64)
        self.mask = (np.arange(WIDTH) % 4 != 1).astype(np.float32)
        seen = transform(self.maps * self.images[:, None]) + SIGMA * noise(ITEMS, COILS, HEIGHT, WIDTH)
        self.y = (self.mask * seen).astype(np.complex64)
        alone = transform(self.images.real) + SIGMA * noise(ITEMS, HEIGHT, WIDTH)
        self.alone = (self.mask * alone).astype(np.complex64)  # one coil, real images


@pytest.fixture(scope="module")
def scan():
    return Scan()


GAUSSIAN = {"rank": 6, "laps": 3}
NETWORK = {"type": "mlp", "features": 2 * HEIGHT * WIDTH, "hidden": [16], "emb": 8}
EM = {"laps": 1, "sampler": {"steps": 16}, "training": {"steps": 100, "batch": 12}}


def of_program(folder, program, y, operator, **config):
    """The prior and two posterior samples of each item, by files in `folder`."""
    np.save(folder / "y.npy", y)
    named = {}
    for key, value in operator.items():
        if isinstance(value, np.ndarray):
            np.save(folder / f"{key}.npy", value)
            value = f"{key}.npy"
        named[key] = value
    (folder / "operator.json").write_text(json.dumps(named))
    config = {"observations": "y.npy", "operator": "operator.json", "sigma_y": SIGMA, "gaussian": GAUSSIAN, **config}
    (folder / "fit.json").write_text(json.dumps(config))
    program("fit", folder / "fit.json", "--out", folder / "run")
    prior = folder / "run/prior.safetensors"
    program("posterior", prior, folder / "y.npy", "--operator", folder / "operator.json", "--sigma-y", SIGMA,
            "--samples", 2, "--seed", 5, "--out", folder / "out")  # fmt: skip
    return load_tensors(prior), np.swapaxes(np.load(folder / "out/samples.npy"), 0, 1)


def check_equal(tmp_path, theirs, prior, samples):
    prior.save(tmp_path / "ours.safetensors")
    ours = load_tensors(tmp_path / "ours.safetensors")
    assert ours.keys() == theirs[0].keys()
    for name, values in theirs[0].items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert samples.dtype == theirs[1].dtype
    np.testing.assert_array_equal(samples, theirs[1])


@pytest.mark.parametrize("of", [np.complex64, np.complex128])
def test_coils(tmp_path, scan, program, of):
    operator = {"type": "mri", "mask": scan.mask, "coils": scan.maps.astype(of)}
    y = scan.y.astype(of)
    theirs = of_program(tmp_path, program, y, operator, network=NETWORK, em=EM)
    prior = diem.fit(y, operator, SIGMA, gaussian=GAUSSIAN, network=NETWORK, em=EM)
    assert prior.shape == (HEIGHT, WIDTH, 2)
    info = {}
    x = diem.posterior(prior, y, operator, SIGMA, samples=2, seed=5, info=info)
    assert x.shape == (2, ITEMS, HEIGHT, WIDTH) and x.dtype == np.complex64
    assert info["observed_share"] == pytest.approx(scan.mask.mean())
    check_equal(tmp_path, theirs, prior, x)


def test_one_coil(tmp_path, scan, program):
    """Of real images, whose mask is where k-space is zero."""
    operator = {"type": "mri"}
    theirs = of_program(tmp_path, program, scan.alone, operator)
    prior = diem.fit(scan.alone, operator, SIGMA, gaussian=GAUSSIAN)
    assert prior.shape == (HEIGHT, WIDTH, 1)
    x = diem.posterior(prior, scan.alone, operator, SIGMA, samples=2, seed=5)
    assert x.shape == (2, ITEMS, HEIGHT, WIDTH, 1)
    check_equal(tmp_path, theirs, prior, x.reshape(theirs[1].shape))
    # A mask, maps and y by the names of files, or as arrays: the same.
    np.save(tmp_path / "mask.npy", scan.mask)
    for mask in [scan.mask, np.broadcast_to(scan.mask != 0, (HEIGHT, WIDTH)), tmp_path / "mask.npy"]:
        again = diem.posterior(prior, scan.alone, {**operator, "mask": mask}, SIGMA, samples=2, seed=5)
        np.testing.assert_array_equal(again, x)


def test_other_sizes(tmp_path, scan, program):
    """A smaller image than k-space, as the program crops it."""
    operator = {"type": "mri", "mask": scan.mask, "coils": scan.maps, "size": [6, WIDTH], "fit": "crop"}
    theirs = of_program(tmp_path, program, scan.y, operator)
    prior = diem.fit(scan.y, operator, SIGMA, gaussian=GAUSSIAN)
    check_equal(tmp_path, theirs, prior, diem.posterior(prior, scan.y, operator, SIGMA, samples=2, seed=5))


def test_complex_images(tmp_path, scan, program):
    """Operators that know no complex numbers see pairs."""
    theirs = of_program(tmp_path, program, scan.images, {"type": "identity"}, image=[HEIGHT, WIDTH, 2])
    prior = diem.fit(scan.images, {"type": "identity"}, SIGMA, gaussian=GAUSSIAN, image=[HEIGHT, WIDTH, 2])
    x = diem.posterior(prior, scan.images, {"type": "identity"}, SIGMA, samples=2, seed=5)
    check_equal(tmp_path, theirs, prior, x)


def test_one_slice_of_coils(scan):
    """(coils, height, width) is one slice; results may be written in pairs."""
    operator = {"type": "mri", "coils": scan.maps}
    prior = diem.fit(scan.y, operator, SIGMA, gaussian=GAUSSIAN)
    out = np.zeros((1, HEIGHT, WIDTH, 2), np.float32)
    x = diem.posterior(prior, scan.y[0], operator, SIGMA, out=out)
    assert x.shape == (1, HEIGHT, WIDTH) and np.shares_memory(x, out)
    np.testing.assert_array_equal(x, diem.posterior(prior, scan.y[:1], operator, SIGMA))


def test_callables_of_complex_numbers(scan):
    """They get pairs and may return complex numbers; up to rounding they are the operator that they compute."""
    operator = {"type": "mri", "coils": scan.maps}

    def images(x):
        return np.ascontiguousarray(x).view(np.complex64)[..., 0]

    own = diem.Operator(
        lambda x: scan.mask * transform(scan.maps * images(x)[:, None]),
        lambda y: (scan.maps.conj() * adjoint(scan.mask * images(y))).sum(1),
        (HEIGHT, WIDTH, 2),
    )
    prior = diem.fit(scan.y, operator, SIGMA, gaussian=GAUSSIAN)
    told = {}
    x = diem.posterior(prior, scan.y, own, SIGMA, info=told)
    assert told["verdict"] == "samples fit the data"
    # The solver's relative tolerance is 1e-5.
    np.testing.assert_allclose(x, diem.posterior(prior, scan.y, operator, SIGMA), atol=5e-3)


def test_errors(scan):
    operator = {"type": "mri", "coils": scan.maps}
    with pytest.raises(OSError, match=r"y: holds real numbers of shape .*, expected complex ones"):
        diem.fit(scan.y.real, operator, SIGMA)
    with pytest.raises(ValueError, match=r'y: k-space of 3 coils: .* needs "coils", their maps'):
        diem.fit(scan.y, {"type": "mri"}, SIGMA)
    with pytest.raises(ValueError, match=r"operator.coils: maps of .* do not fit k-space of y"):
        diem.fit(scan.y, {"type": "mri", "coils": scan.maps[:2]}, SIGMA)
    with pytest.raises(ValueError, match=r"operator.mask: masks of .* do not fit k-space"):
        diem.fit(scan.y, {**operator, "mask": scan.mask[1:]}, SIGMA)
    with pytest.raises(OSError, match=r"operator.mask: a mask of shape .* \(complex\), expected real"):
        diem.fit(scan.y, {**operator, "mask": scan.mask.astype(complex)}, SIGMA)
    with pytest.raises(OSError, match="operator.values: complex numbers, expected real ones"):
        diem.fit(scan.images, {"type": "mask", "values": scan.images}, SIGMA)
