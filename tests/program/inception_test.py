# SPDX-License-Identifier: Apache-2.0
"""FID and Inception score: tools/convert_inception, `diem evaluate --inception` and `cifar --inception` on a small network, of which
tests/data/inception.safetensors holds the features that pytorch-fid computes. Needs numpy."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import packages

packages.needs("numpy")

import numpy as np

import support
from support import ROOT, Case, save


TOOL = ROOT / "tools/convert_inception"
tool = support.tool("convert_inception")
GOLDEN = tool.convert.read_safetensors(ROOT / "tests/data/inception.safetensors")[0]


def frechet(f, g):
    """Of two sets of features; the roots of the eigenvalues of S_f S_g, which are real and not negative."""
    s, t = np.cov(f, rowvar=False), np.cov(g, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s @ t).real, 0))
    return ((f.mean(0) - g.mean(0))**2).sum() + np.trace(s) + np.trace(t) - 2 * roots.sum()


class Inception(Case):
    @classmethod
    def make_shared(cls):
        """The golden weights before their batch norms were folded, and converted again."""
        rng = np.random.default_rng(0)
        cls.weights = {k[6:]: v.astype(np.float64) for k, v in GOLDEN.items() if k.startswith("param/")}
        state = {"AuxLogits.conv0.conv.weight": np.zeros((1, 1, 1, 1), np.float32),
                 "fc.weight": cls.weights["fc.weight"].T, "fc.bias": cls.weights["fc.bias"]}
        for name, kernel in cls.weights.items():
            if not name.endswith(".kernel"):
                continue
            name, n = name.removesuffix(".kernel"), kernel.shape[3]
            weight, variance, mean = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n), rng.normal(size=n)
            s = weight / np.sqrt(variance + 1e-3)
            state[name + ".conv.weight"] = (kernel / s).transpose(3, 2, 0, 1)
            state[name + ".bn.weight"], state[name + ".bn.running_var"], state[name + ".bn.running_mean"] = weight, variance, mean
            state[name + ".bn.bias"] = cls.weights[name + ".bias"] + s * mean
            state[name + ".bn.num_batches_tracked"] = np.zeros(1, np.int32)
        state = {k: np.ascontiguousarray(v) for k, v in state.items()}
        tool.convert.write_safetensors(cls.home / "state.safetensors", state, {})
        subprocess.run([sys.executable, TOOL, cls.home / "state.safetensors", cls.home / "weights.safetensors"], check=True,
                       stdout=subprocess.DEVNULL)
        images = GOLDEN["in/images"]
        save(cls.home / "x.npy", [3, 32, 32, 3], images.ravel())
        save(cls.home / "truth.npy", [2, 32, 32, 3], images[1:].ravel())

    def setUp(self):
        super().setUp()
        for cache in self.home.glob("*.moments.safetensors"):
            cache.unlink()

    def evaluate(self, truth="truth.npy", weights="weights.safetensors", code=0):
        done = self.run_program("evaluate", self.home / "x.npy", self.home / truth, "--unpaired", "--inception", self.home / weights,
                                "--json", self.folder / "figures.json")
        self.assertEqual(done.returncode, code, done.stderr)
        return done, json.loads((self.folder / "figures.json").read_text()) if code == 0 else None

    def test_batch_norms_are_folded(self):
        got = tool.convert.read_safetensors(self.home / "weights.safetensors")[0]
        self.assertEqual(set(got), {"param/" + n for n in self.weights})
        for name, value in self.weights.items():
            np.testing.assert_allclose(got["param/" + name], value, rtol=1e-5, atol=1e-6, err_msg=name)

    def test_figures_are_those_of_the_reference_features(self):
        f = GOLDEN["out/features"]
        z = GOLDEN["out/logits"] - self.weights["fc.bias"]
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        _, figures = self.evaluate()
        self.assertEqual((figures["inception_images"], figures["inception_real_images"]), (3, 2))
        expected = frechet(f, f[1:])
        # Features have relative errors of 1e-6 in float32, and the distance is a difference of sums about (1 + |f|^2).
        self.assertLessEqual(abs(figures["fid"] - expected), 1e-5 * (expected + (f**2).sum(1).mean()))
        self.assertGreater(expected, 1e-4 * (f**2).sum(1).mean())
        self.assertAlmostEqual(figures["inception_score"], 1, delta=1e-12)  # of one image in each split
        _, same = self.evaluate("x.npy")
        self.assertLessEqual(same["fid"], 1e-5 * (f**2).sum(1).mean())
        repeated = np.repeat(GOLDEN["in/images"], 20, 0)
        order = np.random.default_rng(0).permutation(60)
        save(self.home / "many.npy", [60, 32, 32, 3], repeated[order].ravel())
        self.run_program("evaluate", self.home / "many.npy", self.home / "truth.npy", "--unpaired", "--inception",
                         self.home / "weights.safetensors", "--json", self.folder / "many.json")
        q = np.repeat(p, 20, 0)[order].reshape(10, 6, -1)
        scores = np.exp((q * (np.log(q) - np.log(q.mean(1, keepdims=True)))).sum(2).mean(1))
        many = json.loads((self.folder / "many.json").read_text())
        self.assertAlmostEqual(many["inception_score"], scores.mean(), delta=1e-4 * scores.mean())
        self.assertAlmostEqual(many["inception_score_deviation"], scores.std(), delta=1e-3)

    def test_features_of_the_truth_are_kept_and_recomputed_where_stale(self):
        first, figures = self.evaluate()
        (cache,) = self.home.glob("weights.*.moments.safetensors")
        self.assertIn("once, kept in", first.stdout)
        again, same = self.evaluate()
        self.assertNotIn("once, kept in", again.stdout)
        self.assertEqual(figures["fid"], same["fid"])
        bytes_of = bytearray(cache.read_bytes())
        good = bytes(bytes_of)
        bytes_of[-5] ^= 1
        cache.write_bytes(bytes_of)
        damaged, same = self.evaluate()
        self.assertRegex(damaged.stderr, "moments.safetensors: .*computed anew")
        self.assertEqual(figures["fid"], same["fid"])
        self.assertEqual(cache.read_bytes(), good)
        cache.write_bytes(good.replace(b'"key":"', b'"key":"x', 1)[:len(good)])  # of other data, or no file at all
        self.assertIn("once, kept in", self.evaluate()[0].stdout)
        self.evaluate("x.npy")
        self.assertEqual(len(list(self.home.glob("weights.*.moments.safetensors"))), 2)

    def test_other_weights_are_refused(self):
        tensors, metadata = tool.convert.read_safetensors(self.home / "weights.safetensors")
        name = "param/Mixed_6b.branch7x7_2.kernel"
        wrong = {**tensors, name: tensors[name].reshape(7, 1, *tensors[name].shape[2:])}
        keep = {k: metadata[k] for k in ("format", "version", "config", "state")}
        tool.convert.write_safetensors(self.home / "wrong.safetensors", wrong, keep)
        done, _ = self.evaluate(weights="wrong.safetensors", code=1)
        self.assertRegex(done.stderr, r"wrong.safetensors: .*Mixed_6b.branch7x7_2.kernel.*\[7, 1, 8, 8\].*\[1, 7, 8, 8\]")
        self.assertRegex(self.evaluate(weights="state.safetensors", code=1)[0].stderr, "state.safetensors: ")
        tensors.pop(name)
        tool.convert.write_safetensors(self.home / "wrong.safetensors", tensors, keep)
        self.assertRegex(self.evaluate(weights="wrong.safetensors", code=1)[0].stderr, "Mixed_6b.branch7x7_2.kernel")

    def test_cifar_reports_both(self):
        done = subprocess.run([pathlib.Path(os.environ["DIEM_PROGRAMS"]) / "cifar", "--smoke", "--config",
                               ROOT / "examples/configs/cifar10_smoke.json", "--inception", self.home / "weights.safetensors", "--out",
                               self.folder / "out"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("features of 160 images"), 1)
        self.assertRegex(done.stdout, "diffusion: FID  *[0-9]")
        report = json.loads((self.folder / "out/report.json").read_text())
        for entry in (*report["stages"], *report["laps"]):
            self.assertGreater(entry["fid"], 0)
            self.assertGreaterEqual(entry["inception_score"], 1 - 1e-12)
            self.assertEqual(entry["inception_real_images"], 160)


if __name__ == "__main__":
    unittest.main()
