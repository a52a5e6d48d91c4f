# SPDX-License-Identifier: Apache-2.0
"""Tests that need packages of Python run again by the first interpreter that has them: $DIEM_PYTHON, build/python, this one."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "io"))
from exchange import interpreter


def needs(*choices):
    """Each choice is a list of packages, "numpy, h5py"; the first that an interpreter has is taken. Exits with 77 where none is."""
    if "DIEM_INSIDE" in os.environ:
        return
    for choice in choices:
        if python := interpreter(f"import {choice}"):
            sys.exit(subprocess.run([python, *sys.argv], env={**os.environ, "DIEM_INSIDE": "1"}).returncode)
    print(f"SKIPPED: no Python with the packages {choices[-1]}; set DIEM_PYTHON to one that has them")
    sys.exit(77)
