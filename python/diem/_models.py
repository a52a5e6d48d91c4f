# SPDX-License-Identifier: Apache-2.0
"""Priors, networks and operators of a user's own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, Union

from . import _core
from ._arrays import as_json, floats, noise_level, numbers, plain, result_of, target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Path = Union[str, os.PathLike[str]]
    Options = Mapping[str, Any]
    OperatorLike = Union[
        "Operator", Options, Sequence[Options], Path, tuple[Callable[..., ArrayLike], Callable[..., ArrayLike]]
    ]


def _shape_of(shape: int | Sequence[int]) -> list[int]:
    return [shape] if isinstance(shape, int) else [int(n) for n in shape]


class Prior:
    """A prior p(x) learned from observations: made by `fit`, read by `load`.

    Images are (items, height, width, channels), other data (items, features), float32; complex images have two
    channels, (re, im). Arrays are read where they lie if they are float32 in C order.
    """

    def __init__(self, core: _core.Prior) -> None:
        self._core = core

    def save(self, path: Path) -> None:
        """Write the prior to a safetensors file, whole or not at all; `diem.load` and the program diem read it."""
        self._core.save(path)

    def denoise(self, x: ArrayLike, sigma: float | ArrayLike, out: Floats | None = None) -> Floats:
        """E[x | x_t] of items x_t = x + sigma z. `sigma`: a number, or one for each item. `out`: where to write it."""
        x = floats(x, "x")
        out = target(out, x.shape)
        self._core.denoise(x, noise_level(sigma), out)
        return out

    def vjp(self, x: ArrayLike, sigma: float | ArrayLike, v: ArrayLike, out: Floats | None = None) -> Floats:
        """J'v of each item, J the derivative of `denoise` with respect to x."""
        x = floats(x, "x")
        out = target(out, x.shape)
        self._core.vjp(x, noise_level(sigma), floats(v, "v"), out)
        return out

    def _fact(self, name: str) -> Any:
        return json.loads(self._core.facts())[name]

    @property
    def features(self) -> int:
        """Values of an item."""
        return self._fact("features")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item: (height, width, channels) of images, else (features,)."""
        return tuple(self._fact("shape"))

    @property
    def mean(self) -> Floats:
        """Where samplers start."""
        out = target(None, self.shape)
        self._core.mean(out)
        return out

    @property
    def network(self) -> dict[str, Any] | None:
        """How the network is built; None where the prior is Gaussian."""
        return self._fact("network")

    @property
    def drawing(self) -> dict[str, Any]:
        """How `sample` and `posterior` draw from it unless they are told otherwise."""
        return self._fact("drawing")

    @property
    def history(self) -> list[dict[str, Any]]:
        """What each lap of the network told: its data residual, loss, change, solves, seconds."""
        return self._fact("history")

    @property
    def notes(self) -> dict[str, Any]:
        """Your own, kept in files. "image" is the shape of images, "scale" the unit of the data."""
        return self._fact("notes")

    @notes.setter
    def notes(self, notes: Options) -> None:
        self._core.set_notes(as_json(notes, "notes"))

    @property
    def status(self) -> str:
        """completed, cancelled (go on by resume=True), or rejected: a lap went wrong, and this is the one before it."""
        return self._fact("status")

    @property
    def report(self) -> str:
        """What came of learning, in words."""
        return self._fact("report")

    def __repr__(self) -> str:
        kind = "Gaussian" if self.network is None else "network"
        return f"<diem.Prior: {kind}, {self.features} features, {self.status}>"


class Model:
    """A network of your own, by two callables, for `sample` and `posterior`.

    `denoise(x, sigma)` returns E[x | x_t]; `vjp(x, sigma, v)` returns J'v. x and v are read-only views,
    (items, *shape), good until the callable returns; sigma is a number. They may return any array of numbers.
    """

    def __init__(
        self,
        denoise: Callable[[Floats, float], ArrayLike],
        vjp: Callable[[Floats, float, Floats], ArrayLike],
        shape: int | Sequence[int],
        *,
        threads: int = 0,
    ) -> None:
        self._shape = _shape_of(shape)
        self._core = _core.Model(result_of(denoise, "denoise"), result_of(vjp, "vjp"), self._shape, threads)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item."""
        return tuple(self._shape)


class Operator:
    """A linear operator A of your own, by two callables.

    `apply(x)` returns A x of each item, (items, *y.shape[1:]); `adjoint(y)` returns A'y, (items, *shape). Their
    arguments are read-only views, good until the callable returns; complex numbers are a last axis (re, im) there.
    Their results may be any array of numbers, complex ones too. With `per_item` the map differs from item to item,
    and both are given the slice of the items as a second argument.
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
        self.shape = _shape_of(shape)  #: of an item of x
        self.per_item = per_item

    def _functions(self) -> tuple[Callable[..., Floats], Callable[..., Floats], list[int], bool]:
        def of_items(function: Callable[..., ArrayLike], name: str) -> Callable[..., Floats]:
            return result_of(function if self.per_item else lambda x, items: function(x), name)

        apply, adjoint = of_items(self.apply, "operator: apply"), of_items(self.adjoint, "operator: adjoint")
        return apply, adjoint, self.shape, self.per_item


def check_model(prior: Any, name: str) -> None:
    """Raises TypeError where it is neither a prior nor a model."""
    if not isinstance(prior, (Prior, Model)):
        raise TypeError(f"{name}: expected a diem.Prior or a diem.Model")


def problem(
    y: ArrayLike, operator: OperatorLike, sigma_y: Any, shape: Sequence[int] | None, **options: Any
) -> _core.Problem:
    """y = A x + e, and options; `shape`: of x, for an operator that does not know it."""
    config = {key: value for key, value in options.items() if value is not None}
    functions = None
    if isinstance(operator, tuple) and len(operator) == 2 and all(callable(f) for f in operator):
        if shape is None:
            raise ValueError(
                "operator: two callables do not say the shape of x; give diem.Operator(apply, adjoint, shape)"
            )
        apply, adjoint = operator
        operator = Operator(apply, adjoint, shape)
    if isinstance(operator, Operator):
        functions = operator._functions()
        if len(operator.shape) == 3 and operator.shape[2] <= 4:
            config.setdefault("image", operator.shape)
        operator = {"type": "identity"}  # not looked at
    arrays: dict[str, tuple[Floats, bool]] = {}
    config = plain({**config, "observations": "y", "operator": operator, "sigma_y": sigma_y}, "", arrays)
    arrays["y"] = numbers(y, "y")
    return _core.Problem(json.dumps(config), arrays, functions)
