# SPDX-License-Identifier: Apache-2.0
"""K-space in and out of the program: operator mri, its sizes and masks, results in every format, diem mri."""

import array
import cmath
import json
import math
import pathlib
import unittest

from support import Case, load, normal, save

H, W, COILS, ITEMS = 8, 10, 3, 6


def pairs(values):
    return [part for v in values for part in (v.real, v.imag)]


def save_complex(path, shape, values):
    save(path, shape, pairs(values), "<c8")


def load_complex(path):
    shape, values = load(path, "<c8")
    return shape, [complex(a, b) for a, b in zip(values[::2], values[1::2])]


def save_cfl(path, dimensions, values):
    """BART: the first dimension fastest."""
    pathlib.Path(f"{path}.hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    pathlib.Path(f"{path}.cfl").write_bytes(array.array("f", pairs(values)).tobytes())


def transform(image, height, width):
    """Centred orthonormal Fourier transform, row by row."""
    def axis(n):
        return [[cmath.exp(-2j * math.pi * (k - n // 2) * (x - n // 2) / n) / math.sqrt(n) for x in range(n)] for k in range(n)]
    rows, columns = axis(height), axis(width)
    half = [[sum(columns[k][x] * image[y * width + x] for x in range(width)) for k in range(width)] for y in range(height)]
    return [sum(rows[j][y] * half[y][k] for y in range(height)) for j in range(height) for k in range(width)]


def near(a, b, tolerance):
    return all(abs(x - y) <= tolerance for x, y in zip(a, b)) and len(a) == len(b)


class Mri(Case):
    NOISE = ("--sigma-y", "0.01")

    @classmethod
    def make_shared(cls):
        """Complex images, maps, a prior of them."""
        home = cls.home
        numbers = normal(2 * ITEMS * H * W)
        images = [complex(a, b) for a, b in zip(numbers[::2], numbers[1::2])]
        save_complex(home / "x.npy", [ITEMS, H, W], images)
        # Smooth maps, of norm 1.
        maps = [[cmath.exp(1j * c * x / W) * (1 + 0.5 * math.cos(y / H + c)) for y in range(H) for x in range(W)]
                for c in range(COILS)]
        norms = [math.sqrt(sum(abs(maps[c][p]) ** 2 for c in range(COILS))) for p in range(H * W)]
        cls.maps = [maps[c][p] / norms[p] for c in range(COILS) for p in range(H * W)]
        cls.images = images
        save_complex(home / "maps.npy", [COILS, H, W], cls.maps)
        save(home / "real.npy", [ITEMS, H, W], numbers[:ITEMS * H * W])
        columns = [float(k not in (1, 3, 8)) for k in range(W)]
        save(home / "mask.npy", [W], columns)
        (home / "sense.json").write_text('{"type": "mri", "mask": "mask.npy", "coils": "maps.npy"}')
        (home / "single.json").write_text('{"type": "mri", "mask": "mask.npy"}')
        (home / "id.json").write_text('{"type": "identity"}')
        cls.must("observe", "x.npy", "--operator", "sense.json", *cls.NOISE, "--out", "data", cwd=home)
        cls.must("observe", "real.npy", "--operator", "single.json", *cls.NOISE, "--out", "one", cwd=home)
        for name, x, image in (("run", "x.npy", [H, W, 2]), ("run_real", "real.npy", [H, W, 1])):
            cls.must("observe", x, "--operator", "id.json", *cls.NOISE, "--out", "plain", cwd=home)
            cls.configure(home / "fit.json", observations="plain/y.npy", operator="id.json", sigma_y=0.01, image=image)
            cls.must("fit", "fit.json", "--out", name, cwd=home)

    def posterior(self, y, operator, out, *more, prior="run"):
        ys = y if isinstance(y, list) else [y]
        return ("posterior", f"{prior}/prior.safetensors", *ys, "--operator", operator, *self.NOISE, "--steps", "16",
                "--samples", "2", "--out", out, *more)

    def test_observe_is_the_transform_of_each_coil(self):
        shape, y = load_complex(self.folder / "data/y.npy")
        self.assertEqual(shape, [ITEMS, COILS, H, W])
        for c in range(COILS):
            seen = [self.maps[c * H * W + p] * self.images[p] for p in range(H * W)]
            want = [v if p % W not in (1, 3, 8) else 0 for p, v in enumerate(transform(seen, H, W))]
            self.assertTrue(near(y[c * H * W:(c + 1) * H * W], want, 0.06), c)  # six sigma
        shape, y = load_complex(self.folder / "one/y.npy")
        self.assertEqual(shape, [ITEMS, H, W])

    def test_results_in_every_format(self):
        formats = "npy,cfl" + (",hdf5" if "HDF5" in self.must("convert", "--help", cwd=self.folder).stdout else "")
        self.succeeds(*self.posterior("data/y.npy", "data/operator.json", "a", "--formats", formats))
        shape, samples = load_complex(self.folder / "a/samples.npy")
        self.assertEqual(shape, [ITEMS, 2, H, W])
        _, mean = load_complex(self.folder / "a/mean.npy")
        n = H * W
        for i in range(ITEMS):
            first, second = samples[2 * i * n:(2 * i + 1) * n], samples[(2 * i + 1) * n:(2 * i + 2) * n]
            self.assertTrue(near(mean[i * n:(i + 1) * n], [(a + b) / 2 for a, b in zip(first, second)], 1e-5))
        shape, deviation = load(self.folder / "a/std.npy")
        self.assertEqual(shape, [ITEMS, H, W])
        self.assertAlmostEqual(deviation[0], abs(samples[0] - samples[n]) / math.sqrt(2), places=5)
        self.assertTrue(near(load(self.folder / "a/mean_magnitude.npy")[1], [abs(v) for v in mean], 1e-5))
        # The same images as BART's.
        self.must("convert", "a/mean.cfl", "mean.npy", cwd=self.folder)
        shape, turned = load_complex(self.folder / "mean.npy")
        self.assertEqual((shape[0], shape[-2:]), (ITEMS, [W, H]))
        self.assertEqual([turned[x * H + y] for y in range(H) for x in range(W)], mean[:n])
        self.assertTrue((self.folder / "a/mean.png").exists())
        if "hdf5" in formats:
            self.must("convert", "a/reconstruction.h5::reconstruction", "r.npy", cwd=self.folder)
            self.assertEqual(load(self.folder / "r.npy"), load(self.folder / "a/mean_magnitude.npy"))

    def test_posterior_samples_fit_the_measurement(self):
        done = self.succeeds(*self.posterior("data/y.npy", "data/operator.json", "a", "--json"))
        self.assertEqual(json.loads(done.stdout)["verdict"], "samples fit the data")
        self.assertAlmostEqual(json.loads(done.stdout)["observed_share"], 0.7, places=6)
        done = self.succeeds(*self.posterior("one/y.npy", "one/operator.json", "b", "--json", prior="run_real"))
        self.assertEqual(json.loads(done.stdout)["shape"], [ITEMS, 2, H, W, 1])

    def test_without_a_mask_zeros_say_what_was_measured(self):
        self.write("bare.json", {"type": "mri", "coils": "maps.npy"})
        shape, y = load_complex(self.folder / "data/y.npy")
        hidden = [0 if p % W in (1, 3, 8) else v for p, v in enumerate(y)]
        save_complex(self.folder / "zeros.npy", shape, hidden)
        self.succeeds(*self.posterior("zeros.npy", "bare.json", "a"))
        self.succeeds(*self.posterior("data/y.npy", "data/operator.json", "b"))
        self.assertEqual(load_complex(self.folder / "a/samples.npy"), load_complex(self.folder / "b/samples.npy"))

    def test_bart_files_have_the_readout_first(self):
        """READ is the height: written with dimension 0 fastest, the same samples come out."""
        shape, y = load_complex(self.folder / "data/y.npy")
        n = H * W
        save_cfl(self.folder / "y", [H, W, 1, COILS] + [1] * 9 + [ITEMS],
                 [y[(i * COILS + c) * n + r * W + k] for i in range(ITEMS) for c in range(COILS) for k in range(W)
                  for r in range(H)])
        save_cfl(self.folder / "maps", [H, W, 1, COILS],
                 [self.maps[c * n + r * W + k] for c in range(COILS) for k in range(W) for r in range(H)])
        self.write("bart.json", {"type": "mri", "mask": "mask.npy", "coils": "maps.cfl"})
        self.succeeds(*self.posterior("y.cfl", "bart.json", "a"))
        self.succeeds(*self.posterior("data/y.npy", "data/operator.json", "b"))
        self.assertEqual(load_complex(self.folder / "a/samples.npy"), load_complex(self.folder / "b/samples.npy"))

    def test_several_files_of_several_sizes(self):
        """A k-space twice as high, of the same images with an empty margin, is cropped to the same measurement."""
        shape, y = load_complex(self.folder / "data/y.npy")
        tall = 2 * H
        k = []
        for c in range(COILS):
            image = [0j] * (tall * W)
            for p in range(H * W):
                image[(p // W + H - H // 2) * W + p % W] = self.maps[c * H * W + p] * self.images[p]
            k += transform(image, tall, W)
        save_complex(self.folder / "tall.npy", [1, COILS, tall, W], k)
        save_complex(self.folder / "first.npy", [1, COILS, H, W], y[:COILS * H * W])
        files = ["tall.npy", "first.npy"]
        operator = {"type": "mri", "mask": "mask.npy", "coils": "maps.npy"}
        self.write("a.json", operator)
        self.fails("first.npy: k-space of 8 x 10, tall.npy has 16 x 10; give a.json the \"size\"|maps.npy: maps of",
                   *self.posterior(files, "a.json", "bad"))
        self.write("b.json", {**operator, "size": [H, W]})
        self.fails("\"size\" is 8 x 10, k-space of tall.npy is 16 x 10: say so by \"fit\": \"crop\"",
                   *self.posterior(files, "b.json", "bad"))
        self.write("c.json", {**operator, "size": [H, W], "fit": "crop"})
        done = self.succeeds(*self.posterior(files, "c.json", "a"))
        self.assertIn("tall.npy: the image is cropped from 16 x 10 to 8 x 10", done.stdout)
        # Narrower than the under-sampled k-space: the operator says so, k-space stays whole.
        self.write("d.json", {**operator, "size": [H, W], "fit": "pad"})
        narrow = [v for p, v in enumerate(y[:COILS * H * W]) if 1 <= p % W < 9]
        save_complex(self.folder / "narrow.npy", [1, COILS, H, 8], narrow)
        save(self.folder / "ones.npy", [8], [1.0] * 8)
        save_complex(self.folder / "flat.npy", [COILS, H, 8], [1 / math.sqrt(COILS)] * (COILS * H * 8))
        self.write("d.json", {"type": "mri", "mask": ["mask.npy", "ones.npy"], "coils": ["maps.npy", "flat.npy"],
                              "size": [H, W], "fit": "pad"})
        done = self.run_program(*self.posterior(["first.npy", "narrow.npy"], "d.json", "e"), cwd=self.folder)
        self.assertIn("narrow.npy: the measurement shows the inner 8 x 8 of x, 8 x 10", done.stdout)
        self.assertEqual(load_complex(self.folder / "e/samples.npy")[0], [2, 2, H, W])

    def test_scale(self):
        shape, y = load_complex(self.folder / "data/y.npy")
        save_complex(self.folder / "loud.npy", shape, [1024 * v for v in y])
        common = ("run/prior.safetensors", "--operator", "data/operator.json", "--steps", "16", "--samples", "2")
        self.succeeds("posterior", *common, "loud.npy", "--sigma-y", "10.24", "--scale", "1024", "--out", "a")
        self.succeeds("posterior", *common, "data/y.npy", "--sigma-y", "0.01", "--out", "b")
        got, want = (load_complex(self.folder / f"{f}/mean.npy")[1] for f in "ab")
        self.assertTrue(near(got, [1024 * v for v in want], 1e-2))
        self.fails("--scale: is \"x\"", "posterior", *common, "data/y.npy", "--sigma-y", "0.01", "--scale", "x", "--out", "bad")

    def test_masks_that_are_drawn(self):
        self.write("drawn.json", {"type": "mri", "mask": {"kind": "equispaced", "acceleration": 2, "centre": 2},
                                  "coils": "maps.npy"})
        self.succeeds("observe", "x.npy", "--operator", "drawn.json", *self.NOISE, "--out", "d")
        shape, masks = load(self.folder / "d/masks.npy")
        self.assertEqual(shape, [ITEMS, 1, W])
        self.assertEqual(sum(masks), ITEMS * W / 2)
        self.succeeds(*self.posterior("d/y.npy", "d/operator.json", "a"))
        self.fails("drawn.json: \"mask\" describes masks to be drawn by diem observe",
                   *self.posterior("d/y.npy", "drawn.json", "bad"))

    def test_a_truth_has_one_mask_and_one_file_of_maps(self):
        save(self.folder / "ones.npy", [W], [1.0] * W)
        for key, keys in (("mask", {"mask": ["mask.npy", "ones.npy"], "coils": "maps.npy"}),
                          ("coils", {"mask": "mask.npy", "coils": ["maps.npy", "maps.npy"]})):
            self.write("list.json", {"type": "mri", **keys})
            self.fails(f"list.json: \"{key}\": 2 files for one truth, expected one",
                       "observe", "x.npy", "--operator", "list.json", *self.NOISE, "--out", "bad")
        self.write("list.json", {"type": "mri", "mask": ["mask.npy"], "coils": ["maps.npy"]})
        self.succeeds("observe", "x.npy", "--operator", "list.json", *self.NOISE, "--out", "lists")
        self.assertEqual(load_complex(self.folder / "lists/y.npy"), load_complex(self.folder / "data/y.npy"))

    def test_what_does_not_fit(self):
        def refused(pattern, **keys):
            self.write("wrong.json", {"type": "mri", **keys})
            self.fails(pattern, *self.posterior("data/y.npy", "wrong.json", "bad"))
        maps = {"coils": "maps.npy"}
        save(self.folder / "short.npy", [W - 1], [1.0] * (W - 1))
        save_complex(self.folder / "two.npy", [2, H, W], [1] * (2 * H * W))
        refused("data/y.npy: k-space of 3 coils: wrong.json needs \"coils\"")
        refused("two.npy: maps of .* \\[1, 2, 8, 10\\] do not fit k-space of data/y.npy, 6 slices of 3 coils", coils="two.npy")
        refused("short.npy: masks of .* \\[1, 1, 9\\] do not fit k-space of 6 slices of 8 x 10", mask="short.npy", **maps)
        refused("none.npy: no such file", coils="none.npy")
        refused("real.npy: holds real numbers", coils="real.npy")
        refused("wrong.json: \"size\"", size=[H], **maps)
        refused("wrong.json: \"fit\": needs \"size\"", fit="crop", **maps)
        refused("wrong.json: \"coils\"", coils=3)
        refused("wrong.json: \"mask\"", mask=[], **maps)
        refused("wrong.json: \"maps\": unknown key", maps="maps.npy")
        refused("measured square in the centre of k-space is 1? wide|measured square", coils="espirit")
        self.fails("real.npy: holds real numbers", *self.posterior("real.npy", "sense.json", "bad"))
        self.fails("files of observations, expected one",
                   *self.posterior(["x.npy", "x.npy"], "id.json", "bad"))

    def test_maps_whiten_and_info(self):
        side = 32
        images = []
        for c in range(COILS):  # a smooth body seen by smooth coils
            for y in range(side):
                for x in range(side):
                    u, v = (y - 16) / 10, (x - 16) / 10
                    body = math.exp(-(u * u + v * v) ** 2)
                    images.append(body * cmath.exp(1j * c * v / 3) * (1.2 + math.cos(u + 2 * c)))
        k = []
        noise = normal(2 * COILS * side * side, seed=3)
        for c in range(COILS):
            k += transform(images[c * side * side:(c + 1) * side * side], side, side)
        k = [v + 0.01 * complex(a, b) for v, a, b in zip(k, noise[::2], noise[1::2])]
        save_complex(self.folder / "k.npy", [COILS, side, side], k)
        said = json.loads(self.succeeds("mri", "info", "k.npy", "--json").stdout)
        self.assertEqual([said[key] for key in ("slices", "coils", "height", "width", "calibration")], [1, COILS, side, side, side])
        self.succeeds("mri", "maps", "k.npy", "--out", "m.npy")
        shape, maps = load_complex(self.folder / "m.npy")
        self.assertEqual(shape, [1, COILS, side, side])
        norms = [sum(abs(maps[c * side * side + p]) ** 2 for c in range(COILS)) for p in range(side * side)]
        self.assertTrue(all(abs(n - 1) <= 1e-4 or n == 0 for n in norms))
        centre = 16 * side + 16
        ratio = images[side * side + centre] / images[centre]
        self.assertLessEqual(abs(maps[side * side + centre] / maps[centre] - ratio), 0.05 * abs(ratio))
        save_complex(self.folder / "n.npy", [COILS, 2000], [complex(a, b) * (c + 1) for c in range(COILS) for a, b in
                                                             zip(*[iter(normal(4000, seed=c))] * 2)])
        said = json.loads(self.succeeds("mri", "whiten", "k.npy", "--noise", "n.npy", "--out", "w.cfl", "--json").stdout)
        self.assertAlmostEqual(said["sigma_y"], math.sqrt(0.5), places=6)
        self.assertAlmostEqual(said["sigma_before"], math.sqrt(14 / 3), delta=0.1)
        self.must("mri", "info", "w.cfl", cwd=self.folder)
        self.fails("k.npy: .*\\.npy or \\.cfl|--out: bad/m.txt", "mri", "maps", "k.npy", "--out", "bad/m.txt")


if __name__ == "__main__":
    unittest.main()
