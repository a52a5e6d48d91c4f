# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits of which 75 % of the pixels are deleted: a prior is learned from them alone, and restores others.

python python/examples/tutorial.py [FOLDER]     # restored.png and run/report.html in FOLDER (default: out/python)
"""

import pathlib
import sys

import matplotlib
import numpy as np

import diem

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "out/python")
folder.mkdir(parents=True, exist_ok=True)
root = pathlib.Path(__file__).resolve().parents[2]

# [tutorial]
# 1797 images of 8 x 8 pixels, brought to [-2, 2]; of each, a quarter of the pixels is seen, with a little noise.
digits = np.load(root / "examples/data/digits/digits_8x8.npy").reshape(-1, 8, 8, 1) / 4.0 - 2
random = np.random.default_rng(0)
seen = random.random(digits.shape) < 0.25
y = np.where(seen, digits + 0.01 * random.standard_normal(digits.shape), np.nan).astype(np.float32)
operator = {"type": "identity", "mask": "nan"}  # NaN: not seen

# Learn from the first 1536: nobody shows the truth.
prior = diem.fit(
    y[:1536], operator, 0.01,
    gaussian={"rank": 32, "laps": 40, "rest": "diagonal"},
    network={"type": "mlp", "features": 64, "hidden": [384, 384, 384], "emb": 64},
    em={"laps": 4, "sampler": {"samples_per_observation": 2}, "training": {"steps": 800}},
    folder=folder / "run", resume=True,  # report.html there can be watched meanwhile; what is done is gone on with
)  # fmt: skip
prior.save(folder / "prior.safetensors")

# Restore the others: eight samples of each, their mean and their spread.
info = {}
samples = diem.posterior(prior, y[1536:], operator, 0.01, samples=8, seed=1, info=info)
mean, spread = samples.mean(0), samples.std(0)
psnr = 10 * np.log10(4**2 / ((mean - digits[1536:]) ** 2).mean())
print(f"{info['verdict']} (data residual {info['data_residual']:.2f}); PSNR of the mean {psnr:.2f} dB")
# [tutorial]

rows = {
    "seen": y[1536:],
    "one sample": samples[0],
    "another": samples[1],
    "mean of 8": mean,
    "truth": digits[1536:],
    "spread": spread,
}
figure, axes = pyplot.subplots(len(rows), 16, figsize=(12, 5.6))
colours = pyplot.get_cmap("gray").with_extremes(bad="steelblue")
for line, (name, images) in zip(axes, rows.items()):
    for k, axis in enumerate(line):
        low, high = (0, spread.max()) if name == "spread" else (-2, 2)
        axis.imshow(images[k, :, :, 0], cmap=colours, vmin=low, vmax=high)
        axis.set_axis_off()
    line[0].set_title(name, loc="left", fontsize=9, pad=2)
figure.tight_layout(pad=0.3, h_pad=0.8)
figure.savefig(folder / "restored.png", dpi=100)
print(f"pictures: {folder / 'restored.png'}, {folder / 'run/report.html'}")
