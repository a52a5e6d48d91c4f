#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cases mmps*/small of benchmark_mri with deepinv on PyTorch: milliseconds, one JSON line per case.

    python -m venv peers && peers/bin/pip install deepinv && peers/bin/python benchmarks/mmps_peer.py

One step: E[x | x_t] of eight images of 128x128 and deepinv's MomentMatchingDataFidelity with 1 and 3 iterations of conjugate
gradients; masked k-space, R = 6. The network has the channels, blocks and embedding of `small` (mri/cases.hpp), random weights.
Environment: THREADS. REPEATS, timed calls; the median is printed. LAYOUT=contiguous: another order in memory.
"""
import os

import deepinv
import torch
from deepinv.sampling import MomentMatchingDataFidelity
from torch import nn
from torch.nn import functional as F

from peer_times import measure

SIDE, PATCH, CHANNELS, BLOCKS, EMBEDDING, ITEMS, SIGMA = 128, 4, (64, 128, 256), 2, 128, 8, 1.0
LAYOUT = torch.contiguous_format if os.environ.get("LAYOUT") == "contiguous" else torch.channels_last


class Norm(nn.Module):
    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """(x + c f((a + 1) norm(x) + b)) / sqrt(1 + c^2), f two convolutions; a, b, c from the noise level."""

    def __init__(self, channels):
        super().__init__()
        self.modulation = nn.Sequential(nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, 3 * channels))
        self.norm = Norm()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x, t):
        a, b, c = self.modulation(t)[:, :, None, None].chunk(3, 1)
        return (x + c * self.second(F.silu(self.first((a + 1) * self.norm(x) + b)))) / torch.sqrt(1 + c * c)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        pairs = list(zip(CHANNELS, CHANNELS[1:]))
        blocks = lambda: nn.ModuleList(nn.ModuleList(Residual(c) for _ in range(BLOCKS)) for c in CHANNELS)
        self.first, self.last = nn.Conv2d(PATCH**2, CHANNELS[0], 3, padding=1), nn.Conv2d(CHANNELS[0], PATCH**2, 1)
        self.down = nn.ModuleList(nn.Sequential(nn.Conv2d(c, d, 3, 2, 1), Norm()) for c, d in pairs)
        self.merge = nn.ModuleList(nn.Conv2d(c + d, c, 3, padding=1) for c, d in pairs)
        self.up = nn.Sequential(Norm(), nn.Upsample(scale_factor=2))
        self.descent, self.ascent = blocks(), blocks()

    def forward(self, x, sigma, *_, **__):
        """The denoiser c_skip x + c_out net(c_in x, log sigma) of data of standard deviation 1."""
        sigma = torch.as_tensor(sigma).reshape(-1, 1, 1, 1)
        scale = torch.sqrt(1 + sigma**2)
        angles = sigma.log().reshape(-1, 1) * 1e4 ** -torch.linspace(0, 1, EMBEDDING // 2)
        t = torch.cat((angles.sin(), angles.cos()), 1)
        u = self.first(F.pixel_unshuffle(x / scale, PATCH).contiguous(memory_format=LAYOUT))
        kept = []
        for level, stack in enumerate(self.descent):
            u = self.down[level - 1](u) if level else u
            for block in stack:
                u = block(u, t)
            kept.append(u)
        for level in reversed(range(len(CHANNELS))):
            if level + 1 < len(CHANNELS):
                u = self.merge[level](torch.cat((self.up(u), kept[level]), 1))
            for block in self.ascent[level]:
                u = block(u, t)
        return x / scale**2 + sigma / scale * F.pixel_shuffle(self.last(u), PATCH)


def main():
    if threads := os.environ.get("THREADS"):
        torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    net = UNet().to(memory_format=LAYOUT).eval().requires_grad_(False)
    mask = (torch.rand(ITEMS, 1, 1, SIDE) < 1 / 6).float()[..., None]
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: mask * torch.view_as_real(torch.fft.fft2(x, norm="ortho")),
        A_adjoint=lambda y, **_: torch.fft.ifft2(torch.view_as_complex(mask * y), norm="ortho").real,
        noise_model=deepinv.physics.GaussianNoise(0.01))
    x, truth = torch.randn(ITEMS, 1, SIDE, SIDE), torch.randn(ITEMS, 1, SIDE, SIDE)
    y, u = physics.A(truth), torch.randn(ITEMS, 1, SIDE, SIDE, 2)
    assert abs((u * physics.A(x)).sum() - (physics.A_adjoint(u) * x).sum()) <= 1e-4 * u.norm() * x.norm()
    for iterations in (1, 3):
        fidelity = MomentMatchingDataFidelity(net, cg_max_iter=iterations, cg_tol=0)
        step = lambda: fidelity.grad(x, y, physics, SIGMA, get_model_outputs=True)
        gradient, denoised = step()
        assert torch.isfinite(denoised - SIGMA**2 * gradient).all()
        measure("deepinv " + deepinv.__version__, f"mmps{iterations}/small", step,
                parameters=sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
    main()
