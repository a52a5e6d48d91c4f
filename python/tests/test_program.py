# SPDX-License-Identifier: Apache-2.0
"""Results are those of the program diem, to the bit."""

import json

import numpy as np
import pytest

import diem
from conftest import EM, GAUSSIAN, NETWORK


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits, program):
    """A folder with what the program made of the digits."""
    folder = tmp_path_factory.mktemp("program")
    np.save(folder / "y.npy", digits.y)
    np.save(folder / "masks.npy", digits.masks.astype(np.float32))
    operator = {"type": "mask", "values": "masks.npy"}
    (folder / "operator.json").write_text(json.dumps(operator))
    config = {
        "observations": "y.npy",
        "operator": operator,
        "sigma_y": 0.01,
        "gaussian": GAUSSIAN,
        "network": NETWORK,
        "em": EM,
        "seed": 3,
    }
    (folder / "fit.json").write_text(json.dumps(config))
    program("fit", folder / "fit.json", "--out", folder / "run")
    return folder


def test_prior(run, prior, tmp_path):
    prior.save(tmp_path / "prior.safetensors")
    ours = load_tensors(tmp_path / "prior.safetensors")
    theirs = load_tensors(run / "run/prior.safetensors")
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert diem.load(run / "run/prior.safetensors").notes == prior.notes == {"image": [8, 8, 1]}


def load_tensors(file):
    return pytest.importorskip("safetensors.numpy", reason="safetensors is missing: FILES NOT COMPARED").load_file(file)


@pytest.mark.parametrize("kind", ["gaussian", "prior"])
def test_posterior(run, digits, program, kind):
    file = run / f"run/{kind}.safetensors"
    out = run / f"posterior_{kind}"
    program(
        "posterior",
        file,
        run / "y.npy",
        "--operator",
        run / "operator.json",
        "--sigma-y",
        "0.01",
        "--samples",
        3,
        "--seed",
        5,
        "--out",
        out,
    )
    info = {}
    x = diem.posterior(diem.load(file), digits.y, digits.operator, 0.01, samples=3, seed=5, info=info)
    theirs = np.load(out / "samples.npy")  # items first
    np.testing.assert_array_equal(x, np.swapaxes(theirs, 0, 1))
    assert info["exact"] == (kind == "gaussian")


@pytest.mark.parametrize("kind", ["gaussian", "prior"])
def test_sample(run, program, kind):
    file = run / f"run/{kind}.safetensors"
    program("sample", file, "--count", 20, "--seed", 7, "--out", run / f"drawn_{kind}")
    np.testing.assert_array_equal(diem.sample(diem.load(file), 20, seed=7), np.load(run / f"drawn_{kind}/samples.npy"))


def test_image_operators_and_scale(tmp_path, digits, program):
    """Steps on images with an array for their kernel, data of another unit, sigma_y for each row."""
    kernel = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.float32) / 6
    steps = [{"type": "blur", "shape": [8, 8, 1], "kernel": kernel}, {"type": "downsample", "stride": [2, 2]}]
    y = (50 * digits.truth.reshape(-1, 4, 2, 4, 2).mean((2, 4))).astype(np.float32).reshape(-1, 16)
    sigma = np.linspace(0.5, 1, 16, dtype=np.float32)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "kernel.npy", kernel)
    np.save(tmp_path / "sigma.npy", sigma)
    config = {
        "observations": "y.npy",
        "operator": [{**steps[0], "kernel": "kernel.npy"}, steps[1]],
        "sigma_y": "sigma.npy",
        "gaussian": GAUSSIAN,
        "scale": "auto",
    }
    (tmp_path / "operator.json").write_text(json.dumps(config["operator"]))
    (tmp_path / "fit.json").write_text(json.dumps(config))
    program("fit", tmp_path / "fit.json", "--out", tmp_path / "run")
    prior = diem.fit(y, steps, sigma, gaussian=GAUSSIAN, scale="auto")
    assert prior.notes["scale"] != 1
    program("posterior", tmp_path / "run/prior.safetensors", tmp_path / "y.npy", "--operator", tmp_path / "operator.json",
            "--sigma-y", tmp_path / "sigma.npy", "--samples", 2, "--out", tmp_path / "out")  # fmt: skip
    x = diem.posterior(prior, y, steps, sigma, samples=2)
    np.testing.assert_array_equal(x, np.swapaxes(np.load(tmp_path / "out/samples.npy"), 0, 1))
    assert x.std() > 10  # in the user's unit
    file = diem.posterior(prior, y, str(tmp_path / "operator.json"), tmp_path / "sigma.npy", samples=2)  # or by files
    np.testing.assert_array_equal(file, x)


def test_resumed_run_is_an_undisturbed_one(tmp_path, digits, prior):
    """Also one that was cancelled by its callback in the first lap."""
    em = {**EM, "laps": 2}
    arguments = dict(gaussian=GAUSSIAN, network=NETWORK, em=em, seed=3)
    whole = diem.fit(digits.y, digits.operator, 0.01, **arguments)
    cut = diem.fit(digits.y, digits.operator, 0.01, **arguments, folder=tmp_path / "run", callback=lambda lap, x: False)
    assert (whole.status, cut.status) == ("completed", "cancelled")
    with pytest.raises(OSError, match="holds a run already; resume=True goes on with it"):
        diem.fit(digits.y, digits.operator, 0.01, **arguments, folder=tmp_path / "run")
    rest = diem.fit(digits.y, digits.operator, 0.01, **arguments, folder=tmp_path / "run", resume=True)
    assert rest.status == "completed" and len(rest.history) == 2
    np.testing.assert_array_equal(diem.sample(rest, 5), diem.sample(whole, 5))
    np.testing.assert_array_equal(diem.sample(diem.load(tmp_path / "run/prior.safetensors"), 5), diem.sample(whole, 5))


def test_report(run, tmp_path, digits):
    """The page of a run in a folder has what the program's has, of the same numbers."""
    arguments = dict(gaussian=GAUSSIAN, network=NETWORK, em=EM, seed=3)
    with pytest.warns(UserWarning, match="of the samples leave the range of the data"):  # as the page says, too
        diem.fit(digits.y, digits.operator, 0.01, **arguments, folder=tmp_path / "run")
    ours, theirs = (json.loads((folder / "run/report.json").read_text()) for folder in (tmp_path, run))
    assert ours.keys() == theirs.keys()
    timed = {"e_seconds", "m_seconds"}
    for a, b in zip(ours["laps"], theirs["laps"], strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}
    pictures = {file.name for file in (run / "run").glob("*.png")}
    assert {"observed.png", "seen.png", "samples_diffusion.png", "lap_0.png"} <= pictures
    for name in pictures:
        assert (tmp_path / "run" / name).read_bytes() == (run / "run" / name).read_bytes(), name
    page = (tmp_path / "run/report.html").read_text()
    assert "The run is complete" in page and "of the samples leave the range of the data" in page and page.count("data:image/png") == len(pictures)


def test_held_out(run, digits, program, tmp_path):
    """Predictions of what was kept back are the program's; noise that was given wrongly is warned of."""
    y = digits.y + digits.masks * 0.3 * np.random.default_rng(5).standard_normal(digits.y.shape, dtype=np.float32)
    np.save(run / "noisy.npy", y)
    config = {"observations": "noisy.npy", "operator": "operator.json", "sigma_y": 0.9, "gaussian": GAUSSIAN, "seed": 3}
    (run / "held.json").write_text(json.dumps(config))
    program("fit", run / "held.json", "--held-out", "0.1", "--out", tmp_path / "theirs")
    with pytest.warns(UserWarning, match=r"as if sigma_y were at most 0\.[34]\d*, you gave 0.9"):
        prior = diem.fit(y, digits.operator, 0.9, gaussian=GAUSSIAN, seed=3, held_out=0.1, folder=tmp_path / "ours")
    ours, theirs = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("ours", "theirs"))
    assert ours["held_out_values"] == theirs["held_out_values"]
    assert ours["noise"] == theirs["noise"]
    assert ours["held_out_values"]["words"] in prior.report
    with pytest.raises(ValueError, match="held_out"):
        diem.fit(y, digits.operator, 0.9, gaussian=GAUSSIAN, held_out=2)
