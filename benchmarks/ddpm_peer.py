#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cases */ddpmpp of benchmark_networks in PyTorch: milliseconds, one JSON line per case.

    python -m venv peers && peers/bin/pip install torch numpy && peers/bin/python benchmarks/ddpm_peer.py CASE...

CASE: forward, vjp (all by default); one alone for its own peak of memory. The network is EDM's DDPM++ of CIFAR-10 as
tests/golden/ddpm_reference.py has it, random weights, float32, 4 images. Environment: THREADS. REPEATS, timed calls; the
median is printed. LAYOUT=contiguous: another order in memory. AUTOCAST=1: bfloat16.
"""
import os
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/golden"))
from ddpm_reference import Edm
from peer_times import measure


def main(cases):
    if threads := os.environ.get("THREADS"):
        torch.set_num_threads(int(threads))
    if os.environ.get("AUTOCAST"):
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()
    layout = torch.contiguous_format if os.environ.get("LAYOUT") == "contiguous" else torch.channels_last
    torch.manual_seed(0)
    net = Edm(32, 3, 128, [2, 2, 2], 4, [16]).to(memory_format=layout).eval().requires_grad_(False)
    sigma = 1.0
    scale = (1 + sigma**2) ** 0.5
    noise = torch.full((4,), sigma).log() / 4
    x, v = (torch.randn(4, 3, 32, 32).contiguous(memory_format=layout) for _ in range(2))
    denoise = lambda x: x / scale**2 + sigma / scale * net(x / scale, noise, None)
    z = x.clone().requires_grad_()
    runs = {"forward": lambda: denoise(x)}
    if "vjp" in cases:
        y = denoise(z)
        runs["vjp"] = lambda: torch.autograd.grad(y, z, v, retain_graph=True)[0]
    for case in cases:
        assert torch.isfinite(runs[case]()).all()
        measure("PyTorch " + torch.__version__, case + "/ddpmpp", runs[case],
                parameters=sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
    main(sys.argv[1:] or ["forward", "vjp"])
