# SPDX-License-Identifier: Apache-2.0
"""Bars by tqdm, where it is there."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any, Callable, Iterator

Tell = Callable[[str, int, int, int, float], None]


@contextlib.contextmanager
def bars(progress: bool | None) -> Iterator[Tell | None]:
    """What is called as (stage, lap, done, total, figure), a bar for each stage; None: nothing is to be shown."""
    tqdm: Any = None
    if progress or (progress is None and sys.stderr is not None and sys.stderr.isatty()):
        try:
            from tqdm import tqdm
        except ImportError:
            if progress:
                raise
    if tqdm is None:
        yield None
        return
    bar: Any = None
    of: Any = None

    def tell(stage: str, lap: int, done: int, total: int, figure: float) -> None:
        nonlocal bar, of
        of_a_lap = stage in ("sampling", "training")
        if bar is None or of != (stage, lap if of_a_lap else 0):
            if bar is not None:
                bar.close()
            of = (stage, lap if of_a_lap else 0)
            name = f"lap {lap}, {stage}" if of_a_lap else stage
            bar = tqdm(total=total, desc=name)
        bar.update(done - bar.n)
        if stage == "training" and math.isfinite(figure):
            bar.set_postfix(loss=f"{figure:.3f}", refresh=False)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
