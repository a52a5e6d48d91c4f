#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cases */ddpmpp and */adm64 of benchmark_networks in PyTorch: milliseconds, one JSON line per case.

    python -m venv peers && peers/bin/pip install torch numpy azula pyyaml && peers/bin/python benchmarks/ddpm_peer.py CASE...

CASE: forward, vjp (both by default); one alone for its own peak of memory. Random weights, float32, 4 images. Environment:
NETWORK=ddpmpp, EDM's DDPM++ of CIFAR-10 as tests/golden/ddpm_reference.py has it, or adm64, azula's own ADM of ImageNet
64x64. THREADS. REPEATS, timed calls; the median is printed. LAYOUT=contiguous: another order in memory. AUTOCAST=1: bfloat16.
"""
import os
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/golden"))
from peer_times import measure

LAYOUT = torch.contiguous_format if os.environ.get("LAYOUT") == "contiguous" else torch.channels_last


def ddpmpp():
    from ddpm_reference import Edm
    net = Edm(32, 3, 128, [2, 2, 2], 4, [16]).to(memory_format=LAYOUT).eval().requires_grad_(False)
    sigma = 1.0
    scale = (1 + sigma**2) ** 0.5
    noise = torch.full((4,), sigma).log() / 4
    return net, 32, "PyTorch " + torch.__version__, lambda x: x / scale**2 + sigma / scale * net(x / scale, noise, None)


def adm64():
    import importlib.metadata

    from azula.plugins import adm
    net = adm.make_model(
        image_size=64, num_channels=192, channel_mult=[1, 2, 3, 4], num_res_blocks=3, attention_resolutions=[32, 16, 8],
        num_head_channels=64, discrete_schedule="cosine", resblock_updown=True, use_new_attention_order=True,
        use_scale_shift_norm=True).to(memory_format=LAYOUT).eval().requires_grad_(False)
    for weight in net.parameters():  # some are zero
        weight.normal_(0, 0.02)
    t = torch.tensor(0.5)
    return net, 64, "azula " + importlib.metadata.version("azula"), lambda x: net(x, t).mean


def main(cases):
    if threads := os.environ.get("THREADS"):
        torch.set_num_threads(int(threads))
    if os.environ.get("AUTOCAST"):
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()
    torch.manual_seed(0)
    name = os.environ.get("NETWORK", "ddpmpp")
    net, size, peer, denoise = {"ddpmpp": ddpmpp, "adm64": adm64}[name]()
    x, v = (torch.randn(4, 3, size, size).contiguous(memory_format=LAYOUT) for _ in range(2))
    z = x.clone().requires_grad_()
    runs = {"forward": lambda: denoise(x)}
    if "vjp" in cases:
        y = denoise(z)
        runs["vjp"] = lambda: torch.autograd.grad(y, z, v, retain_graph=True)[0]
    for case in cases:
        assert torch.isfinite(runs[case]()).all()
        measure(peer, f"{case}/{name}", runs[case], parameters=sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
    main(sys.argv[1:] or ["forward", "vjp"])
