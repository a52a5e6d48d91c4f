# SPDX-License-Identifier: Apache-2.0
"""The lines of docs/python.md run, with smaller numbers."""

import numpy as np

import diem
from conftest import ROOT


def test_tutorial(tmp_path, capsys):
    code = (ROOT / "python/examples/tutorial.py").read_text().split("# [tutorial]\n")[1]
    for large, small in {
        '"laps": 40': '"laps": 4',
        "[384, 384, 384]": "[32]",
        '"laps": 4, "s': '"laps": 1, "s',
        "800": "50",
    }.items():
        assert large in code
        code = code.replace(large, small)
    names = dict(diem=diem, np=np, root=ROOT, folder=tmp_path)
    exec(code, names)
    assert names["samples"].shape == (8, 261, 8, 8, 1) and names["psnr"] > 10
    assert (tmp_path / "prior.safetensors").exists()
    assert "The run is complete" in (tmp_path / "run/report.html").read_text()
    assert "samples fit the data" in capsys.readouterr().out
