# SPDX-License-Identifier: Apache-2.0
"""What the program says and writes: for people, for machines, in the user's units; one process at a time in a folder."""

import fcntl
import json
import math
import random
import subprocess
import unittest

from support import MLP, Case, load, normal, save


class Talk(Case):
    SAMPLE = ("sample", "run/prior.safetensors", "--count", "3", "--out", "drawn")

    def test_version_and_doctor(self):
        self.assertRegex(self.succeeds("--version").stdout, r"^diem \d+\.\d+\.\d+ \(.*backends: eigen.*\)\n$")
        self.assertRegex(self.succeeds("doctor").stdout, "(?s)threads.*")
        report = json.loads(self.succeeds("doctor", "--json").stdout)
        for key in ("diem", "compiler", "instructions", "processor", "threads", "memory_gib", "libraries", "cuda_devices"):
            self.assertIn(key, report)

    def test_quiet_says_nothing(self):
        for command in (self.SAMPLE, ("--quiet", "evaluate", "x.npy", "x.npy"), ("info", "run/prior.safetensors"),
                        ("fit", "fit.json", "--out", "again")):
            done = self.succeeds(*command, *(() if command[0] == "--quiet" else ("--quiet",)))
            self.assertEqual((done.stdout, done.stderr), ("", ""), command)

    def test_json_is_all_that_is_said(self):
        posterior = ("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "data/operator.json", "--sigma-y",
                     "0.1", "--out", "p", "--json")
        for command, keys in ((self.SAMPLE + ("--json",), ("shape", "complete")), (posterior, ("data_residual", "verdict")),
                              (("evaluate", "x.npy", "x.npy", "--json", "-"), ("frechet",)),
                              (("evaluate", "x.npy", "x.npy", "--json"), ("frechet",)),
                              (("report", "run", "--json"), ("page",)), (("doctor", "--json"), ("threads",)),
                              (("info", "run/prior.safetensors", "--json"), ("kind",)),
                              (("observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "o", "--json"),
                               ("items",)),
                              (("convert", "x.npy", "x.cfl", "--json"), ("out", "shape", "complex")),
                              (("fit", "fit.json", "--out", "f", "--json"), ("status", "noise"))):
            for quiet in ((), ("--quiet",)):
                extra = ("--overwrite",) if command[0] == "fit" else ()
                report = json.loads(self.succeeds(*command, *quiet, *extra).stdout)
                for key in keys:
                    self.assertIn(key, report)

    def test_no_escape_sequences(self):
        done = subprocess.run(["script", "-qec", " ".join(self.command(self.SAMPLE)), "/dev/null"], cwd=self.folder,
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"\r", done.stdout)
        self.assertNotIn(b"\x1b", done.stdout)

    def test_statuses(self):
        self.assertEqual(self.run_program("sample", cwd=self.folder).returncode, 2)
        self.assertEqual(self.run_program("nothing", cwd=self.folder).returncode, 2)
        self.assertEqual(self.run_program("info", "x.npy", cwd=self.folder).returncode, 1)


class HeldOut(Case):
    """Values of y that are kept back from a fit, and the noise that the data look like."""

    def make(self, name, operator, sigma, **more):
        (self.folder / f"{name}_operator.json").write_text(json.dumps(operator))
        self.succeeds("observe", "truth.npy", "--operator", f"{name}_operator.json", "--sigma-y", "0.3", "--out", name)
        self.configure(self.folder / f"{name}.json", observations=f"{name}/y.npy", operator=f"{name}/operator.json",
                       sigma_y=sigma, gaussian={"rank": 2, "laps": 30, "rest": "diagonal"}, **more)

    def fit(self, name, *more):
        done = self.run_program("fit", f"{name}.json", "--out", f"{name}_run", *more, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads((self.folder / f"{name}_run/report.json").read_text()), done.stderr

    def test_values_are_kept_back_and_predicted(self):
        # Half of each item moves as one, the other half hardly.
        values = []
        for shared, rest in zip(normal(400, 1), zip(*[iter(normal(400 * 16, 2))] * 16)):
            values += [shared + 0.3 * v if k < 8 else 0.05 * v for k, v in enumerate(rest)]
        save(self.folder / "truth.npy", [400, 4, 4], values)
        operators = {"mask": {"type": "mask", "keep": 0.6}, "dense": {"type": "dense", "rows": 8},
                     "kspace": {"type": "mri", "mask": {"kind": "random", "acceleration": 2, "centre": 2}}}
        for name, operator in operators.items():
            with self.subTest(name):
                self.make(name, operator, 0.3)
                report, said = self.fit(name, "--held-out", "0.1")
                self.assertNotIn("look as if", said)
                held = report["held_out_values"]
                self.assertGreater(held["kept_back"], 0)
                self.assertEqual((held["known"], held["calibrated"]), (True, True), held)
                self.assertAlmostEqual(sum(held["ranks"]), held["predicted"], 5)
                for level in ("50", "80", "95"):
                    off = abs(held["coverage"][level] - int(level) / 100)
                    self.assertLessEqual(off, max(4 * held["coverage_error"][level], 0.02))
                self.assertIn("held-out measurements: calibrated", held["words"])
                page = (self.folder / f"{name}_run/report.html").read_text()
                for words in ("held-out values: calibrated", "Ranks of held-out values"):
                    self.assertIn(words, page)
        # Twice the noise is noticed, and what is held back is part of the run.
        self.make("mask", operators["mask"], 0.6, held_out=0.1)
        report, said = self.fit("mask", "--overwrite")
        self.assertRegex(said, r"the data look as if sigma_y were at most 0\.[23]\d*, you gave 0\.6\n")
        self.assertTrue(report["noise"]["off"])
        self.assertFalse(report["held_out_values"]["calibrated"])
        self.assertEqual(self.fit("mask", "--resume")[0]["held_out_values"], report["held_out_values"])
        self.fails('made with "held_out": 0.1, now 0.2', "fit", "mask.json", "--out", "mask_run", "--resume", "--held-out", "0.2")
        report, _ = self.fit("mask", "--overwrite", "--held-out", "0")
        self.assertNotIn("held_out_values", report)
        self.assertIn("No values were held out", (self.folder / "mask_run/report.html").read_text())

    def test_what_cannot_be_held_out(self):
        save(self.folder / "truth.npy", [40, 4, 4], normal(640))
        self.make("mask", {"type": "mask", "keep": 0.5}, 0.5, held_out=0.6)
        self.fails('"held_out": is 0.6', "fit", "mask.json", "--out", "r")
        self.make("mask", {"type": "mask", "keep": 0.5}, 0.5, held_out=1e-9)
        self.fails('"held_out" of 1e-09 keeps none', "fit", "mask.json", "--out", "r")
        self.make("blur", {"type": "blur", "shape": [4, 4, 1], "gaussian": 0.5, "border": "circular"}, 0.5, held_out=0.1)
        config = json.loads((self.folder / "blur.json").read_text())
        config["gaussian"] = {"basis": "frequencies", "rest": "diagonal", "e_step": "draws"}
        (self.folder / "blur.json").write_text(json.dumps(config))
        # Without some values there is no closed form any more, and a solve each.
        self.must("fit", "blur.json", "--out", "blurred", cwd=self.folder)


class Results(Case):
    def test_posterior_writes_mean_and_deviation(self):
        self.succeeds("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "data/operator.json", "--sigma-y",
                      "0.1", "--samples", "5", "--out", "p")
        shape, x = load(self.folder / "p/samples.npy")
        self.assertEqual(shape, [40, 5, 4, 4, 1])
        (_, mean), (_, deviation) = load(self.folder / "p/mean.npy"), load(self.folder / "p/std.npy")
        for i in range(40):
            for j in range(16):
                values = [x[(i * 5 + s) * 16 + j] for s in range(5)]
                m = sum(values) / 5
                self.assertLessEqual(abs(mean[i * 16 + j] - m), 1e-6)
                expected = math.sqrt(sum((v - m) ** 2 for v in values) / 4)
                self.assertLessEqual(abs(deviation[i * 16 + j] - expected), 1e-5)
        for name in ("observed", "samples", "mean", "std"):
            self.assertEqual((self.folder / f"p/{name}.png").read_bytes()[:4], b"\x89PNG")

    def test_how_a_prior_draws_is_set(self):
        """--set says again what a checkpoint says of its sampler and solver, for these samples."""
        self.configure(self.folder / "net.json", network=MLP,
                       em={"laps": 1, "sampler": {"steps": 4}, "training": {"steps": 2, "batch": 8}, "guard": {"max_outside_share": 1}})
        self.must("fit", "net.json", "--out", "net", cwd=self.folder)

        def drawn(*how):
            self.must("posterior", "net/prior.safetensors", "data/y.npy", "--operator", "data/operator.json",
                      "--sigma-y", "0.1", "--samples", "1", "--out", "p", *how, cwd=self.folder)
            return load(self.folder / "p/samples.npy")[1]

        self.assertEqual(drawn("--set", "sampler.steps=6"), drawn("--steps", "6"))
        self.assertEqual(drawn("--set", "sampler.steps=4"), drawn())
        exact = drawn("--set", "posterior.covariance=tweedie", "posterior.solver=gmres", "posterior.max_iterations=8")
        self.assertNotEqual(exact, drawn("--set", "posterior.covariance=tweedie"))
        for change, error in (("sampler.nam=ddim", '--set: "sampler.nam": unknown key'),
                              ("posterior.solver=lu", '--set: "posterior.solver": is "lu"'),
                              ("sampler.steps=0", '--set: "sampler.steps": is 0'),
                              ("sampler", "--set: .*expected KEY=VALUE")):
            self.fails(error, "posterior", "net/prior.safetensors", "data/y.npy", "--operator", "data/operator.json",
                       "--sigma-y", "0.1", "--out", "q", "--set", change)

    def test_coverage_of_gaussian_truth(self):
        """Truths N(m, 1) with m known, 9 samples of each: calibrated, too sure, too vague."""
        n, r, d = 60, 9, 17
        draw = random.Random(4)
        centre = [draw.gauss(0, 1) for _ in range(d * n)]
        save(self.folder / "t.npy", [n, d], [c + draw.gauss(0, 1) for c in centre])
        figures = {}
        for spread in (1, 0.5, 2):
            samples = [centre[d * i + j] + spread * draw.gauss(0, 1) for i in range(n) for _ in range(r) for j in range(d)]
            save(self.folder / "s.npy", [n, r, d], samples)
            done = self.succeeds("evaluate", "s.npy", "t.npy", "--coverage", "--json", "f.json")
            self.assertRegex(done.stdout, "(?s)central 80 %.*energy score.*ranks of the truth")
            figures[spread] = json.loads((self.folder / "f.json").read_text())
        for percent in (50, 80, 95):  # 4 standard deviations
            p = percent / 100
            self.assertLessEqual(abs(figures[1][f"coverage_{percent}"] - p), 4 * math.sqrt(p * (1 - p) / (n * d)))
            self.assertLess(figures[0.5][f"coverage_{percent}"], figures[1][f"coverage_{percent}"])
            self.assertGreater(figures[2][f"coverage_{percent}"], figures[1][f"coverage_{percent}"])
        self.assertLess(figures[1]["energy_score"], min(figures[0.5]["energy_score"], figures[2]["energy_score"]))
        self.assertEqual(len(figures[1]["rank_histogram"]), r + 1)
        self.assertAlmostEqual(sum(figures[1]["rank_histogram"]), d * n, places=6)
        self.fails("--coverage: needs two or more samples", "evaluate", "t.npy", "t.npy", "--coverage")
        self.fails("--coverage", "evaluate", "s.npy", "t.npy", "--coverage", "--unpaired")


class Fit(Case):
    def test_scale(self):
        """Data a thousandth as large give the same prior in other units, to the bit where the factor is a power of two."""
        factor = 2.0**-10
        shape, y = load(self.folder / "data/y.npy")
        save(self.folder / "data/small.npy", shape, [factor * v for v in y])
        for name, observations, sigma in (("a", "data/y.npy", 0.1), ("b", "data/small.npy", 0.1 * factor)):
            self.configure(self.folder / f"{name}.json", observations=observations, sigma_y=sigma, scale="auto")
            self.succeeds("fit", f"{name}.json", "--out", name)
            self.succeeds("sample", f"{name}/prior.safetensors", "--count", "50", "--out", f"{name}/s")
            self.succeeds("posterior", f"{name}/prior.safetensors", observations, "--operator", "data/operator.json",
                          "--sigma-y", repr(sigma), "--out", f"{name}/p")
        for file in ("s/samples.npy", "p/samples.npy", "p/mean.npy"):
            one, other = load(self.folder / "a" / file)[1], load(self.folder / "b" / file)[1]
            largest = max(abs(v) for v in one)
            for u, v in zip(one, other):  # sigma_y^2 is rounded to float32
                self.assertLessEqual(abs(factor * u - v), 1e-4 * factor * largest)
        self.configure(self.folder / "c.json", observations="data/small.npy", sigma_y=0.1 * factor)
        self.succeeds("fit", "c.json", "--out", "c", warns="the data's spread is about .*\"scale\": \"auto\"")

    def test_data_of_another_world(self):
        shape, y = load(self.folder / "data/y.npy")
        for factor in (1e-9, 1e9):
            save(self.folder / "data/far.npy", shape, [factor * v for v in y])
            changes = {"observations": "data/far.npy", "sigma_y": 0.1 * factor}
            self.configure(self.folder / "far.json", **changes)
            self.fails("data/far.npy: the data's spread is about .*\"scale\": \"auto\"", "fit", "far.json", "--out", "bad")
            self.configure(self.folder / "far.json", **changes, scale="auto")
            self.succeeds("fit", "far.json", "--out", "far", "--overwrite")
        save(self.folder / "data/far.npy", shape, [0] * len(y))
        self.configure(self.folder / "far.json", observations="data/far.npy")
        self.succeeds("fit", "far.json", "--out", "far", "--overwrite", warns="no more power than the noise")

    def test_other_data_are_not_resumed(self):
        """Equal sizes, other numbers: refused by name; the same numbers in another place go on."""
        self.configure(self.folder / "more.json", gaussian={"rank": 2, "laps": 4})
        seen = list(load(self.folder / "data/masks.npy")[1]).index(1)
        for name in ("y", "masks"):
            shape, values = load(self.folder / f"data/{name}.npy")
            values[seen] = 1 - values[seen]
            save(self.folder / f"data/other_{name}.npy", shape, values)
        self.write("data/other.json", {"type": "mask", "values": "other_masks.npy"})
        more = {"gaussian": {"rank": 2, "laps": 4}}
        for pattern, changes in (("observations|y\\b", {"observations": "data/other_y.npy"}),
                                 ("operator|A\\b", {"operator": "data/other.json"}), ("sigma_y|noise", {"sigma_y": 0.2})):
            self.configure(self.folder / "other.json", **more, **changes)
            before = (self.folder / "run/gaussian.safetensors").read_bytes()
            done = self.run_program("fit", "other.json", "--out", "run", "--resume", cwd=self.folder)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr, pattern)
            self.assertEqual((self.folder / "run/gaussian.safetensors").read_bytes(), before)
        (self.folder / "run").rename(self.folder / "moved")
        (self.folder / "data").rename(self.folder / "elsewhere")
        self.configure(self.folder / "moved.json", **more, observations="elsewhere/y.npy",
                       operator="elsewhere/operator.json")
        self.succeeds("fit", "moved.json", "--out", "moved", "--resume")

    def test_a_network_is_not_forgotten(self):
        """A configuration without it, or without laps of it, does not replace the prior that it made."""
        network = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        em = {"laps": 1, "sampler": {"steps": 4}, "training": {"steps": 20, "batch": 32}, "guard": {"max_outside_share": 1}}
        self.configure(self.folder / "net.json", network=network, em=em)
        self.succeeds("fit", "net.json", "--out", "net")
        before = (self.folder / "net/prior.safetensors").read_bytes()
        self.configure(self.folder / "none.json", network=network, em={**em, "laps": 0})
        for config in ("fit.json", "none.json"):
            self.fails(f"net: the run in it learned a network, and {config} asks for none", "fit", config, "--out", "net", "--resume")
            self.assertEqual((self.folder / "net/prior.safetensors").read_bytes(), before)

    def test_a_spread_beyond_the_sampler_names_its_key(self):
        shape, y = load(self.folder / "data/y.npy")
        save(self.folder / "wide.npy", shape, [100 * v for v in y])
        network = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        self.configure(self.folder / "wide.json", observations="wide.npy", sigma_y=10, network=network)
        self.fails("wide.json: \"em.sampler.sigma_max\": is 20, below the spread of the data.*\"scale\": \"auto\"", "fit", "wide.json",
                   "--out", "wide")

    def test_memory(self):
        save(self.folder / "y.npy", [4, 256], [0.5] * 1024)
        wide = {"observations": "y.npy", "operator": {"type": "identity"}}
        self.configure(self.folder / "wide.json", **wide)
        plan = self.succeeds("fit", "wide.json", "--out", "p", "--plan").stdout
        self.assertRegex(plan, "Gaussian stage: E-step moments, about 0.5 MiB of .* GiB")
        self.assertFalse((self.folder / "p").exists())
        limit = ("--memory-limit", "3e-4")
        plan = self.succeeds("fit", "wide.json", "--out", "p", "--plan", *limit).stdout
        self.assertRegex(plan, "moments would take 0.5 MiB, --memory-limit has 0.3 MiB: going on with the E-step draws")
        self.configure(self.folder / "given.json", **wide, gaussian={"rank": 2, "laps": 2, "e_step": "moments"})
        self.fails("--memory-limit .*; .*\"draws\"", "fit", "given.json", "--out", "bad", *limit)

    def test_one_process_in_a_folder(self):
        self.configure(self.folder / "long.json", gaussian={"rank": 2, "laps": 1000000})
        first = subprocess.Popen(self.command(("fit", "long.json", "--out", "busy")), cwd=self.folder,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (self.folder / "busy/observed.png").exists():
                self.assertIsNone(first.poll())
            for how in ((), ("--resume",), ("--overwrite",)):
                done = self.run_program("fit", "long.json", "--out", "busy", *how, cwd=self.folder)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, f"busy: another process is at work in this folder: process {first.pid}")
        finally:
            first.kill()
            first.wait()
        self.succeeds("fit", "fit.json", "--out", "busy", "--overwrite")

    def test_one_process_in_any_folder_of_results(self):
        operator = ("--operator", "data/operator.json", "--sigma-y", "0.1")
        (self.folder / "busy").mkdir()
        with open(self.folder / "busy/.diem-lock", "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for command in (("sample", "run/prior.safetensors"), ("posterior", "run/prior.safetensors", "data/y.npy", *operator),
                            ("observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1"), ("fit", "fit.json")):
                self.fails("busy: another process is at work in this folder", *command, "--out", "busy")
        self.assertEqual([p.name for p in (self.folder / "busy").iterdir()], [".diem-lock"])
        self.succeeds("sample", "run/prior.safetensors", "--out", "busy")


if __name__ == "__main__":
    unittest.main()
