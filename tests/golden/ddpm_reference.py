# SPDX-License-Identifier: Apache-2.0
"""Small PyTorch implementations of the networks that tools/convert_network reads, with the names of their state dicts, and the golden
files made from them with random weights:

    python3 tests/golden/ddpm_reference.py [FOLDER]     writes FOLDER/ddpm_*.safetensors (tests/data), and the state dicts of two of
                                                        them, FOLDER/networks/*.safetensors

Written from the papers' descriptions (arXiv 2206.00364 for DDPM++ and NCSN++, 2105.05233 for ADM); computed in float64, with JVPs and
VJPs by automatic differentiation. Needs torch and numpy.
"""
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
_loader = importlib.machinery.SourceFileLoader("convert_network", str(ROOT / "tools/convert_network"))
_spec = importlib.util.spec_from_loader("convert_network", _loader)
convert = importlib.util.module_from_spec(_spec)
_loader.exec_module(convert)


def filtered(x, taps, up=False, down=False, margin=None):
    f = torch.tensor(taps, dtype=x.dtype)
    f = torch.outer(f, f) / f.sum() ** 2
    c, pad = x.shape[1], (len(taps) - 1) // 2 if margin is None else margin
    w = f[None, None].repeat(c, 1, 1, 1)
    if up:
        return F.conv_transpose2d(x, 4 * w, stride=2, padding=pad, groups=c)
    return F.conv2d(x, w, stride=2, padding=pad, groups=c) if down else x


class Conv(nn.Conv2d):
    def __init__(self, cin, cout, k=3, taps=None, up=False, down=False):
        super().__init__(cin, cout, k, padding=k // 2)
        self.taps, self.up, self.down = taps, up, down
        if taps and (up or down):
            f = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", (torch.outer(f, f) / f.sum() ** 2)[None, None])

    def forward(self, x):
        return super().forward(filtered(x, self.taps or [1, 1], self.up, self.down))


class Join(nn.Conv2d):
    """A convolution whose result is filtered and halved; it goes on beyond the image."""

    def __init__(self, cin, cout, taps):
        super().__init__(cin, cout, 3)
        self.taps = taps

    def forward(self, x):
        margin = (len(self.taps) - 1) // 2
        return filtered(F.conv2d(x, self.weight, self.bias, padding=1 + margin), self.taps, down=True, margin=0)


def attention(q, k, v):
    """(batch heads, channels, pixels)"""
    w = torch.softmax(torch.einsum("ncq,nck->nqk", q, k) / np.sqrt(q.shape[1]), dim=2)
    return torch.einsum("nqk,nck->ncq", w, v)


class EdmBlock(nn.Module):
    def __init__(self, cin, cout, emb, *, attend, heads, taps, up=False, down=False, scale_shift, skip_scale, eps, project):
        super().__init__()
        groups = lambda c: min(32, c // 4)
        self.heads, self.scale_shift, self.skip_scale, self.cin = heads, scale_shift, skip_scale, cin
        self.taps, self.up, self.down = taps, up, down
        self.norm0 = nn.GroupNorm(groups(cin), cin, eps=eps)
        self.conv0 = Conv(cin, cout, 3, taps, up, down)
        self.affine = nn.Linear(emb, cout * (2 if scale_shift else 1))
        self.norm1 = nn.GroupNorm(groups(cout), cout, eps=eps)
        self.conv1 = nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = Conv(cin, cout, 1, taps, up, down) if cin != cout or ((up or down) and project) else None
        if attend:
            self.norm2 = nn.GroupNorm(groups(cout), cout, eps=eps)
            self.qkv, self.proj = nn.Conv2d(cout, 3 * cout, 1), nn.Conv2d(cout, cout, 1)
        self.attend = attend

    def forward(self, x, e):
        h = self.conv0(F.silu(self.norm0(x)))
        m = self.affine(e)[:, :, None, None]
        if self.scale_shift:
            scale, shift = m.chunk(2, dim=1)
            h = F.silu(self.norm1(h) * (1 + scale) + shift)
        else:
            h = F.silu(self.norm1(h + m))
        beside = self.skip(x) if self.skip is not None else filtered(x, self.taps, self.up, self.down)
        x = (self.conv1(h) + beside) * self.skip_scale
        if self.attend:
            n, c, height, width = x.shape
            q, k, v = self.qkv(self.norm2(x)).reshape(n * self.heads, c // self.heads, 3, -1).unbind(2)
            x = (self.proj(attention(q, k, v).reshape(x.shape)) + x) * self.skip_scale
        return x


class Edm(nn.Module):
    """DDPM++ and NCSN++ (adm=False) or ADM, as EDM names them."""

    def __init__(self, size, channels, width, mult, blocks, attend, *, fourier=False, taps=(1, 1), residual=False, labels=0, adm=False,
                 head_channels=8):
        super().__init__()
        self.adm, self.labels, self.channels = adm, labels, channels
        noise, emb = width * (2 if fourier else 1), 4 * width
        self.noise = noise
        if fourier:
            self.map_noise = nn.Module()
            self.map_noise.register_buffer("freqs", 16 * torch.randn(noise // 2))
        if labels:
            self.map_label = nn.Linear(labels, emb if adm else noise, bias=not adm)
        self.map_layer0, self.map_layer1 = nn.Linear(noise, emb), nn.Linear(emb, emb)
        taps = list(taps)

        def block(cin, cout, attend=False, **kw):
            return EdmBlock(cin, cout, emb, attend=attend, heads=cout // head_channels if adm else 1, taps=taps, scale_shift=adm,
                            skip_scale=1 if adm else np.sqrt(0.5), eps=1e-5 if adm else 1e-6, project=not adm, **kw)

        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        c, skips, image = width * (mult[0] if adm else 1), [], channels
        for level, m in enumerate(mult):
            s = size >> level
            if level == 0:
                self.enc[f"{s}x{s}_conv"] = nn.Conv2d(channels, c, 3, padding=1)
            else:
                self.enc[f"{s}x{s}_down"] = block(c, c, down=True)
                if residual:
                    self.enc[f"{s}x{s}_aux_residual"] = Join(image, c, taps)
                    image = c
            skips.append(c)
            for k in range(blocks):
                self.enc[f"{s}x{s}_block{k}"] = block(c, width * m, attend=s in attend)
                c = width * m
                skips.append(c)
        for level, m in reversed(list(enumerate(mult))):
            s = size >> level
            if level == len(mult) - 1:
                self.dec[f"{s}x{s}_in0"], self.dec[f"{s}x{s}_in1"] = block(c, c, attend=True), block(c, c)
            else:
                self.dec[f"{s}x{s}_up"] = block(c, c, up=True)
            for k in range(blocks + 1):
                self.dec[f"{s}x{s}_block{k}"] = block(c + skips.pop(), width * m, attend=s in attend and (adm or k == blocks))
                c = width * m
        if adm:
            self.out_norm, self.out_conv = nn.GroupNorm(min(32, c // 4), c), nn.Conv2d(c, channels, 3, padding=1)
        else:
            self.dec[f"{size}x{size}_aux_norm"] = nn.GroupNorm(min(32, c // 4), c, eps=1e-6)
            self.dec[f"{size}x{size}_aux_conv"] = nn.Conv2d(c, channels, 3, padding=1)

    def forward(self, x, noise, labels):
        half = self.noise // 2
        if hasattr(self, "map_noise"):
            angle = torch.outer(noise, 2 * np.pi * self.map_noise.freqs.to(x.dtype))
        else:
            last = half if self.adm else half - 1
            angle = torch.outer(noise, (1 / 10000) ** (torch.arange(half, dtype=x.dtype) / last))
        e = torch.cat([angle.cos(), angle.sin()] if self.adm else [angle.sin(), angle.cos()], dim=1)
        if self.adm:
            e = self.map_layer1(F.silu(self.map_layer0(e)))
            e = F.silu(e + self.map_label(labels)) if self.labels else F.silu(e)
        else:
            if self.labels:
                e = e + self.map_label(labels * np.sqrt(self.labels))
            e = F.silu(self.map_layer1(F.silu(self.map_layer0(e))))
        skips, aux = [], x
        for name, m in self.enc.items():
            if "aux_residual" in name:
                x = skips[-1] = aux = (x + m(aux)) / np.sqrt(2)
            else:
                x = m(x, e) if isinstance(m, EdmBlock) else m(x)
                skips.append(x)
        for name, m in self.dec.items():
            if "aux" in name:
                x = F.silu(m(x)) if "norm" in name else m(x)
                continue
            if x.shape[1] != m.cin:
                x = torch.cat([x, skips.pop()], dim=1)
            x = m(x, e)
        return self.out_conv(F.silu(self.out_norm(x))) if self.adm else x


class Res(nn.Module):
    """The residual block of guided-diffusion."""

    def __init__(self, cin, cout, emb, groups, scale_shift=True, up=False, down=False):
        super().__init__()
        self.up, self.down, self.scale_shift = up, down, scale_shift
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, cout * (2 if scale_shift else 1)))
        self.out_layers = nn.Sequential(nn.GroupNorm(groups, cout), nn.SiLU(), nn.Dropout(0), nn.Conv2d(cout, cout, 3, padding=1))
        self.skip_connection = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def resample(self, x):
        if self.up:
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.down else x

    def forward(self, x, e):
        h = self.in_layers[2](self.resample(self.in_layers[1](self.in_layers[0](x))))
        x = self.resample(x)
        m = self.emb_layers(e)[:, :, None, None]
        if self.scale_shift:
            scale, shift = m.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            return self.skip_connection(x) + self.out_layers[1:](h)
        return self.skip_connection(x) + self.out_layers(h + m)


class Att(nn.Module):
    def __init__(self, c, heads, groups, new_order):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm, self.qkv, self.proj_out = nn.GroupNorm(groups, c), nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c, 1)

    def forward(self, x, _):
        n, c = x.shape[:2]
        flat = x.reshape(n, c, -1)
        w = self.qkv(self.norm(flat))
        if self.new_order:
            q, k, v = (t.reshape(n * self.heads, c // self.heads, -1) for t in w.chunk(3, dim=1))
        else:
            q, k, v = w.reshape(n * self.heads, 3 * c // self.heads, -1).split(c // self.heads, dim=1)
        return x + self.proj_out(attention(q, k, v).reshape(n, c, -1)).reshape(x.shape)


class Adm(nn.Module):
    """guided-diffusion's U-Net, with outputs for a learned variance."""

    def __init__(self, channels, width, mult, blocks, attend, *, head_channels, labels=0, groups=32, new_order=False, scale_shift=True):
        super().__init__()
        self.width, self.channels, self.labels = width, channels, labels
        emb = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, emb), nn.SiLU(), nn.Linear(emb, emb))
        if labels:
            self.label_emb = nn.Embedding(labels, emb)
        att = lambda c: Att(c, c // head_channels, groups, new_order)
        c = width * mult[0]
        self.input_blocks, skips = nn.ModuleList([nn.ModuleList([nn.Conv2d(channels, c, 3, padding=1)])]), [c]
        for level, m in enumerate(mult):
            for _ in range(blocks):
                self.input_blocks.append(nn.ModuleList([Res(c, width * m, emb, groups, scale_shift)]))
                c = width * m
                if level in attend:
                    self.input_blocks[-1].append(att(c))
                skips.append(c)
            if level + 1 < len(mult):
                self.input_blocks.append(nn.ModuleList([Res(c, c, emb, groups, scale_shift, down=True)]))
                skips.append(c)
        self.middle_block = nn.ModuleList([Res(c, c, emb, groups, scale_shift), att(c), Res(c, c, emb, groups, scale_shift)])
        self.output_blocks = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for k in range(blocks + 1):
                self.output_blocks.append(nn.ModuleList([Res(c + skips.pop(), width * m, emb, groups, scale_shift)]))
                c = width * m
                if level in attend:
                    self.output_blocks[-1].append(att(c))
                if level and k == blocks:
                    self.output_blocks[-1].append(Res(c, c, emb, groups, scale_shift, up=True))
        self.out = nn.Sequential(nn.GroupNorm(groups, c), nn.SiLU(), nn.Conv2d(c, 2 * channels, 3, padding=1))

    def forward(self, x, t, labels):
        half = self.width // 2
        angle = torch.outer(t, torch.exp(-np.log(10000) * torch.arange(half, dtype=x.dtype) / half))
        e = self.time_embed(torch.cat([angle.cos(), angle.sin()], dim=1))
        if self.labels:
            e = e + labels @ self.label_emb.weight
        skips = []
        for stage in self.input_blocks:
            for m in stage:
                x = m(x) if isinstance(m, nn.Conv2d) else m(x, e)
            skips.append(x)
        for m in self.middle_block:
            x = m(x, e)
        for stage in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            for m in stage:
                x = m(x, e)
        return self.out(x)[:, :self.channels]


def denoiser(net, name, form, x, sigma, labels):
    """E[x | x_t] by the formulas of the parameterizations, independent of those in diem."""
    s = sigma[:, None, None, None]
    if name == "edm":
        d = form["sigma_data"]
        f = net(x / (s**2 + d**2).sqrt(), sigma.log() / 4, labels)
        return d**2 / (s**2 + d**2) * x + s * d / (s**2 + d**2).sqrt() * f
    if name == "vp":
        beta_d, beta_min = form["beta_d"], form["beta_min"]
        t = ((beta_min**2 + 2 * beta_d * (1 + sigma**2).log()).sqrt() - beta_min) / beta_d
        return x - s * net(x / (s**2 + 1).sqrt(), 999 * t, labels)
    if name == "ve":
        return x + s * net(x, (0.5 * sigma).log(), labels)
    step = torch.tensor([float(np.interp(np.log(v), np.log(form["sigmas"]), np.arange(len(form["sigmas"])))) for v in sigma.tolist()],
                        dtype=x.dtype)
    y = net(x / (s**2 + 1).sqrt(), step, labels)
    if form["predicts"] == "noise":
        return x - s * y
    return x / (1 + s**2) - s / (1 + s**2).sqrt() * y if form["predicts"] == "velocity" else y


def golden(path, net, name, form, converted, size, classes, sigmas, labels, tolerance):
    """Weights are rounded to float32 first, so that both precisions of diem have them exactly."""
    torch.manual_seed(1)
    n, c = len(sigmas), net.channels
    draw = lambda: torch.randn(n, c, size, size).double()
    sigma = torch.tensor(sigmas, dtype=torch.float32).double()
    x = draw() * (0.25 + sigma**2).sqrt()[:, None, None, None]
    x, dot, bar = x.float().double(), draw(), draw()
    hot = torch.zeros(n, max(classes, 1)).double()
    for i, l in enumerate(labels):
        if l >= 0:
            hot[i, l] = 1
    x.requires_grad_()
    f = lambda z: denoiser(net, name, form, z, sigma, hot)
    y = f(x)
    (x_bar,) = torch.autograd.grad(y, x, bar)
    _, y_dot = torch.autograd.functional.jvp(f, x.detach(), dot)
    flat = lambda v: v.detach().permute(0, 2, 3, 1).reshape(n, -1).numpy()
    config, weights = converted
    inputs = {"x_t": flat(x).astype(np.float32), "x_t_dot": flat(dot).astype(np.float32), "x_hat_bar": flat(bar).astype(np.float32),
              "sigma": sigma.numpy().astype(np.float32), "labels": np.array(labels, np.int32)}
    outputs = {"x_hat": flat(y), "x_hat_dot": flat(y_dot), "x_t_bar": flat(x_bar)}
    whole = {"kind": "network_denoiser", "net": config, "preconditioning": form, "parameters": list(weights),
             "tolerance": {k: {"float32": tolerance, "float64": 1e-11} for k in outputs}}
    # Frequencies and classes are computed in float64 where they are not the file's own.
    tensors = {"param/" + k: np.ascontiguousarray(v, np.float32 if np.array_equal(v, np.float32(v)) else np.float64)
               for k, v in weights.items()}
    tensors.update({"in/" + k: v for k, v in inputs.items()})
    tensors.update({"out/" + k: v for k, v in outputs.items()})
    convert.write_safetensors(path, tensors, {"config": json.dumps(whole)})
    print(f"{path}: {sum(p.numel() for p in net.parameters())} parameters, {pathlib.Path(path).stat().st_size // 1024} kB")


def randomize(net):
    """Nothing is zero, nothing large."""
    for p in net.parameters():
        if p.ndim == 1:
            p.data += 0.1 * torch.randn_like(p)
    net.float().double().eval()  # rounded to float32
    return net


def tensors_of(net):
    return {k: v.numpy() for k, v in net.state_dict().items()}


def networks(folder):
    """name: (network, parameterization, its JSON, (configuration, weights), size, classes, sigmas, labels)"""

    def source(net, name):
        if name in ("ddpm_plus_vp", "ddpm_adm_velocity"):
            (folder / "networks").mkdir(exist_ok=True)
            state = {k: v.astype(np.float32) for k, v in tensors_of(net).items()}
            convert.write_safetensors(folder / "networks" / f"{name}.safetensors", state, {})
        return convert.Source(tensors_of(net), name)

    form = lambda name, **kw: convert.parameterization(name, kw.pop("options", None), lambda key, fallback: kw.get(key, fallback))

    def edm(name, kind, sigmas, labels, *a, classes=0, head_channels=8, **kw):
        torch.manual_seed(0)
        net = randomize(Edm(*a, labels=classes, head_channels=head_channels, **kw))
        return net, kind, form(kind), convert.edm(source(net, name), head_channels), a[0], classes, sigmas, labels

    yield "ddpm_plus", edm("ddpm_plus", "edm", [0.02, 0.7, 20], [-1] * 3, 8, 3, 8, [1, 2], 1, [4])
    yield "ddpm_plus_vp", edm("ddpm_plus_vp", "vp", [0.05, 1, 9], [1, -1, 0], 8, 2, 8, [1, 1], 1, [8], classes=3)
    yield "ddpm_ncsn", edm("ddpm_ncsn", "ve", [0.05, 1, 30], [-1] * 3, 8, 3, 8, [1, 1, 1], 1, [4], fourier=True, taps=(1, 3, 3, 1),
                           residual=True)
    yield "ddpm_adm_edm", edm("ddpm_adm_edm", "iddpm", [0.05, 1, 9], [2, -1, 0], 8, 3, 8, [1, 2], 1, [4], classes=3, adm=True)

    def adm(name, predicts, sigmas, labels, size, *a, classes=0, head_channels, groups, new_order=False, **kw):
        torch.manual_seed(0)
        net = randomize(Adm(*a, head_channels=head_channels, labels=classes, groups=groups, new_order=new_order, **kw))
        options = types.SimpleNamespace(predicts=predicts, schedule="linear" if predicts == "noise" else "cosine", steps=100)
        config, weights = convert.adm(source(net, name), size, 4, head_channels, new_order)
        config["groups"] = groups  # 32, where there are enough channels
        return net, "steps", form("steps", options=options), (config, weights), size, classes, sigmas, labels

    yield "ddpm_adm", adm("ddpm_adm", "noise", [0.05, 1, 9], [-1] * 3, 8, 3, 16, [1, 1], 1, [1], head_channels=8, groups=4)
    yield "ddpm_adm_velocity", adm("ddpm_adm_velocity", "velocity", [0.05, 1, 9], [1, 0, -1], 8, 1, 8, [1, 2], 1, [0, 1], classes=2,
                                   head_channels=4, groups=2, new_order=True, scale_shift=False)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data"
    for name, (net, kind, form, converted, size, classes, sigmas, labels) in networks(folder):
        golden(folder / f"{name}.safetensors", net, kind, form, converted, size, classes, sigmas, labels, 1e-5)


if __name__ == "__main__":
    main()
