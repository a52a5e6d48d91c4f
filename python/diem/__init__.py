# SPDX-License-Identifier: Apache-2.0
"""Diffusion priors learned from corrupted data.

>>> prior = diem.fit(y, {"type": "mask", "values": masks}, 0.01, network={"type": "mlp", ...})
>>> x = diem.posterior(prior, y, {"type": "mask", "values": masks}, 0.01, samples=8)

Arrays may be NumPy's, or anything with DLPack or the buffer protocol. Items come first: (items, features), or images
as (items, height, width, channels). Options have the names, ranges and defaults of the program `diem`
(docs/settings.md).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Literal, Sequence

from . import _core
from ._arrays import as_json, in_units, target
from ._core import __version__
from ._models import Model, Operator, Prior, check_model, problem
from ._progress import bars

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ._models import Floats, OperatorLike, Options, Path

__all__ = ["Model", "Operator", "Prior", "__version__", "fit", "load", "posterior", "sample"]


def fit(
    y: ArrayLike,
    operator: OperatorLike,
    sigma_y: float | ArrayLike | Path,
    *,
    network: Options | None = None,
    gaussian: Options | None = None,
    em: Options | None = None,
    seed: int = 0,
    image: Sequence[int] | None = None,
    scale: Literal["auto"] | None = None,
    layout: Literal["channels_last", "channels_first"] | None = None,
    mask: Literal["nan"] | None = None,
    held_out: float | None = None,
    folder: Path | None = None,
    resume: bool = False,
    save_every: float = 600,
    callback: Callable[[dict[str, Any], Floats], Any] | None = None,
    progress: bool | None = None,
    threads: int = 0,
) -> Prior:
    """Learn a prior p(x) from observations y = A x + e, e ~ N(0, sigma_y^2), alone.

    First a Gaussian is fitted, then, with `network`, a diffusion prior by expectation-maximization.

    y          (items, rows), or images; float32 in C order is read where it lies. What a mask hides may be anything.
               K-space for the operator "mri" is complex, (slices, height, width) or (slices, coils, height, width)
    operator   A: a dict or list of dicts as in docs/command_line.md, with arrays in the place of file names; the name
               of a JSON file; an `Operator`; or two callables (apply, adjoint), with the shape of x in `image`
    sigma_y    standard deviation of the noise: a number, or one for each row
    network    {"type": "mlp", "features": 64, "hidden": [256, 256], "emb": 64} or {"type": "unet", ...}; None: Gaussian
    gaussian, em, seed, image, scale, layout, mask    as in the configuration of `diem fit`, see docs/settings.md
    held_out   a share of the values of y, 0.05 say, that is kept back from learning and then predicted: how that went is
               `prior.report`, and in report.html of `folder`
    folder     the run is kept here, so that `resume` goes on with it, to the bit; report.html shows it meanwhile
    callback   called after each lap of the network as (diagnostics, samples); False ends the run
    progress   bars by tqdm; None: where tqdm is there and standard error is a terminal

    Ctrl-C ends a run after the batch or step at hand; in a folder it is saved. Raises ValueError, OSError, MemoryError
    with the library's message; warns of data that were never seen, of their scale, where they do not look like
    `sigma_y`, of what the page's verdicts find in the result, and where a lap was rejected.
    """
    given = problem(
        y, operator, sigma_y, image, network=network, gaussian=gaussian, em=em, seed=seed, image=image, scale=scale,
        layout=layout, mask=mask, held_out=held_out,
    )  # fmt: skip

    def on_lap(lap: str, x: Any, unit: float) -> bool:
        return callback is None or callback(json.loads(lap), in_units(x, unit)) is not False

    with bars(progress) as tell:
        return Prior(_core.fit(given, folder, resume, save_every, tell, on_lap, threads))


def load(path: Path, *, threads: int = 0) -> Prior:
    """Read a prior, of `Prior.save` or of the program diem. `threads`: of its calls; 0: as many as there are cores."""
    return Prior(_core.load(path, threads))


def sample(
    prior: Prior | Model,
    n: int,
    *,
    seed: int = 0,
    sampler: Options | None = None,
    out: Floats | None = None,
    progress: bool | None = None,
) -> Floats:
    """n samples x ~ p(x), (n, *prior.shape). `sampler`: as "em.sampler" in docs/settings.md; `out`: for the result."""
    check_model(prior, "diem.sample")
    if not 0 < n < 2**32:
        raise ValueError(f"diem.sample: n is {n}, expected 1 to {2**32 - 1}")
    config = as_json({} if sampler is None else {"sampler": sampler}, "")
    x = target(out, (n, *prior.shape))
    with bars(progress) as tell:
        prior._core.sample(config, seed, tell, x)
    return x


def posterior(
    prior: Prior | Model,
    y: ArrayLike,
    operator: OperatorLike,
    sigma_y: float | ArrayLike | Path,
    *,
    samples: int | None = None,
    seed: int = 0,
    sampler: Options | None = None,
    mmps: Options | None = None,
    switch_factor: float | None = None,
    start_at: Literal["noise", "gaussian"] | None = None,
    layout: Literal["channels_last", "channels_first"] | None = None,
    out: Floats | None = None,
    info: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> Floats:
    """Samples x ~ p(x | y): (items, *shape), or with `samples` (samples, items, *shape): x.mean(0) is the mean.

    Of complex y, complex images are complex64 (..., height, width), a view of the pairs that `out` holds.

    y, operator, sigma_y    as in `fit`
    sampler, mmps    how to draw and to solve, in place of the prior's own: as "em.sampler" and "em.posterior" in
                     docs/settings.md
    switch_factor, start_at    so too, as "em.switch_factor" and "em.start_at"
    out        where to write the samples: a float32 array of their shape
    info       a dict for what came of it: "data_residual" (near "observed_share" where samples fit the data),
               "verdict", "non_finite", "exact" (of a Gaussian, without a sampler), "solver" (shares of its statuses), "seconds"

    Warns where samples do not fit the data. Ctrl-C ends the call after the batch at hand.
    """
    check_model(prior, "diem.posterior")
    drawing = {"sampler": sampler, "posterior": mmps, "switch_factor": switch_factor, "start_at": start_at}
    given = problem(y, operator, sigma_y, prior.shape, layout=layout, **drawing)
    x: Any = None

    def make(shape: Sequence[int]) -> Floats:
        nonlocal x
        x = target(out, shape)
        return x

    with bars(progress) as tell:
        told = json.loads(prior._core.posterior(given, samples, seed, tell, make))
    if told.pop("complex"):
        x = x.view("complex64")[..., 0]
    if info is not None:
        info.update(told)
    return x
