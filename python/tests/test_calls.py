# SPDX-License-Identifier: Apache-2.0
"""Callables of the user's, threads, signals, progress."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import diem
from conftest import EM, GAUSSIAN, NETWORK

MATRIX = np.random.default_rng(2).standard_normal((12, 64)).astype(np.float32) / 8


def test_callables_are_an_operator(digits, gaussian_prior):
    """The same numbers as the matrix that they multiply by, as a dict."""
    y = digits.truth.reshape(-1, 64) @ MATRIX.T
    operator = diem.Operator(lambda x: x @ MATRIX.T, lambda v: v @ MATRIX, 64)
    info = {}
    ours = diem.posterior(gaussian_prior, y, operator, 0.1, info=info)
    theirs = diem.posterior(gaussian_prior, y, {"type": "dense", "matrix": MATRIX}, 0.1)
    # Sums of 64 products in another order; the solver's tolerance is 1e-5, of what the prior varies by.
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert info["verdict"] == "samples fit the data" and info["exact"]
    pair = diem.posterior(gaussian_prior, y, (lambda x: x.reshape(-1, 64) @ MATRIX.T, lambda v: v @ MATRIX), 0.1)
    np.testing.assert_array_equal(pair, ours)


def test_callables_that_mask_give_the_numbers_of_a_mask(digits, prior):
    """To the bit, for items that differ: both are products of the same numbers."""
    masks = digits.masks.astype(np.float32)
    operator = diem.Operator(
        lambda x, items: x * masks[items], lambda y, items: y * masks[items], (8, 8, 1), per_item=True
    )
    sampler = {"steps": 8, "batch": 40}  # parts of the items: the last begins at 80
    from_noise = {"sampler": sampler, "start_at": "noise"}
    ours = diem.posterior(prior, digits.y, operator, 0.01, **from_noise)
    np.testing.assert_array_equal(ours, diem.posterior(prior, digits.y, digits.operator, 0.01, **from_noise))
    # The Gaussian's draws, with which a prior learned here begins, are of a closed form behind a mask, else of a solve.
    ours = diem.posterior(prior, digits.y, operator, 0.01, sampler=sampler)
    masked = diem.posterior(prior, digits.y, digits.operator, 0.01, sampler=sampler)
    assert abs(ours.std() - masked.std()) < 0.05 * masked.std()


def test_fit_with_callables(digits):
    y = digits.truth.reshape(-1, 64) @ MATRIX.T
    seen = set()

    def apply(x):
        seen.add(x.shape[1:])
        return x.reshape(-1, 64) @ MATRIX.T

    prior = diem.fit(y, diem.Operator(apply, lambda v: v @ MATRIX, (8, 8, 1)), 0.1, gaussian=GAUSSIAN)
    assert prior.shape == (8, 8, 1) and seen == {(8, 8, 1)}
    with pytest.raises(ValueError, match="adjoint"):
        diem.fit(y, diem.Operator(apply, lambda v: 2 * (v @ MATRIX), (8, 8, 1)), 0.1, gaussian=GAUSSIAN)


def test_errors_of_callables(digits, prior):
    y = digits.truth[:4].reshape(-1, 64)

    def broken(x):
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="of the user's own"):
        diem.posterior(prior, y, diem.Operator(broken, lambda v: v, 64), 0.1)
    with pytest.raises(ValueError, match="operator: apply: the result: values of an item is 63, expected 64"):
        diem.posterior(prior, y, diem.Operator(lambda x: x[:, :63], lambda v: v, 64), 0.1)
    with pytest.raises(ValueError, match=r"operator: adjoint: the result: items is 1, expected \d+"):
        diem.posterior(prior, y, diem.Operator(lambda x: x, lambda v: v[:1], 64), 0.1)
    with pytest.raises(ValueError, match="give diem.Operator"):
        diem.fit(y, (lambda x: x, lambda v: v), 0.1)
    model = diem.Model(lambda x, s: None, lambda x, s, v: v, 64)
    with pytest.raises(TypeError, match="denoise: the result: dtype\\('O'\\)"):
        diem.sample(model, 2)


def test_own_network_is_the_prior_that_it_calls(digits, prior):
    """A model whose functions are those of a prior draws its samples, to the bit."""
    model = diem.Model(lambda x, sigma: prior.denoise(x, sigma), lambda x, sigma, v: prior.vjp(x, sigma, v), (8, 8, 1))
    mmps = {"covariance": "tweedie", "solver": "gmres", "max_iterations": 2}
    sampler = {**prior.drawing["sampler"], "steps": 8}
    # A model of one's own starts at zero; a prior at its mean, with the covariance of its estimate, which much noise hides.
    shift, noisy = prior.mean, {**sampler, "sigma_max": 3000.0}
    moved = diem.Model(
        lambda x, sigma: prior.denoise(x + shift, sigma) - shift,
        lambda x, sigma, v: prior.vjp(x + shift, sigma, v),
        (8, 8, 1),
    )
    ours = diem.sample(moved, 6, seed=4, sampler=noisy) + shift
    np.testing.assert_allclose(ours, diem.sample(prior, 6, seed=4, sampler=noisy), atol=1e-3)
    info = {}
    x = diem.posterior(model, digits.y, digits.operator, 0.01, mmps=mmps, sampler=sampler, samples=2, info=info)
    assert x.shape == (2, *digits.y.shape) and info["verdict"] == "samples fit the data"
    assert sum(info["solver"].values()) == pytest.approx(1)


def test_own_gaussian_network_has_its_closed_form():
    """x ~ N(1, 0.25), y = x + e, e ~ N(0, 0.25): x | y ~ N((1 + y) / 2, 1/8)."""

    def gain(sigma):
        return sigma**2 / (0.25 + sigma**2)

    model = diem.Model(lambda x, s: x + gain(s) * (1 - x), lambda x, s, v: (1 - gain(s)) * v, 16)
    y = np.full((4096, 16), 2.0, np.float32)
    x = diem.posterior(model, y, {"type": "identity"}, 0.5, sampler={"steps": 128, "sigma_max": 20.0, "batch": 4096})
    # 65536 values: five standard errors, and the sampler's own error of first order in its 128 steps.
    assert abs(x.mean() - 1.5) < 5 * np.sqrt(1 / 8 / x.size) + 0.01
    assert abs(x.var() - 1 / 8) < 5 / 8 * np.sqrt(2 / x.size) + 0.015


def test_torch_network(digits):
    torch = pytest.importorskip("torch", reason="torch is missing: ITS NETWORKS ARE NOT TESTED")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.SiLU(), torch.nn.Linear(32, 64))

    def f(x, sigma):
        return x / (1 + sigma**2) + sigma / (1 + sigma**2) * net(x / (1 + sigma**2) ** 0.5)

    def denoise(x, sigma):
        with torch.no_grad():
            return f(torch.tensor(x), sigma)

    def vjp(x, sigma, v):
        return torch.autograd.functional.vjp(lambda x: f(x, sigma), torch.tensor(x), torch.tensor(v))[1]

    model = diem.Model(denoise, vjp, 64)
    y = digits.y[:8].reshape(8, 64)
    operator = {"type": "mask", "values": digits.masks[:8].reshape(8, 64)}
    info = {}
    x = diem.posterior(model, y, operator, 0.1, sampler={"steps": 16}, info=info)
    assert x.shape == (8, 64) and info["non_finite"] == 0


def test_python_runs_beside_a_long_call(digits, prior):
    """The GIL is free: another thread counts while samples are drawn."""
    count = 0
    stop = threading.Event()

    def work():
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(1e-4)

    thread = threading.Thread(target=work)
    thread.start()
    while count == 0:
        time.sleep(1e-3)
    before = count
    diem.posterior(prior, digits.y, digits.operator, 0.01, samples=4, sampler={"steps": 256})
    after = count
    stop.set()
    thread.join()
    assert after - before > 3


def test_threads_share_a_prior(digits, prior):
    """Calls wait for one another."""
    expected = prior.denoise(digits.truth, 1.0)
    results = [None] * 8

    def work(k):
        results[k] = prior.denoise(digits.truth, 1.0)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        np.testing.assert_array_equal(r, expected)


def test_ctrl_c(tmp_path):
    """SIGINT ends a run as KeyboardInterrupt, and it is saved: resumed, it is an undisturbed one."""
    script = textwrap.dedent(f"""
        import signal, sys
        sys.path.insert(0, {str(os.path.dirname(__file__))!r})
        import numpy as np, diem
        from conftest import Digits, NETWORK, GAUSSIAN
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins with it ignored
        digits = Digits()
        def started(lap, x):
            print("lap", lap["lap"], flush=True)
        em = {{"laps": 100000, "out_of_range": "clip", "sampler": {{"steps": 8}}, "training": {{"steps": 20, "batch": 32}}}}
        how = dict(network=NETWORK, gaussian=GAUSSIAN, em=em, folder={str(tmp_path / "run")!r}, callback=started)
        try:
            diem.fit(digits.y, digits.operator, 0.01, **how)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline().startswith("lap")
    run.send_signal(signal.SIGINT)
    rest, _ = run.communicate(timeout=60)
    assert rest.splitlines()[-1] == "interrupted" and run.returncode == 0
    assert (tmp_path / "run/checkpoint/run.safetensors").exists()
    assert len(diem.load(tmp_path / "run/checkpoint/run.safetensors").history) >= 1


@pytest.mark.parametrize("call", ["posterior", "sample"])
def test_signals_stop_draws(digits, prior, call):
    """What a signal's handler raises is raised by the call, after the batch at hand."""

    class Alarm(Exception):
        pass

    def handler(number, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            sampler = {"steps": 64, "batch": 16}
            if call == "sample":
                diem.sample(prior, 10**6, sampler=sampler)
            else:
                diem.posterior(prior, digits.y, digits.operator, 0.01, samples=10**4, sampler=sampler)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_callback_and_its_errors(digits):
    told = []

    def callback(lap, samples):
        told.append((lap, samples))

    prior = diem.fit(
        digits.y, digits.operator, 0.01, network=NETWORK, gaussian=GAUSSIAN, em={**EM, "laps": 2}, callback=callback
    )
    assert [lap["lap"] for lap, _ in told] == [lap["lap"] for lap in prior.history]
    assert told[0][0] == prior.history[0]
    assert told[1][1].shape == digits.y.shape and np.isfinite(told[1][1]).all()

    def broken(lap, samples):
        raise LookupError("of the user's own")

    with pytest.raises(LookupError, match="of the user's own"):
        diem.fit(digits.y, digits.operator, 0.01, network=NETWORK, gaussian=GAUSSIAN, em=EM, callback=broken)


def test_progress(digits, prior, capsys):
    pytest.importorskip("tqdm", reason="tqdm is missing: BARS ARE NOT TESTED")
    diem.posterior(prior, digits.y, digits.operator, 0.01, progress=True)
    diem.fit(digits.y, digits.operator, 0.01, network=NETWORK, gaussian=GAUSSIAN, em=EM, progress=True)
    text = capsys.readouterr().err
    for words in ["posterior samples: 100%", "96/96", "gaussian: 100%", "sampling: 100%", "training: 100%"]:
        assert words in text


def test_priors_say_what_they_are(prior, gaussian_prior, tmp_path):
    assert prior.network["type"] == "mlp" and gaussian_prior.network is None
    assert (prior.status, len(prior.history), gaussian_prior.history) == ("completed", 1, [])
    assert "data_residual" in prior.history[0] and "completed" in prior.report
    assert prior.drawing["sampler"]["name"] == "dpm_solver_2m_sde"
    assert repr(prior) == "<diem.Prior: network, 64 features, completed>"
    gaussian_prior.save(tmp_path / "g.safetensors")
    again = diem.load(tmp_path / "g.safetensors", threads=1)
    again.notes = {**again.notes, "mine": [1, 2.5, "x"]}
    again.save(tmp_path / "g.safetensors")
    assert diem.load(tmp_path / "g.safetensors").notes["mine"] == [1, 2.5, "x"]
    np.testing.assert_array_equal(diem.sample(again, 3), diem.sample(gaussian_prior, 3))


def test_types_are_known():
    import pathlib

    folder = pathlib.Path(diem.__file__).parent
    assert (folder / "py.typed").exists()
    stub = (folder / "_core.pyi").read_text()
    for name in ["class Prior", "def denoise", "def vjp", "class Model"]:
        assert name in stub
    for f in [
        diem.fit,
        diem.load,
        diem.sample,
        diem.posterior,
        diem.Prior,
        diem.Prior.denoise,
        diem.Model,
        diem.Operator,
    ]:
        assert f.__doc__


def test_processors_with_fewer_instructions():
    """A message in the place of SIGILL, where the package was built for a newer processor."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("no qemu-x86_64 (Debian: qemu-user): the module was not tried on lesser processors")
    done = subprocess.run(
        [qemu, "-cpu", "Nehalem", sys.executable, "-c", "import diem._core"], capture_output=True, text=True
    )
    if done.returncode == 0:
        pytest.skip("this module was built for any processor")
    assert done.returncode == 1 and "diem was built for processors with AVX" in done.stderr, done.stderr
