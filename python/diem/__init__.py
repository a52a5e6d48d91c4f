# SPDX-License-Identifier: Apache-2.0
"""Diffusion priors learned from corrupted data.

>>> prior = diem.fit(y, {"type": "mask", "values": masks}, 0.01, network={"type": "mlp", ...})
>>> x = diem.posterior(prior, y, {"type": "mask", "values": masks}, 0.01, samples=8)

Arrays may be NumPy's, or anything with DLPack or the buffer protocol. Items come first: (items, features), or images
as (items, height, width, channels). Options have the names, ranges and defaults of the program `diem`
(docs/settings.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Literal, Mapping, Sequence, Union

from ._core import Model, Prior, __version__
from . import _core
from ._progress import bars

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Path = Union[str, os.PathLike[str]]
    Options = Mapping[str, Any]
    OperatorLike = Union[
        "Operator", Options, Sequence[Options], Path, tuple[Callable[..., ArrayLike], Callable[..., ArrayLike]]
    ]
    Floats = NDArray[np.float32]

__all__ = ["Model", "Operator", "Prior", "__version__", "fit", "load", "posterior", "sample"]


class Operator:
    """A linear operator A of your own, by two callables.

    `apply(x)` returns A x of each item, (items, *y.shape[1:]); `adjoint(y)` returns A'y, (items, *shape). Their
    arguments are read-only views, good until the callable returns; their results may be any array of real numbers.
    With `per_item` the map differs from item to item, and both are given the slice of the items as a second argument.
    """

    def __init__(
        self,
        apply: Callable[..., ArrayLike],
        adjoint: Callable[..., ArrayLike],
        shape: int | Sequence[int],
        *,
        per_item: bool = False,
    ) -> None:
        self.apply = apply
        self.adjoint = adjoint
        self.shape = [shape] if isinstance(shape, int) else [int(n) for n in shape]  #: of an item of x
        self.per_item = per_item


def _options(
    operator: OperatorLike, sigma_y: float | ArrayLike | Path, shape: Sequence[int] | None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """The operator where it is callables, and the configuration."""
    config = {key: value for key, value in options.items() if value is not None}
    config["sigma_y"] = sigma_y
    if isinstance(operator, tuple) and len(operator) == 2 and all(callable(f) for f in operator):
        if shape is None:
            raise ValueError(
                "operator: two callables do not say the shape of x; give diem.Operator(apply, adjoint, shape)"
            )
        operator = Operator(*operator, shape)
    if isinstance(operator, Operator):
        config["operator"] = {"type": "identity"}  # not looked at
        if len(operator.shape) == 3 and "image" not in config and operator.shape[2] <= 4:
            config["image"] = operator.shape
        return operator, config
    config["operator"] = operator
    return None, config


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
    folder: Path | None = None,
    resume: bool = False,
    save_every: float = 600,
    callback: Callable[[dict[str, Any], Floats], Any] | None = None,
    progress: bool | None = None,
    threads: int = 0,
) -> Prior:
    """Learn a prior p(x) from observations y = A x + e, e ~ N(0, sigma_y^2), alone.

    First a Gaussian is fitted, then, with `network`, a diffusion prior by expectation-maximization.

    y          (items, rows), or images; float32 in C order is read where it lies. What a mask hides may be anything
    operator   A: a dict or list of dicts as in docs/command_line.md, with arrays in the place of file names; the name
               of a JSON file; an `Operator`; or two callables (apply, adjoint), with the shape of x in `image`
    sigma_y    standard deviation of the noise: a number, or one for each row
    network    {"type": "mlp", "features": 64, "hidden": [256, 256], "emb": 64} or {"type": "unet", ...}; None: Gaussian
    gaussian, em, seed, image, scale, layout, mask    as in the configuration of `diem fit`, see docs/settings.md
    folder     the run is kept here, so that `resume` goes on with it, to the bit
    callback   called after each lap of the network as (diagnostics, samples); False ends the run
    progress   bars by tqdm; None: where tqdm is there and standard error is a terminal

    Ctrl-C ends a run after the batch or step at hand; in a folder it is saved. Raises ValueError, OSError, MemoryError
    with the library's message; warns of data that were never seen, of their scale, and where a lap was rejected.
    """
    own, config = _options(
        operator,
        sigma_y,
        image,
        network=network,
        gaussian=gaussian,
        em=em,
        seed=seed,
        image=image,
        scale=scale,
        layout=layout,
        mask=mask,
        observations="y",
    )
    with bars(progress) as tell:
        return _core.fit(y, own, config, folder, resume, save_every, tell, callback, threads)


def load(path: Path, *, threads: int = 0) -> Prior:
    """Read a prior, of `Prior.save` or of the program diem. `threads`: of its calls; 0: as many as there are cores."""
    return _core.load(path, threads)


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
    with bars(progress) as tell:
        return _core.sample(prior, n, {} if sampler is None else {"sampler": sampler}, seed, tell, out)


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
    layout: Literal["channels_last", "channels_first"] | None = None,
    out: Floats | None = None,
    info: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> Floats:
    """Samples x ~ p(x | y): (items, *shape), or with `samples` (samples, items, *shape): x.mean(0) is the mean.

    y, operator, sigma_y    as in `fit`
    sampler, mmps    how to draw and to solve, in place of the prior's own: as "em.sampler" and "em.posterior" in
                     docs/settings.md
    out        where to write the samples: a float32 array of their shape
    info       a dict for what came of it: "data_residual" (near "observed_share" where samples fit the data),
               "verdict", "non_finite", "exact" (drawn by a closed form), "solver" (shares of its statuses), "seconds"

    Warns where samples do not fit the data. Ctrl-C ends the call after the batch at hand.
    """
    own, config = _options(
        operator, sigma_y, prior.shape, sampler=sampler, posterior=mmps, switch_factor=switch_factor, layout=layout
    )
    config.pop("image", None)
    with bars(progress) as tell:
        x, told = _core.posterior(prior, y, own, config, samples, seed, tell, out)
    if info is not None:
        info.update(told)
    return x
