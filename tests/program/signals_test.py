# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and SIGHUP save what there is and end with 130, 143 and 129; what was ignored stays ignored."""

import signal
import subprocess
import time
import unittest

from support import MLP, Case, load

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LONG = 1000000


class Signals(Case):
    def there(self, name):
        return lambda: (self.folder / name).exists()

    def stage(self, name, saved, begun, **config):
        self.configure(self.folder / "long.json", **config)
        for request, status in STATUS.items():
            out = f"{name}_{status}"
            code, said = self.interrupted(request, self.there(f"{out}/{begun}"), "fit", "long.json", "--out", out)
            self.assertEqual(code, status, said)
            self.assertTrue((self.folder / out / saved).exists(), said)
            self.assertEqual(list((self.folder / out).glob("**/*.tmp-*")), [])
        self.must("info", f"{out}/{saved}", cwd=self.folder)

    def test_gaussian_stage(self):
        self.stage("gaussian", "gaussian.safetensors", "observed.png", gaussian={"rank": 2, "laps": LONG})

    def test_samples_of_a_lap(self):
        self.stage("sampling", "checkpoint/run.safetensors", "samples_gaussian.png", network=MLP,
                   em={"sampler": {"samples_per_observation": 20000, "steps": 16}})

    def test_training(self):
        self.stage("training", "checkpoint/run.safetensors", "samples_gaussian.png", network=MLP,
                   em={"sampler": {"steps": 4}, "training": {"steps": LONG, "batch": 8}})

    def network(self):
        """A prior that needs a sampler."""
        self.configure(self.folder / "net.json", network=MLP,
                       em={"laps": 1, "sampler": {"steps": 8}, "training": {"steps": 200, "batch": 16}})
        self.run_program("fit", "net.json", "--out", "net", cwd=self.folder)
        prior = "net/checkpoint/prior_0.safetensors"
        self.assertTrue((self.folder / prior).exists())
        return prior

    def test_samples(self):
        prior = self.network()
        for request, status in STATUS.items():
            code, said = self.interrupted(request, self.there(f"s{status}"), "sample", prior, "--count", LONG, "--steps",
                                          "4", "--batch", "100", "--out", f"s{status}")
            self.assertEqual(code, status, said)
            self.assertRegex(said, f"s{status}/samples.npy holds .* of {LONG} samples")
            shape, _ = load(self.folder / f"s{status}/samples.npy")
            self.assertEqual(shape[0] % 100, 0)
        self.succeeds("sample", prior, "--count", shape[0], "--steps", "4", "--batch", "100", "--out", "whole")
        self.assertEqual(load(self.folder / "whole/samples.npy"), load(self.folder / f"s{status}/samples.npy"))

    def test_posterior_samples(self):
        self.write("average.json", {"type": "averaging", "shape": [4, 4, 1], "block": 2})
        self.must("observe", "x.npy", "--operator", "average.json", "--sigma-y", "0.1", "--out", "small", cwd=self.folder)
        common = ("posterior", "run/prior.safetensors", "small/y.npy", "--operator", "average.json", "--sigma-y", "0.1")
        for request, status in STATUS.items():
            code, said = self.interrupted(request, self.there(f"p{status}"), *common, "--samples", "50000", "--out",
                                          f"p{status}")
            self.assertEqual(code, status, said)
            self.assertRegex(said, "stopped by a signal")
            shape, values = load(self.folder / f"p{status}/samples.npy")
            self.assertEqual((shape[0], shape[2:]), (40, [4, 4, 1]))
            self.assertTrue(all(v == v for v in values))
        self.succeeds(*common, "--samples", shape[1], "--out", "whole")
        self.assertEqual(load(self.folder / "whole/samples.npy"), (shape, values))

    def test_exact_draws(self):
        """Of a Gaussian prior and a mask: whole rounds over the observations."""
        for request, status in STATUS.items():
            code, said = self.interrupted(request, self.there(f"e{status}"), "posterior", "run/prior.safetensors", "data/y.npy", "--operator",
                                          "data/operator.json", "--sigma-y", "0.1", "--samples", "100000", "--out", f"e{status}")
            self.assertEqual(code, status, said)
            self.assertRegex(said, "stopped by a signal")
            shape, values = load(self.folder / f"e{status}/samples.npy")
            self.assertEqual(shape[0], 40)
            self.assertLess(shape[1], 100000)
            self.assertTrue(all(v == v for v in values))

    def test_an_e_step_whose_batch_takes_long(self):
        """A million steps of the sampler: the step is finished, and what is whole is saved."""
        network = {"type": "mlp", "features": 16, "hidden": [32], "emb": 8}
        for name, changes in (("network", {"network": network, "em": {"sampler": {"steps": 1000000}}}),
                              ("gaussian", {"gaussian": {"e_step": "diffusion", "sampler": {"steps": 1000000}}})):
            self.configure(self.folder / f"{name}.json", **changes)
            there = self.there(f"{name}/gaussian.safetensors" if name == "network" else f"{name}/observed.png")
            code, said = self.interrupted(signal.SIGTERM, there, "fit", f"{name}.json", "--out", name)
            self.assertEqual(code, 143, said)

    def test_a_batch_that_takes_long(self):
        """A signal ends it after the step: a million steps of one batch would take minutes."""
        self.write("average.json", {"type": "averaging", "shape": [4, 4, 1], "block": 2})
        self.must("observe", "x.npy", "--operator", "average.json", "--sigma-y", "0.1", "--out", "small", cwd=self.folder)
        code, said = self.interrupted(signal.SIGTERM, self.there("p"), "posterior", self.network(), "small/y.npy",
                                      "--operator", "average.json", "--sigma-y", "0.1", "--steps", "1000000", "--batch",
                                      "40", "--out", "p")
        self.assertEqual(code, 143, said)
        self.assertRegex(said, "stopped by a signal; nothing was drawn yet")
        self.assertFalse((self.folder / "p/samples.npy").exists())

    def test_what_is_ignored_stays_ignored(self):
        self.configure(self.folder / "long.json", gaussian={"rank": 2, "laps": 40000})
        for name, before in (("int", "trap '' INT;"), ("hup", "trap '' HUP;")):
            request = signal.SIGINT if name == "int" else signal.SIGHUP
            code, said = self.interrupted(request, self.there(f"{name}/observed.png"), "fit", "long.json", "--out", name,
                                          before=before)
            self.assertEqual(code, 0, said)
            self.assertTrue((self.folder / name / "prior.safetensors").exists())


if __name__ == "__main__":
    unittest.main()
