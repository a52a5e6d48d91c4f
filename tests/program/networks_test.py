# SPDX-License-Identifier: Apache-2.0
"""tools/convert_network: weights as the networks' own code names them become priors that `diem` draws from. Needs numpy."""

import json
import pickle
import subprocess
import sys
import types
import unittest

import packages

packages.needs("numpy")

import numpy as np

import support
from support import ROOT, Case, load, normal, save


TOOL = ROOT / "tools/convert_network"
convert = support.tool("convert_network")

STATES = {"ddpm_plus_vp": ("--parameterization", "vp"),
          "ddpm_adm_velocity": ("--size", "8", "--head-channels", "4", "--new-attention-order", "--predicts", "velocity",
                                "--schedule", "cosine", "--steps", "100")}


def reconstruct(meta):
    raise AssertionError("code of a pickle was run")


class Persistent:
    """A module as EDM pickles it: its class is made again from source code, by a function of EDM's."""

    def __init__(self, name, arrays, modules, **kwargs):
        self.meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": name,
                     "state": {"_parameters": arrays, "_buffers": {}, "_modules": modules, "_init_kwargs": kwargs}}

    def __reduce__(self):
        return reconstruct, (self.meta,), None


class Networks(Case):
    @classmethod
    def make_shared(cls):
        """Nothing."""

    def convert(self, source, *options, code=0):
        done = subprocess.run([sys.executable, TOOL, source, self.folder / "prior.safetensors", *options], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout + done.stderr

    def test_tensors_are_those_of_the_golden_files(self):
        for name, options in STATES.items():
            self.convert(ROOT / f"tests/data/networks/{name}.safetensors", *options)
            got, metadata = convert.read_safetensors(self.folder / "prior.safetensors")
            expected, golden = convert.read_safetensors(ROOT / f"tests/data/{name}.safetensors")
            golden = json.loads(golden["config"])
            self.assertEqual(set(got), {"average/" + n for n in golden["parameters"]})
            for n in golden["parameters"]:
                np.testing.assert_array_equal(got["average/" + n], expected["param/" + n].astype(np.float32), n)
            config = json.loads(metadata["config"])
            config["network"]["groups"] = golden["net"]["groups"]  # fewer in the small one
            self.assertEqual(config["network"], golden["net"])
            self.assert_near(config["preconditioning"], golden["preconditioning"])

    def assert_near(self, got, expected):
        """Equal, but for the last digits of numbers."""
        self.assertEqual(set(got), set(expected))
        for key, value in expected.items():
            if isinstance(value, (list, float)):
                np.testing.assert_allclose(got[key], value, rtol=1e-12, err_msg=key)
            else:
                self.assertEqual(got[key], value)

    def test_draws(self):
        name = "ddpm_plus_vp"
        self.convert(ROOT / f"tests/data/networks/{name}.safetensors", *STATES[name])
        prior = self.folder / "prior.safetensors"
        self.assertIn("network_prior", self.run_program("info", prior).stdout)
        drawn = {}
        for label in ("-1", "0", "2"):
            done = self.run_program("sample", prior, "--count", "3", "--steps", "4", "--label", label, "--out", self.folder / label)
            self.assertEqual(done.returncode, 0, done.stderr)
            shape, drawn[label] = load(self.folder / label / "samples.npy")
            self.assertEqual(shape, [3, 8, 8, 2])
        self.assertEqual(len({bytes(v) for v in drawn.values()}), 3)  # the class matters
        done = self.run_program("sample", prior, "--label", "3", "--out", self.folder / "none")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, "label 3, the network has 3 classes")
        save(self.folder / "y.npy", [2, 8, 8, 2], normal(2 * 128))
        (self.folder / "operator.json").write_text('{"type": "identity"}')
        done = self.run_program("posterior", prior, self.folder / "y.npy", "--operator", self.folder / "operator.json", "--sigma-y",
                                "0.1", "--samples", "2", "--steps", "16", "--out", self.folder / "restored")
        self.assertEqual(done.returncode, 0, done.stderr)
        x = np.load(self.folder / "restored/samples.npy")  # two channels: a complex number
        y = np.load(self.folder / "y.npy").reshape(2, 1, -1)
        self.assertEqual((x.shape, x.dtype), ((2, 2, 8, 8), np.complex64))
        # Near the observations, whatever the weights are: five deviations of the noise.
        self.assertLessEqual(np.abs(x.view(np.float32).reshape(2, 2, -1) - y).max(), 0.5)

    def test_pickles_of_edm_are_read_and_not_run(self):
        state, _ = convert.read_safetensors(ROOT / "tests/data/networks/ddpm_plus_vp.safetensors")
        tree = {}
        for name, value in state.items():
            at = tree
            *parents, leaf = name.split(".")
            for p in parents:
                at = at.setdefault(p, {})
            at[leaf] = value

        def module(content, name="Module", **kwargs):
            return Persistent(name, {k: np.array(v) for k, v in content.items() if not isinstance(v, dict)},
                              {k: module(v) for k, v in content.items() if isinstance(v, dict)}, **kwargs)

        persistence = types.ModuleType("torch_utils.persistence")
        persistence._reconstruct_persistent_obj = reconstruct
        reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
        sys.modules["torch_utils"], sys.modules["torch_utils.persistence"] = types.ModuleType("torch_utils"), persistence
        outer = Persistent("VPPrecond", {}, {"model": module(tree)}, beta_d=19.9, M=1000)
        (self.folder / "edm.pkl").write_bytes(pickle.dumps({"ema": outer}))
        self.convert(self.folder / "edm.pkl")
        got, metadata = convert.read_safetensors(self.folder / "prior.safetensors")
        golden = json.loads(convert.read_safetensors(ROOT / "tests/data/ddpm_plus_vp.safetensors")[1]["config"])
        self.assertEqual(set(got), {"average/" + n for n in golden["parameters"]})
        self.assert_near(json.loads(metadata["config"])["preconditioning"], golden["preconditioning"])

    def test_what_is_missing_or_unknown_is_named(self):
        state, _ = convert.read_safetensors(ROOT / "tests/data/networks/ddpm_plus_vp.safetensors")
        source = self.folder / "state.safetensors"
        self.assertRegex(self.convert(ROOT / "tests/data/networks/ddpm_plus_vp.safetensors", code=1), "--parameterization is needed")
        self.assertRegex(self.convert(ROOT / "tests/data/networks/ddpm_adm_velocity.safetensors", code=1), "--size is needed")
        convert.write_safetensors(source, {k: v for k, v in state.items() if k != "enc.4x4_down.conv1.bias"}, {})
        self.assertRegex(self.convert(source, *STATES["ddpm_plus_vp"], code=1), "no tensor enc.4x4_down.conv1.bias")
        convert.write_safetensors(source, {**state, "more.weight": np.zeros(3, np.float32)}, {})
        self.assertRegex(self.convert(source, *STATES["ddpm_plus_vp"], code=1), "unexpected tensors: more.weight")
        convert.write_safetensors(source, {"weight": np.zeros(3, np.float32)}, {})
        self.assertRegex(self.convert(source, code=1), "neither a network of EDM nor of guided-diffusion")
        self.convert(ROOT / "tests/data/networks/ddpm_plus_vp.safetensors", *STATES["ddpm_plus_vp"])
        tensors, metadata = convert.read_safetensors(self.folder / "prior.safetensors")
        for key in ("diem.xxh64", "diem.xxh64.metadata"):
            metadata.pop(key, None)
        tensors["average/stem.bias"] = np.zeros(7, np.float32)
        convert.write_safetensors(self.folder / "prior.safetensors", tensors, metadata)
        done = self.run_program("sample", self.folder / "prior.safetensors", "--out", self.folder / "none")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r'tensor "average/stem.bias" has shape \[7\], expected \[8\]')


if __name__ == "__main__":
    unittest.main()
