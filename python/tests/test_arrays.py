# SPDX-License-Identifier: Apache-2.0
"""What goes in and comes out: shapes, memory, other libraries' arrays, errors."""

import numpy as np
import pytest

import diem


def test_shapes(prior, digits):
    assert prior.shape == (8, 8, 1) and prior.features == 64
    assert prior.mean.shape == (8, 8, 1)
    assert diem.sample(prior, 3).shape == (3, 8, 8, 1)
    y, operator = digits.y[:5], {"type": "mask", "values": digits.masks[:5]}
    one = diem.posterior(prior, y, operator, 0.01)
    assert one.shape == (5, 8, 8, 1) and one.dtype == np.float32
    several = diem.posterior(prior, y, operator, 0.01, samples=2)
    assert several.shape == (2, 5, 8, 8, 1)
    np.testing.assert_array_equal(several[0], one)
    for shape in [(5, 8, 8, 1), (5, 64)]:
        assert prior.denoise(one.reshape(shape), 0.5).shape == shape
        assert prior.vjp(one.reshape(shape), 0.5, one.reshape(shape)).shape == shape


def test_results_are_written_where_they_shall_be(prior, digits):
    """`out` is the result's memory, and a result's memory is NumPy's own: nothing is copied."""
    x = np.ascontiguousarray(digits.truth[:4])
    for call in [
        lambda out: prior.denoise(x, 0.5, out=out),
        lambda out: prior.vjp(x, 0.5, x, out=out),
        lambda out: diem.sample(prior, 4, out=out),
        lambda out: diem.posterior(prior, digits.y[:4], {"type": "mask", "values": digits.masks[:4]}, 0.01, out=out),
    ]:
        out = np.zeros((4, 8, 8, 1), np.float32)
        result = call(out)
        assert result.__array_interface__["data"][0] == out.__array_interface__["data"][0]
        assert np.any(out != 0)
        np.testing.assert_array_equal(out, call(None))


def test_inputs_are_read_where_they_lie(prior, digits):
    """Observations that change under a call's hands change its result; a copy of other numbers does not."""
    first, second = digits.truth[:3].reshape(3, 64), digits.truth[3:6].reshape(3, 64)
    plain = diem.Operator(lambda x: x, lambda v: v, 64)
    of = {k: diem.posterior(prior, values, plain, 0.1) for k, values in enumerate([first, second])}
    assert np.any(of[0] != of[1])
    for dtype, expected in [(np.float32, 1), (np.float64, 0)]:
        y = first.astype(dtype)

        def apply(x):
            y[...] = second
            return x

        np.testing.assert_array_equal(
            diem.posterior(prior, y, diem.Operator(apply, lambda v: v, 64), 0.1), of[expected]
        )


def test_callables_see_views_of_results(digits):
    """Samples are made in the memory of `out`, which a network is shown."""
    out = np.zeros((5, 8), np.float32)
    start, seen = out.__array_interface__["data"][0], []

    def denoise(x, sigma):
        assert x.shape == (5, 8) and x.dtype == np.float32 and not x.flags.writeable and not x.flags.owndata
        seen.append(x.__array_interface__["data"][0] - start)
        return 0 * x

    diem.sample(diem.Model(denoise, lambda x, sigma, v: 0 * v, 8), 5, sampler={"name": "ddim", "steps": 4}, out=out)
    assert len(seen) >= 4 and 0 in seen


def test_read_only_inputs(prior, digits):
    x = np.ascontiguousarray(digits.truth[:3])
    x.flags.writeable = False
    np.testing.assert_array_equal(prior.denoise(x, 1.0), prior.denoise(x.copy(), 1.0))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8])
def test_other_numbers_are_converted(prior, digits, dtype):
    x = digits.truth[:2].astype(dtype)
    np.testing.assert_array_equal(prior.denoise(x, 1.0), prior.denoise(x.astype(np.float32), 1.0))


def test_other_layouts_are_converted(prior, digits):
    x = digits.truth[:6]
    np.testing.assert_array_equal(prior.denoise(x[::2], 1.0), prior.denoise(x[::2].copy(), 1.0))
    np.testing.assert_array_equal(prior.denoise(np.asfortranarray(x), 1.0), prior.denoise(x, 1.0))


def test_sigma_for_each_item(prior, digits):
    x = digits.truth[:3]
    sigma = np.array([0.1, 1.0, 3.0], np.float32)
    together = prior.denoise(x, sigma)
    for i in range(3):
        np.testing.assert_allclose(together[i], prior.denoise(x[i : i + 1], float(sigma[i]))[0], atol=1e-5)
    with pytest.raises(ValueError, match="sigma: number of values is 2, expected 3"):
        prior.denoise(x, sigma[:2])
    with pytest.raises(ValueError, match="sigma: expected finite numbers, at least 0"):
        prior.denoise(x, -1.0)


def test_hidden_values_are_never_read(prior, digits):
    spoilt = np.where(digits.masks, digits.y, np.nan).astype(np.float32)
    before = spoilt.copy()
    expected = diem.posterior(prior, digits.y, digits.operator, 0.01)
    np.testing.assert_array_equal(diem.posterior(prior, spoilt, digits.operator, 0.01), expected)
    np.testing.assert_array_equal(diem.posterior(prior, spoilt, {"type": "identity", "mask": "nan"}, 0.01), expected)
    np.testing.assert_array_equal(spoilt, before)


def test_vjp_is_the_derivative(prior, digits):
    """v' (f(x + h u) - f(x - h u)) / 2h = u' J'v; the bound is that of differences in float32."""
    rng = np.random.default_rng(1)
    x, u, v = (rng.standard_normal((4, 64)).astype(np.float32) for _ in range(3))
    h = 1e-2
    numeric = ((prior.denoise(x + h * u, 1.0) - prior.denoise(x - h * u, 1.0)) / (2 * h) * v).sum(1)
    exact = (prior.vjp(x, 1.0, v) * u).sum(1)
    # Each difference has an error of about eps |f| sqrt(64) / h, and a remainder of h^2 times the third derivative.
    np.testing.assert_allclose(exact, numeric, atol=2e-2)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_arrays_of_other_libraries(prior, digits, library):
    x = digits.truth[:3]
    if library == "torch":
        torch = pytest.importorskip("torch", reason="torch is missing: ITS TENSORS ARE NOT TESTED")
        given, y, masks = torch.from_numpy(x.copy()), torch.from_numpy(digits.y), torch.from_numpy(digits.masks)
    else:
        jnp = pytest.importorskip("jax.numpy", reason="jax is missing: ITS ARRAYS ARE NOT TESTED")
        given, y, masks = jnp.asarray(x), jnp.asarray(digits.y), jnp.asarray(digits.masks)
    np.testing.assert_array_equal(prior.denoise(given, 1.0), prior.denoise(x, 1.0))
    expected = diem.posterior(prior, digits.y, digits.operator, 0.01)
    np.testing.assert_array_equal(diem.posterior(prior, y, {"type": "mask", "values": masks}, 0.01), expected)
    if library == "torch":  # and results go there without a copy; out may be a tensor
        assert torch.from_numpy(expected).data_ptr() == expected.__array_interface__["data"][0]
        out = torch.zeros_like(given)
        prior.denoise(given, 1.0, out=out)
        np.testing.assert_array_equal(out.numpy(), prior.denoise(x, 1.0))


class OnlyDlpack:
    """An array with DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_and_buffers(prior, digits):
    x = digits.truth[:3].copy()
    expected = prior.denoise(x, 1.0)
    np.testing.assert_array_equal(prior.denoise(OnlyDlpack(x), 1.0), expected)
    np.testing.assert_array_equal(prior.denoise(memoryview(x), 1.0), expected)


def test_errors(prior, digits, tmp_path):
    x = digits.truth[:2]
    with pytest.raises(ValueError, match="x: values of an item is 32, expected 64"):
        prior.denoise(x.reshape(4, 32), 1.0)
    with pytest.raises(TypeError, match="dtype\\('complex64'\\), expected real numbers"):
        prior.denoise(x.astype(np.complex64), 1.0)
    with pytest.raises(TypeError, match="x: dtype"):
        prior.denoise("digits", 1.0)
    with pytest.raises(ValueError, match=r"out: shape \[2, 64\], expected \[2, 8, 8, 1\]"):
        prior.denoise(x, 1.0, out=np.zeros((2, 64), np.float32))
    read_only = np.zeros(x.shape, np.float32)
    read_only.flags.writeable = False
    for out in [np.zeros(x.shape), np.zeros((4, 8, 8, 1), np.float32)[::2], read_only]:
        with pytest.raises(TypeError, match="out: expected a writable array of float32 in C order"):
            prior.denoise(x, 1.0, out=out)
    with pytest.raises(ValueError, match="out: is x itself"):
        prior.denoise(x, 1.0, out=x)
    with pytest.raises(ValueError, match="v: items is 1, expected 2"):
        prior.vjp(x, 1.0, x[:1])
    with pytest.raises(OSError, match="missing.safetensors"):
        diem.load(tmp_path / "missing.safetensors")
    with pytest.raises(OSError, match="no_such_folder"):
        prior.save(tmp_path / "no_such_folder" / "prior.safetensors")
    with pytest.raises(TypeError, match="expected a diem.Prior or a diem.Model"):
        diem.sample("prior", 3)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(sigma_y=-1.0), 'diem.fit: "sigma_y": is -1.0, expected a number from 1e-15 to 1e15'),
        (dict(gaussian={"laps": -1}), 'diem.fit: "gaussian.laps": is -1, expected at least 0'),
        (dict(gaussian={"lap": 1}), 'diem.fit: "gaussian.lap": unknown key; known here: rank'),
        (dict(network={"type": "cnn"}), 'diem.fit: "network": model: network: key "type" is "cnn"'),
        (
            dict(network={"type": "mlp", "features": 63, "hidden": [8], "emb": 8}),
            "is for 63 features, the operator takes 64",
        ),
        (dict(em={"laps": 1}), 'diem.fit: "em": there is no "network" to train'),
        (dict(operator={"type": "blurr"}), '"type": is "blurr", expected one of identity, mask'),
        (
            dict(operator={"type": "mask", "values": np.ones((2, 3))}),
            "operator.values: masks of shape [2, 3] with 1 channels do not fit y",
        ),
        (
            dict(operator={"type": "mask", "values": np.full(64, 2.0)}),
            "operator.values: a mask holds 0 and 1, value 0 is 2",
        ),
        (dict(operator={"type": "mask", "values": np.zeros(64)}), "y: the mask hides every value: nothing was seen"),
        (dict(sigma_y=np.ones(3)), "3 values of sigma_y, the observations have 64 rows"),
    ],
)
def test_errors_are_those_of_the_program(digits, change, message):
    arguments = dict(operator=digits.operator, sigma_y=0.01)
    arguments.update(change)
    with pytest.raises(ValueError) as error:
        diem.fit(digits.y, **arguments)
    assert message in str(error.value)


def test_more_errors(digits, prior):
    with pytest.raises(OSError, match="y: value 3 of item 1 is not finite"):
        y = digits.truth.copy().reshape(-1, 64)
        y[1, 3] = np.inf
        diem.fit(y, {"type": "identity"}, 0.1)
    with pytest.raises(OSError, match="no.npy"):
        diem.fit(digits.y, {"type": "mask", "values": "no.npy"}, 0.1)
    with pytest.raises(TypeError, match="gaussian.rank: is <object"):
        diem.fit(digits.y, digits.operator, 0.1, gaussian={"rank": object()})
    with pytest.raises(ValueError, match='diem.sample: "sampler.steps": is 0, expected at least 1'):
        diem.sample(prior, 2, sampler={"steps": 0})
    with pytest.raises(ValueError, match="expected one of"):
        diem.posterior(prior, digits.y, digits.operator, 0.01, mmps={"solver": "lu"})
    with pytest.raises(ValueError, match="operator: values that it takes is 16, expected 64"):
        diem.posterior(prior, digits.y[:, :4, :4], {"type": "identity"}, 0.01)


def test_warnings(digits, prior):
    with pytest.warns(UserWarning, match="of the pixels of x were never seen"):
        masks = digits.masks.copy()
        masks[:, 0, 0] = False
        diem.fit(digits.y, {"type": "mask", "values": masks}, 0.01, gaussian={"laps": 1, "rank": 2})
    with pytest.warns(UserWarning, match='spread is about .* give "scale": "auto"'):
        diem.fit(40 * digits.y, digits.operator, 0.4, gaussian={"laps": 1, "rank": 2})
    poor = {"sampler": {"steps": 2}, "mmps": {"converge_gaussian": False}, "start_at": "noise"}
    with pytest.warns(UserWarning, match="samples do not fit the data"):
        diem.posterior(prior, digits.y + 50, {"type": "identity"}, 1e-3, **poor)
