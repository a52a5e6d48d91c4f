# SPDX-License-Identifier: Apache-2.0
"""The golden file of nn::inception_v3, from pytorch-fid's network with random weights at a sixteenth of the widths:

    python3 tests/golden/inception_reference.py [FOLDER]     writes FOLDER/inception.safetensors (tests/data)
    python3 tests/golden/inception_reference.py --full FOLDER [IMAGES]
        the whole network: FOLDER/inception_full.safetensors (a golden file, too, 95 MB), FOLDER/weights.safetensors as
        tools/convert_inception writes it, and the images per second of a forward pass

Batch norms are folded by tools/convert_inception, which is compared with the network as it was first; weights and images are rounded, so
that both precisions of diem have them exactly, and the rest is computed in float64. Needs pytorch-fid (torch, torchvision) and numpy.
"""
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import time
from unittest import mock

import numpy as np
import pytorch_fid.inception as fid
import torch
import torchvision
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("convert_inception", str(ROOT / "tools/convert_inception"))
_spec = importlib.util.spec_from_loader("convert_inception", _loader)
tool = importlib.util.module_from_spec(_spec)
_loader.exec_module(tool)


def network(divisor):
    """pytorch-fid's Inception-v3, nothing downloaded, its widths divided."""
    conv = torchvision.models.inception.BasicConv2d
    first = conv.__init__

    def narrow(self, inputs, outputs, **kw):
        first(self, inputs if inputs == 3 else inputs // divisor, outputs // divisor, **kw)

    with mock.patch.object(conv, "__init__", narrow), mock.patch.object(fid, "load_state_dict_from_url", lambda *a, **k: {}), \
            mock.patch.object(nn.Module, "load_state_dict", lambda *a, **k: None):
        net = fid.fid_inception_v3()
    net.fc = nn.Linear(2048 // divisor, 1008 // divisor)
    torch.manual_seed(0)
    for m in net.modules():
        if isinstance(m, conv):
            nn.init.kaiming_normal_(m.conv.weight)
            for v, spread, centre in ((m.bn.weight, 0.1, 1), (m.bn.bias, 0.1, 0), (m.bn.running_mean, 0.1, 0)):
                v.data.normal_(centre, spread)
            m.bn.running_var.data.normal_(0, 0.2).exp_()
    return net.double().eval()


class Shift(nn.Module):
    """In place of a batch norm that was folded."""

    def __init__(self, bias):
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x):
        return x + self.bias[:, None, None]


def fold(net, weights):
    for name, m in net.named_modules():
        if name + ".kernel" in weights:
            m.conv.weight.data = torch.tensor(weights[name + ".kernel"], dtype=torch.float64).permute(3, 2, 0, 1).contiguous()
            m.bn = Shift(torch.tensor(weights[name + ".bias"], dtype=torch.float64))
    net.fc.weight.data = torch.tensor(weights["fc.weight"], dtype=torch.float64).T.contiguous()
    net.fc.bias.data = torch.tensor(weights["fc.bias"], dtype=torch.float64)


def of_pool(net):
    """pytorch-fid's network of the features, on these modules."""
    with mock.patch.object(fid, "fid_inception_v3", lambda: net):
        return fid.InceptionV3([3]).eval()


def features(net, pixels):
    with torch.no_grad():
        return of_pool(net)(pixels)[0].flatten(1)


def main():
    full = "--full" in sys.argv
    rest = [a for a in sys.argv[1:] if a != "--full"]
    folder = pathlib.Path(rest[0]) if rest else ROOT / "tests/data"
    divisor, count = (1, int(rest[1]) if len(rest) > 1 else 16) if full else (16, 3)
    net = network(divisor)
    rng = np.random.default_rng(0)
    level = np.arange(32) / 31
    smooth = level[:, None, None] * rng.uniform(0, 1, (count, 1, 1, 3)) + level[:, None] * rng.uniform(0, 1, (count, 1, 1, 3))
    pixels = np.clip(np.rint(255 * (0.4 * smooth + 0.3 * rng.uniform(0, 1, (count, 32, 32, 3)))), 0, 255)
    # Between two levels and out of range, as samples are: nearer than half a level, or beyond an end.
    images = pixels / 64 - 2 + rng.uniform(-0.4, 0.4, pixels.shape) / 64
    images[0, 0, 0], pixels[0, 0, 0] = [-2.5, 2.5, 2.0], [0, 255, 255]
    x = torch.tensor(pixels / 255).permute(0, 3, 1, 2)

    source = tool.convert.Source({k: v.numpy() for k, v in net.state_dict().items()}, "random weights")
    plain, before = tool.folded(source), features(net, x)
    fold(net, plain)
    error = float((features(net, x) - before).abs().max() / before.abs().max())
    assert error < 1e-12, f"folding changes features by {error}"
    weights = {k: v.astype(np.float32 if full else np.float16) for k, v in plain.items()}
    fold(net, weights)
    f = features(net, x)
    z = net.fc(f).detach()
    assert float(f.std(0).mean() / f.mean()) > 0.01, "the features of all images are alike"
    flat = lambda v: v.reshape(count, -1)
    config = {"kind": "inception", "net": {"classes": 1008 // divisor, "divisor": divisor}, "parameters": list(weights),
              "tolerance": {k: {"float32": 1e-4 if full else 2e-5, "float64": 1e-11} for k in ("features", "logits")}}
    tensors = {"param/" + k: np.ascontiguousarray(v) for k, v in weights.items()}
    tensors |= {"in/images": flat(images).astype(np.float32), "out/features": f.numpy(), "out/logits": z.numpy()}
    path = folder / ("inception_full.safetensors" if full else "inception.safetensors")
    tool.convert.write_safetensors(path, tensors, {"config": json.dumps(config)})
    print(f"{path}: {sum(v.size for v in weights.values())} parameters, {path.stat().st_size // 1024} kB, folding {error:.1e}")
    if full:
        tool.write(folder / "weights.safetensors", weights, "random weights")
        net, x = of_pool(net.float()), x.float()
        with torch.no_grad():
            net(x)
            start = time.perf_counter()
            net(x)
        print(f"{count / (time.perf_counter() - start):.1f} images per second, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
