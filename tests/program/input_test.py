# SPDX-License-Identifier: Apache-2.0
"""Absurd input ends in one line that names option, file or key; nonsense is no success."""

import json
import pathlib
import unittest

from support import Case, load, normal, save

SETTINGS = pathlib.Path(__file__).parents[2] / "docs/settings.md"

HUGE = "1" * 310
COUNTS = ("288230376151711744", "9223372036854775807", "18446744073709551615", HUGE, "-1", "0", "1e3", "nan", "")


class Absurd(Case):
    SAMPLE = ("sample", "run/prior.safetensors", "--out", "bad")
    POSTERIOR = ("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "data/operator.json", "--out", "bad")
    OBSERVE = ("observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "bad")

    def refused(self, pattern, **changes):
        """A configuration."""
        self.configure(self.folder / "wrong.json", **changes)
        self.fails(pattern, "fit", "wrong.json", "--out", "bad")

    def operator_refused(self, pattern, text):
        self.write("wrong.json", text)
        self.fails(pattern, "observe", "x.npy", "--operator", "wrong.json", "--sigma-y", "0.1", "--out", "bad")

    def test_counts_on_the_command_line(self):
        for count in COUNTS:
            for option in ("--count", "--steps", "--batch"):
                self.fails(option, *self.SAMPLE, f"{option}={count}", code=2)
            self.fails("--samples", *self.POSTERIOR, "--sigma-y", "0.1", f"--samples={count}", code=2)
            self.fails("--count", *self.OBSERVE, f"--count={count}", code=2)
        for threads in ("1000000", "-1", HUGE):
            self.fails("--threads", *self.SAMPLE, f"--threads={threads}", code=2)
        self.fails("--image", *self.SAMPLE, "--image", "4294967296", "4294967296", "16", code=2)
        self.fails("image shape", *self.SAMPLE, "--image", "1048576", "1048576", "1048576")
        self.fails("--count 4294967295,.*needs .* GiB of memory, there are .* GiB; .*samples", *self.SAMPLE, "--count",
                   "4294967295")
        self.fails("--samples 4294967295 .*needs .* GiB", *self.POSTERIOR, "--sigma-y", "0.1", "--samples", "4294967295")

    def test_numbers_on_the_command_line(self):
        for number in ("nan", "-1", "inf", "1e400", HUGE, ""):
            for option in ("--memory-limit", "--save-every", "--rank-deadline"):
                self.fails(option, "fit", "fit.json", "--out", "bad", f"{option}={number}", code=2)
            for option in ("--data-range", "--regularization"):
                self.fails(option, "evaluate", "x.npy", "x.npy", "--json", "bad", f"{option}={number}", code=2)
            for option in ("--threshold", "--crop"):
                self.fails(option, "mri", "maps", "x.npy", "--out", "bad", f"{option}={number}", code=2)
        for seed in ("nan", "x", "", "-1", "1.5", "18446744073709551616", "1" * 310):
            self.fails("--seed", *self.SAMPLE, f"--seed={seed}", code=2)
        for low, high in (("nan", 1), (0, "nan"), ("-inf", 1), (1, 1), (2, 1), ("-1e308", "1e308")):
            self.fails("--range", "convert", "x.npy", "bad/x.png", "--range", low, high)

    def test_every_setting(self):
        """Of each line of docs/settings.md: what is out of its range, or no number, names the key; what is not must not end the program
        in another way than with a line."""
        lines = [line.split("|") for line in SETTINGS.read_text().splitlines() if line.startswith("| `")]
        keys = {cells[1].strip().strip("`"): cells[2].strip() for cells in lines}
        self.assertGreater(len(keys), 60)
        mlp = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        for key, values in keys.items():
            for value in ((1 << 64) - 1, -(1 << 62), 1e300, 1e-300, "x", [1], None):
                for one in key.split(" or "):
                    path = key.split(" or ")[0].split(".")[:-1] + [one.split(".")[-1]]
                    content = value
                    for part in reversed(path):
                        content = {part: content}
                    self.configure(self.folder / "wrong.json", network=mlp, **content)
                    done = self.run_program("fit", "wrong.json", "--out", "bad", "--plan", cwd=self.folder)
                    what = f"{'.'.join(path)} = {value}: {done.returncode} {done.stderr}"
                    self.assertIn(done.returncode, (0, 1), what)
                    said = [line for line in done.stderr.splitlines() if line.startswith("diem: ") and "warning" not in line]
                    self.assertEqual(len(said), done.returncode, what)
                    if done.returncode == 0:
                        self.assertIsInstance(value, (int, float), what)
                    elif not isinstance(value, (int, float)) or "at most" in values:
                        self.assertIn(path[-1], said[0], what)
        self.assertFalse((self.folder / "bad").exists())

    def test_mixtures(self):
        mlp = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        em = {"laps": 1, "sampler": {"steps": 4}, "training": {"steps": 4}}
        self.refused('"em": .*components is 100000, expected at most the number of observations', network=mlp,
                     em=em | {"mixture": {"components": 100000}})
        self.refused('"em": .*mixture.*initial_e_step', network=mlp,
                     em=em | {"mixture": {"components": 2}, "initial_e_step": "diffusion"})
        self.configure(self.folder / "mixture.json", network=mlp, em=em | {"mixture": {"components": 2, "laps": 2}})
        done = self.succeeds("fit", "mixture.json", "--out", "mixture")
        self.assertRegex(done.stdout + done.stderr, "mixture EM .*2/2")
        self.configure(self.folder / "mixture.json", network=mlp, em=em | {"mixture": {"components": 40}})
        self.fails('"em.mixture" needs about .*--memory-limit', "fit", "mixture.json", "--out", "bad", "--memory-limit", "0.00008")

    def test_operators_on_images(self):
        shape = {"shape": [4, 4, 1]}
        far = (1 << 62, -(1 << 62), 1 << 32, (1 << 63) - 1)
        for n in far:
            self.operator_refused("\"shape\"", {"type": "differences", "shape": [n, 4, 1]})
            self.operator_refused("\"stride\"", {"type": "downsample", **shape, "stride": [n, 1]})
            for key in ("top", "left"):
                self.operator_refused(f"\"{key}\"", {"type": "window", **shape, key: n, "size": [2, 2]})
            self.operator_refused("\"size\"", {"type": "window", **shape, "size": [n, 2]})
            self.operator_refused("\"angles\"", {"type": "radon", **shape, "angles": n})
            self.operator_refused("\"detectors\"", {"type": "radon", **shape, "angles": 2, "detectors": n})
        for number in (1e300, -1, 0):
            self.operator_refused("\"gaussian\"", {"type": "blur", **shape, "gaussian": number})
            self.operator_refused("\"motion\"", {"type": "blur", **shape, "motion": [number, 0]})
        self.operator_refused("more than 4294967296 values", {"type": "differences", "shape": [1 << 20, 1 << 20, 1]})
        self.operator_refused("more than 4294967296 values",
                              {"type": "stack", **shape, "parts": [{"type": "window", "size": [1 << 20, 1 << 11]}] * 4})
        self.operator_refused("takes 1073741824 values, items of x.npy have 16",
                              {"type": "differences", "shape": [1 << 15, 1 << 15, 1]})

    def test_files_larger_than_memory(self):
        """4 TiB without a byte on the disk: named before they are read."""
        head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 1048576), }".ljust(117) + "\n"
        for kind, what in (("<f4", "large.npy"), ("<c8", "k.npy")):
            path = self.folder / what
            path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.replace("<f4", kind).encode())
            try:
                with open(path, "r+b") as file:
                    file.truncate(128 + (1 << 40) * (4 if kind == "<f4" else 8))
            except OSError as error:
                self.skipTest(f"no files of 4 TiB here: {error}")
        fits = "large.npy: reading it needs .* GiB of memory, there are .* GiB"
        self.configure(self.folder / "large.json", observations="large.npy", operator={"type": "identity"})
        for command in (("observe", "large.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "bad"),
                        ("fit", "large.json", "--out", "bad"), ("evaluate", "large.npy", "x.npy"), ("evaluate", "x.npy", "large.npy"),
                        ("convert", "large.npy", "bad/x.npy")):
            self.fails(fits, *command)
        self.fails("--scratch .: samples need about .* GiB, there are", "fit", "large.json", "--out", "bad", "--scratch", ".")
        self.fails("k.npy: reading it needs .* GiB of memory", "mri", "info", "k.npy")
        for text in ({"type": "mask", "values": "large.npy"}, {"type": "dense", "matrix": "large.npy"}):
            self.operator_refused(fits, text)

    def test_arrays_without_values(self):
        for shape in ([0, 4, 4], [0], [40, 0]):
            save(self.folder / "none.npy", shape, [])
            self.fails("none.npy", "observe", "none.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "bad")
            self.fails("none.npy", "evaluate", "none.npy", "x.npy")
            self.fails("none.npy", "evaluate", "x.npy", "none.npy")
            self.write("own.json", {"type": "identity"})
            self.fails("none.npy", "posterior", "run/prior.safetensors", "none.npy", "--operator", "own.json", "--sigma-y", "0.1",
                       "--out", "bad")

    def test_items_of_a_truth(self):
        for first in ("9223372036854775807", "40", "41"):
            self.fails("--first .* has 40 items", *self.OBSERVE, "--first", first)
            self.fails("--first .* has 40 items", *self.OBSERVE, "--first", first, "--count", "1")
        self.fails("--first 39 --count 2: x.npy has 40 items", *self.OBSERVE, "--first", "39", "--count", "2")
        self.fails("--first", *self.OBSERVE, "--first", "-1", code=2)
        self.succeeds(*self.OBSERVE[:-1], "last", "--first", "39")

    def test_ranges(self):
        for low, high in ((1, 0), (0, 0), ("nan", 1), (0, "inf"), ("-1e308", "1e308"), (0, "1e-300")):
            self.fails("--range", *self.OBSERVE, "--range", low, high)
        self.fails("--range", *self.OBSERVE, "--range", 0, HUGE)

    def test_noise(self):
        for sigma in ("", "1e-30", "1e30", "0", "-1", "nan", "inf", "1e400", "1e-400", HUGE):
            given = [f"--sigma-y={sigma}"] if sigma else ["--sigma-y", ""]
            self.fails("--sigma-y: is ", *self.POSTERIOR, *given)
        self.fails("--sigma-y: 0,1: no such file", *self.POSTERIOR, "--sigma-y=0,1")
        self.fails("--sigma-y: data/y.npy: 640 values of sigma_y", *self.POSTERIOR, "--sigma-y=data/y.npy")
        save(self.folder / "sigma.npy", [16], [1e-30] * 16)
        self.fails("--sigma-y: sigma.npy: value 0 is", *self.POSTERIOR, "--sigma-y=sigma.npy")
        for sigma in ("", 1e-30, 0, -1, None, [0.1]):
            self.refused("wrong.json: \"sigma_y\"", sigma_y=sigma)

    def test_operators(self):
        for rows in (1 << 62, 9223372036854775807, 288230376151711744, 0, -1):
            self.operator_refused("wrong.json: \"rows\"", {"type": "dense", "rows": rows})
        save(self.folder / "x.npy", [40, 4096], [0] * 163840)
        self.operator_refused("wrong.json: \"rows\": .* needs .* GiB of memory, there are .* GiB; fewer rows",
                              {"type": "dense", "rows": 1 << 20})
        for channels in (1 << 62, 0, -3):
            self.operator_refused("wrong.json: \"channels\"", {"type": "mask", "keep": 0.5, "channels": channels})
        for shape in ([1 << 32, 1 << 32, 1], [1 << 31, 1 << 31, 4], [1 << 62, 1, 4], [4, 4, 0], [4, 4]):
            self.operator_refused("wrong.json: \"shape\"", {"type": "averaging", "shape": shape, "block": 1})
        self.operator_refused("wrong.json: averaging gives", {"type": "averaging", "shape": [1 << 20, 1 << 20, 1 << 20],
                                                              "block": 1})
        for block in (0, 3, 1 << 62):
            self.operator_refused("wrong.json: \"block\"", {"type": "averaging", "shape": [4, 4, 1], "block": block})
        self.operator_refused("wrong.json: \"values\"", {"type": "mask", "values": ""})
        self.operator_refused("wrong.json: \"layout\"", {"type": "identity", "layout": "sideways"})
        self.operator_refused("wrong.json: \"mask\"", {"type": "identity", "mask": "m.npy"})

    def test_numbers_of_310_digits_name_their_key(self):
        self.write("wrong.json", '{"observations": "data/y.npy", "operator": "data/operator.json", "sigma_y": 0.1, '
                                 f'"gaussian": {{"rank": {HUGE}}}}}')
        self.fails("wrong.json.*rank", "fit", "wrong.json", "--out", "bad")
        self.operator_refused("wrong.json.*rows", f'{{"type": "dense", "rows": {HUGE}}}')

    def test_configurations(self):
        mlp = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        unet = {"type": "unet", "shape": [4, 4, 1], "hid_channels": [4], "hid_blocks": [1], "emb": 8}
        near = (1 << 62) - 1
        for wrapped in ((1 << 64) - 1, (1 << 63) + 16):
            self.refused("holds .*, expected at most", network={**mlp, "hidden": [wrapped]})
        self.refused("wrong.json: \"pictures\"", pictures=288230376151711744)
        for value in (1 << 62, 288230376151711744, -1, 0):
            self.refused("wrong.json: \"em.sampler.samples_per_observation\"", network=mlp,
                         em={"sampler": {"samples_per_observation": value}})
        for key in ("laps", "rank", "batch"):
            self.refused(f"wrong.json: \"gaussian.{key}\"", gaussian={key: 1 << 62})
        for key, value in (("emb", 5), ("emb", near), ("hidden", [near]), ("hidden", [0]), ("features", near)):
            self.refused(f"wrong.json: \"network\".*{key}|wrong.json: \"network.{key}\"", network={**mlp, key: value})
        for key, value in (("emb", 5), ("hid_channels", [near]), ("hid_blocks", [near]), ("shape", [near, 4, 1])):
            self.refused(f"wrong.json: \"network\".*{key}|wrong.json: \"network.{key}\"", network={**unet, key: value})


    def test_settings_that_contradict_each_other_name_their_key(self):
        mlp = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        self.refused("wrong.json: \"gaussian.sampler\": .*sigma_min", gaussian={"e_step": "diffusion", "sampler": {"sigma_min": 300}})
        for em in ({"low": 4, "high": -4}, {"sampler": {"sigma_min": 30}}, {"training": {"batch": 4, "parts": 8}},
                   {"training": {"steps": 5, "ema_decay": 0.99999, "ema_warmup": False}}):
            self.refused("wrong.json: \"em\": ", network=mlp, em=em)


class Nonsense(Case):
    POSTERIOR = ("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "own.json", "--sigma-y", "0.1", "--out")

    def test_a_mask_that_hides_everything(self):
        save(self.folder / "m.npy", [4, 4], [0] * 16)
        self.write("own.json", {"type": "mask", "values": "m.npy"})
        self.fails("data/y.npy: the mask hides every value", *self.POSTERIOR, "bad")
        self.configure(self.folder / "own_fit.json", operator="own.json")
        self.fails("hides every value", "fit", "own_fit.json", "--out", "bad")

    def test_an_operator_that_is_zero(self):
        save(self.folder / "a.npy", [3, 16], [0] * 48)
        save(self.folder / "y.npy", [5, 3], [1] * 15)
        self.write("own.json", {"type": "dense", "matrix": "a.npy"})
        self.fails("own.json: the operator is zero for every item", "posterior", "run/prior.safetensors", "y.npy",
                   "--operator", "own.json", "--sigma-y", "0.1", "--out", "bad")
        self.configure(self.folder / "own_fit.json", observations="y.npy", operator="own.json")
        self.fails("zero for every item", "fit", "own_fit.json", "--out", "bad")

    def test_what_was_never_seen_is_said(self):
        seen = [1] * 640
        seen[:32] = [0] * 32  # two items
        seen[3::16] = [0] * 40  # a pixel of every item
        save(self.folder / "m.npy", [40, 4, 4], seen)
        self.write("own.json", {"type": "mask", "values": "m.npy"})
        self.succeeds(*self.POSTERIOR, "out", warns=r"5.0 % \(2 of 40\) of the items")
        self.configure(self.folder / "own_fit.json", operator="own.json")
        self.succeeds("fit", "own_fit.json", "--out", "fitted", warns=r"6.2 % \(1 of 16\) of the pixels .* never seen")

    def test_weights_that_are_no_numbers(self):
        data = (self.folder / "run/prior.safetensors").read_bytes()
        (self.folder / "nan.safetensors").write_bytes(data[:-4] + b"\x00\x00\xc0\x7f")
        for command in (("sample", "nan.safetensors"), ("posterior", "nan.safetensors", "data/y.npy", "--operator",
                                                        "data/operator.json", "--sigma-y", "0.1")):
            self.fails("nan.safetensors", *command, "--out", "bad")

    def test_samples_that_do_not_fit_the_data(self):
        save(self.folder / "a.npy", [2, 16], [1e15 * v for v in normal(32)])
        save(self.folder / "y.npy", [5, 2], normal(10))
        self.write("own.json", {"type": "dense", "matrix": "a.npy"})
        done = self.run_program("posterior", "run/prior.safetensors", "y.npy", "--operator", "own.json", "--sigma-y", "0.1",
                                "--out", "out", cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "do not fit the data|not finite")
        self.write("own.json", {"type": "identity"})
        save(self.folder / "y.npy", [5, 16], [1e4 * v for v in normal(80)])  # far from the prior
        done = self.run_program("posterior", "run/prior.safetensors", "y.npy", "--operator", "own.json", "--sigma-y", "10",
                                "--out", "out", cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "do not fit the data")
        ok = self.succeeds("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "data/operator.json",
                           "--sigma-y", "0.1", "--out", "good")
        self.assertRegex(ok.stdout, "samples fit the data")

    def test_figures_of_values_beyond_all_ranges(self):
        for scale in (1e15, 1e20, 1e30):
            save(self.folder / "a.npy", [20, 3], [scale * v for v in normal(60, 1)])
            save(self.folder / "b.npy", [20, 3], [scale * v for v in normal(60, 2)])
            self.fails("a.npy: values up to .*--data-range", "evaluate", "a.npy", "b.npy", "--json", "bad")
        save(self.folder / "a.npy", [20, 3], normal(60, 1))
        self.fails("--regularization", "evaluate", "a.npy", "a.npy", "--regularization", "1e-15", "--json", "bad")
        save(self.folder / "a.npy", [20, 3], [100 * v for v in normal(60, 1)])
        self.succeeds("evaluate", "a.npy", "a.npy", warns="--data-range")
        save(self.folder / "nan.npy", [20, 3], [float("nan")] * 60)
        self.fails("nan.npy: value 0 of item 0 is not finite", "evaluate", "nan.npy", "a.npy")


class Layout(Case):
    @classmethod
    def make_shared(cls):
        """One scene of 4 x 5 pixels with 3 channels, with its channels last and first."""
        cls.n, cls.h, cls.w, cls.c = 30, 4, 5, 3
        last = [0.5 * v for v in normal(cls.n * cls.h * cls.w * cls.c)]
        pixels = cls.h * cls.w
        first = [last[(i * pixels + p) * cls.c + k] for i in range(cls.n) for k in range(cls.c) for p in range(pixels)]
        masks = [1 if v > 0 else 0 for v in normal(cls.n * pixels, 3)]
        save(cls.home / "last.npy", [cls.n, cls.h, cls.w, cls.c], last)
        save(cls.home / "first.npy", [cls.n, cls.c, cls.h, cls.w], first)
        save(cls.home / "m.npy", [cls.n, cls.h, cls.w], masks)
        (cls.home / "op.json").write_text(json.dumps({"type": "mask", "values": "m.npy", "channels": 3}))
        (cls.home / "op_first.json").write_text(
            json.dumps({"type": "mask", "values": "m.npy", "channels": 3, "layout": "channels_first"}))
        cls.configure(cls.home / "fit.json", observations="last.npy", operator="op.json")
        cls.must("fit", "fit.json", "--out", "run", cwd=cls.home)

    def posterior(self, y, operator, out):
        return ("posterior", "run/prior.safetensors", y, "--operator", operator, "--sigma-y", "0.1", "--out", out)

    def test_channels_first_without_saying_so_is_refused(self):
        self.fails("m.npy: masks of shape .30, 4, 5. with 3 channels do not fit first.npy of shape .30, 3, 4, 5.: the last "
                   "axis of y must be the channels.*\"layout\": \"channels_first\"", *self.posterior("first.npy", "op.json",
                                                                                                    "bad"))
        self.configure(self.folder / "wrong.json", observations="first.npy", operator="op.json")
        self.fails("\"layout\": \"channels_first\"", "fit", "wrong.json", "--out", "bad")
        save(self.folder / "turned.npy", [self.n, self.w, self.h, self.c], load(self.folder / "last.npy")[1])
        self.fails("the axes before it those of the mask", *self.posterior("turned.npy", "op.json", "bad"))

    def test_channels_first_is_the_same_scene(self):
        self.succeeds(*self.posterior("last.npy", "op.json", "a"))
        self.succeeds(*self.posterior("first.npy", "op_first.json", "b"))
        self.assertEqual(load(self.folder / "a/samples.npy"), load(self.folder / "b/samples.npy"))
        save(self.folder / "all.npy", [self.n, self.c, self.h, self.w],
             [load(self.folder / "m.npy")[1][(i * self.h * self.w) + p] for i in range(self.n) for k in range(self.c)
              for p in range(self.h * self.w)])
        self.write("all.json", {"type": "mask", "values": "all.npy", "layout": "channels_first"})
        self.succeeds(*self.posterior("first.npy", "all.json", "d"))
        self.assertEqual(load(self.folder / "a/samples.npy"), load(self.folder / "d/samples.npy"))
        self.succeeds("evaluate", "last.npy", "first.npy", "--layout", "channels_first")
        done = self.succeeds("evaluate", "a/samples.npy", "first.npy", "--layout", "channels_first", "--json", "f.json")
        self.succeeds("evaluate", "a/samples.npy", "last.npy", "--json", "l.json")
        one, other = (json.loads((self.folder / n).read_text()) for n in ("f.json", "l.json"))
        self.assertEqual(one["psnr_sample_db"], other["psnr_sample_db"])

    def test_observe_with_channels_first(self):
        for y, operator, out in (("last.npy", "op.json", "a"), ("first.npy", "op_first.json", "b")):
            self.succeeds("observe", y, "--operator", operator, "--sigma-y", "0.1", "--out", out)
        for name in ("y.npy", "truth.npy"):
            self.assertEqual(load(self.folder / "a" / name), load(self.folder / "b" / name))
        self.assertNotIn("layout", json.loads((self.folder / "b/operator.json").read_text()))
        self.write("keep.json", {"type": "mask", "keep": 0.5, "channels": 3})
        self.fails("\"channels\".*channels_first", "observe", "first.npy", "--operator", "keep.json", "--sigma-y", "0.1",
                   "--out", "bad")

    def test_fit_with_channels_first(self):
        for name, y, operator, layout in (("c", "first.npy", "op_first.json", None),
                                          ("d", "first.npy", "op.json", "channels_first")):
            self.configure(self.folder / f"{name}.json", observations=y, operator=operator, layout=layout)
            self.succeeds("fit", f"{name}.json", "--out", name)
            self.succeeds("sample", f"{name}/prior.safetensors", "--count", "3", "--out", f"{name}s")
        self.succeeds("sample", "run/prior.safetensors", "--count", "3", "--out", "s")
        for name in ("c", "d"):
            self.assertEqual(load(self.folder / "s/samples.npy"), load(self.folder / f"{name}s/samples.npy"))

    def test_nan_is_not_seen(self):
        shape, y = load(self.folder / "last.npy")
        masks = load(self.folder / "m.npy")[1]
        holes = [v if masks[k // 3] else float("nan") for k, v in enumerate(y)]
        save(self.folder / "holes.npy", shape, holes)
        self.succeeds(*self.posterior("last.npy", "op.json", "a"))
        for k, text in enumerate(({"type": "identity", "mask": "nan"}, {"type": "mask", "values": "nan"},
                                  {"type": "mask", "mask": "nan"})):
            self.write("nan.json", text)
            self.succeeds(*self.posterior("holes.npy", "nan.json", f"b{k}"))
            self.assertEqual(load(self.folder / "a/samples.npy"), load(self.folder / f"b{k}/samples.npy"))
        # Beside a mask that holds less.
        save(self.folder / "ones.npy", [4, 5], [1] * 20)
        self.write("both.json", {"type": "mask", "values": "ones.npy", "channels": 3, "mask": "nan"})
        self.succeeds(*self.posterior("holes.npy", "both.json", "c"))
        self.assertEqual(load(self.folder / "a/samples.npy"), load(self.folder / "c/samples.npy"))
        self.write("plain.json", {"type": "identity"})
        self.fails("holes.npy: value .* is not finite; where NaN means not seen, .*\"mask\": \"nan\"",
                   *self.posterior("holes.npy", "plain.json", "bad"))
        for mask in ({"operator": {"type": "identity"}, "mask": "nan"}, {"operator": None, "mask": "nan"}):
            self.configure(self.folder / "own.json", observations="holes.npy", **mask)
            self.succeeds("fit", "own.json", "--out", "fitted", "--overwrite")
        save(self.folder / "none.npy", shape, [float("nan")] * len(y))
        self.write("nan.json", {"type": "identity", "mask": "nan"})
        self.fails("hides every value", *self.posterior("none.npy", "nan.json", "bad"))


if __name__ == "__main__":
    unittest.main()
