# SPDX-License-Identifier: Apache-2.0
"""What users give, as the extension takes it: arrays as float32 in C order, options as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]


def numbers(value: Any, name: str, kinds: str = "fiubc") -> tuple[Floats, bool]:
    """Real numbers, as they lie where they are float32 in C order; complex ones, True, as a last axis (re, im).

    `value` has the buffer protocol or DLPack, or is what NumPy makes an array of. Raises TypeError, naming `name`.
    """
    only_dlpack = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
    array = np.from_dlpack(value) if only_dlpack else np.asarray(value)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name}: {array.dtype!r}, expected {'numbers' if 'c' in kinds else 'real numbers'}")
    if array.dtype.kind != "c":
        return np.ascontiguousarray(array, np.float32), False
    array = np.ascontiguousarray(array, np.complex64)
    return array.view(np.float32).reshape(*array.shape, 2), True


def floats(value: Any, name: str) -> Floats:
    """Real numbers alone."""
    return numbers(value, name, "fiub")[0]


def noise_level(sigma: Any) -> float | Floats:
    """One number, or one for each item."""
    level = float(sigma) if np.ndim(sigma) == 0 else floats(sigma, "sigma")
    if not np.all(np.isfinite(level)) or np.any(np.less(level, 0)):
        raise ValueError("sigma: expected finite numbers, at least 0")
    return level


def target(out: Any, shape: Sequence[int]) -> Floats:
    """A new array, or `out`, which must be one of this shape, writable, in C order, of float32."""
    if out is None:
        return np.empty(shape, np.float32)
    array = np.asarray(out)
    copied = array is not out and array.flags.owndata
    if copied or array.dtype != np.float32 or not array.flags.c_contiguous or not array.flags.writeable:
        raise TypeError("out: expected a writable array of float32 in C order")
    if array.shape != tuple(shape):
        raise ValueError(f"out: shape {list(array.shape)}, expected {list(shape)}")
    return array


def in_units(x: Floats, scale: float) -> Floats:
    """A copy, times `scale`."""
    return x.copy() if scale == 1 else np.multiply(x, scale, dtype=np.float64).astype(np.float32)


def result_of(function: Callable[..., ArrayLike], name: str) -> Callable[..., Floats]:
    """A callable whose results are float32 in C order; complex ones as pairs."""
    return lambda *arguments: numbers(function(*arguments), name + ": the result")[0]


def plain(value: Any, name: str, arrays: dict[str, tuple[Floats, bool]]) -> Any:
    """What JSON has of dicts, lists, numbers, strings and paths. Names take the places of arrays, which go to `arrays`.

    Raises TypeError and ValueError, naming the place.
    """
    if getattr(value, "shape", None) == ():  # a scalar of NumPy, a tensor of one number
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if math.isnan(value) or value == -math.inf:
            raise ValueError(f"{name}: is {value}, expected a number")
        return "inf" if value == math.inf else float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name}: keys must be strings, one is {key!r}")
        return {key: plain(entry, f"{name}.{key}" if name else key, arrays) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, f"{name}[{k}]", arrays) for k, entry in enumerate(value)]
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    if not hasattr(value, "shape"):
        raise TypeError(f"{name}: is {value!r}, expected numbers, strings, arrays, lists or dicts of them")
    arrays[name] = numbers(value, name)
    return name


def as_json(value: Any, name: str) -> str:
    """Without arrays."""
    arrays: dict[str, tuple[Floats, bool]] = {}
    text = json.dumps(plain(value, name, arrays))
    if arrays:
        raise TypeError(f"{next(iter(arrays))}: is an array, expected numbers, strings, lists or dicts of them")
    return text
