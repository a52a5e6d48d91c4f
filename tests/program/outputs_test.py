# SPDX-License-Identifier: Apache-2.0
"""Nothing of the user's is replaced, and what cannot be written is found before the work."""

import json
import os
import resource
import subprocess
import unittest

from support import Case


class Outputs(Case):
    OPERATOR = ("--operator", "data/operator.json", "--sigma-y", "0.1")

    def unchanged(self, name, pattern, *arguments):
        before = (self.folder / name).read_bytes()
        done = self.run_program(*arguments, cwd=self.folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual((self.folder / name).read_bytes(), before)

    def test_observe_onto_its_truth(self):
        for out in ("data", "./data/../data", os.path.abspath(self.folder / "data")):
            self.unchanged("data/truth.npy", "--out.*truth.npy would be written, and is what the truth reads", "observe",
                           "data/truth.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", out)

    def test_observe_through_links(self):
        (self.folder / "sym").symlink_to("data")
        self.unchanged("data/truth.npy", "--out", "observe", "data/truth.npy", "--operator", "keep.json", "--sigma-y",
                       "0.1", "--out", "sym")
        (self.folder / "hard").mkdir()
        os.link(self.folder / "x.npy", self.folder / "hard/truth.npy")
        self.unchanged("hard/truth.npy", "--out", "observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1",
                       "--out", "hard")
        (self.folder / "out").mkdir()
        (self.folder / "out/y.npy").symlink_to("../x.npy")
        self.unchanged("x.npy", "--out", "observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "out")

    def test_observe_onto_operator_masks_and_noise(self):
        self.unchanged("data/operator.json", "--operator", "observe", "x.npy", *self.OPERATOR, "--out", "data")
        self.write("own.json", {"type": "mask", "values": "data/masks.npy"})
        (self.folder / "o").mkdir()
        os.link(self.folder / "data/masks.npy", self.folder / "o/y.npy")
        self.unchanged("data/masks.npy", "own.json", "observe", "x.npy", "--operator", "own.json", "--sigma-y", "0.1",
                       "--out", "o")

    def test_posterior_and_evaluate_onto_inputs(self):
        (self.folder / "y").mkdir()
        (self.folder / "y/samples.npy").write_bytes((self.folder / "data/y.npy").read_bytes())
        self.unchanged("y/samples.npy", "--out.*observations", "posterior", "run/prior.safetensors", "y/samples.npy",
                       *self.OPERATOR, "--out", "y")
        for name in ("x.npy", "data/truth.npy"):
            self.unchanged(name, f"--json {name}: {name} would be written.*reads", "evaluate", "x.npy", "data/truth.npy", "--json", name)

    def test_pages_and_figures_replace_only_their_kind(self):
        for name in ("run/prior.safetensors", "run/report.json", "data/y.npy"):
            self.unchanged(name, f"--out {name}: .*(is not an HTML page|is what the run reads)", "report", "run", "--out", name)
        for name in ("run/prior.safetensors", "data/y.npy"):
            self.unchanged(name, f"--json {name}: is there, and is not a JSON text", "evaluate", "x.npy", "x.npy", "--json", name)
        for _ in range(2):  # what is its own is
            self.succeeds("report", "run", "--out", "page.html")
            self.succeeds("evaluate", "x.npy", "x.npy", "--json", "figures.json")

    def test_fit_onto_what_it_may_remove(self):
        """Inputs under names of pictures and laps, which --overwrite removes; also through a link."""
        network = {"type": "mlp", "features": 16, "hidden": [8], "emb": 8}
        data = (self.folder / "data/y.npy").read_bytes()
        (self.folder / "out/checkpoint").mkdir(parents=True)
        for name in ("checkpoint/prior_3.safetensors", "checkpoint/run.safetensors", "lap_0.png", "lap_12_posterior.png", "seen.png"):
            (self.folder / "out" / name).write_bytes(data)
            self.configure(self.folder / "own.json", observations=f"out/{name}", network=network)
            self.unchanged(f"out/{name}", "--out out: .*would be written, and is what \"observations\" reads", "fit", "own.json", "--out",
                           "out", "--overwrite")
            (self.folder / "out" / name).unlink()
        (self.folder / "out/lap_1.png").symlink_to("../data/y.npy")
        self.configure(self.folder / "own.json", network=network)
        self.unchanged("data/y.npy", "out/lap_1.png would be written", "fit", "own.json", "--out", "out", "--overwrite")

    def test_a_full_disk(self):
        """No file may be longer than so many bytes: what is there is whole, nothing half-written stays, and one line says which file."""
        network = {"type": "mlp", "features": 16, "hidden": [32], "emb": 8}
        em = {"laps": 2, "sampler": {"steps": 4}, "training": {"steps": 20, "batch": 32, "ema_warmup": True}}
        self.configure(self.folder / "net.json", network=network, em=em)
        formats = [e for e in (".npy", ".cfl", ".fits", ".tif", ".png", ".h5", ".mat")
                   if self.run_program("convert", "x.npy", f"whole{e}", "--range", "-2", "2", cwd=self.folder).returncode == 0]
        self.assertIn(".npy", formats)  # the others need libraries
        commands = [("fit", "net.json", "--out", "out"), ("sample", "run/prior.safetensors", "--count", "300", "--out", "out"),
                    ("posterior", "run/prior.safetensors", "data/y.npy", *self.OPERATOR, "--out", "out"),
                    ("observe", "x.npy", "--operator", "keep.json", "--sigma-y", "0.1", "--out", "out"),
                    ("evaluate", "x.npy", "x.npy", "--json", "out/figures.json"), ("report", "run", "--out", "out/page.html"),
                    *(("convert", "x.npy", f"out/x{extension}", "--range", "-2", "2")
                      for extension in formats)]
        for command in commands:
            ended = set()
            for most in (8, 100, 1000, 4000, 20000, 10**9):
                subprocess.run(["rm", "-rf", self.folder / "out"], check=True)
                done = self.run_program(*command, cwd=self.folder, preexec_fn=lambda most=most: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (most, most)))
                what = f"{command} {most}: {done.returncode} {done.stderr}"
                said = [line for line in done.stderr.splitlines() if line.startswith("diem: ") and "warning" not in line]
                self.assertIn(done.returncode, (0, 1), what)
                self.assertEqual(len(said), done.returncode, what)
                if done.returncode == 1:
                    self.assertRegex(said[0], "^diem: .*out/|cannot read or write", what)
                ended.add(done.returncode)
                files = [p for p in (self.folder / "out").rglob("*") if p.is_file()]
                for file in files:
                    self.assertNotIn(".tmp-", file.name, what)
                    if file.suffix == ".json":
                        json.loads(file.read_text())
                    if file.suffix == ".safetensors":
                        self.succeeds("info", file)
            self.assertIn(1, ended, command)

    def test_leftovers_of_a_killed_writer(self):
        """Of one file, those of that name alone; a process of that number must not run."""
        for name in ("b.npy.tmp-999999999-0", "c.npy.tmp-999999999-0", "b.npy.tmp-1-0", "b.npy.tmp-mine", "b.npy.tmp-"):
            self.write(name, "x")
        self.succeeds("convert", "x.npy", "b.npy")
        self.assertEqual(sorted(p.name for p in self.folder.glob("*.tmp-*")),
                         ["b.npy.tmp-", "b.npy.tmp-1-0", "b.npy.tmp-mine", "c.npy.tmp-999999999-0"])

    def test_convert_onto_its_input(self):
        """Also where the input is a part of a file, or one of the two files of BART's."""
        self.unchanged("x.npy", "OUT.*IN reads", "convert", "x.npy", "x.npy")
        self.unchanged("x.npy", "OUT.*IN reads", "convert", "x.npy::part", "x.npy")
        self.unchanged("x.npy", "OUT.*IN reads", "convert", "x.npy", "x.npy::part")
        self.must("convert", "x.npy", "a.cfl", cwd=self.folder)
        for one, other in (("a.hdr", "a.cfl"), ("a.cfl", "a.hdr"), ("a.cfl", "./a.cfl")):
            self.unchanged("a.cfl", "OUT.*IN reads", "convert", one, other)

    def test_places_that_cannot_be_written(self):
        self.write("file", "")
        sample = ("sample", "run/prior.safetensors", "--count", "2", "--out")
        self.fails("--out: file: ", *sample, "file")
        self.fails("--out: /proc/", *sample, "/proc/none")
        self.fails("--json: /proc/none", "evaluate", "x.npy", "x.npy", "--json", "/proc/none/a.json")
        (self.folder / "is").mkdir()
        (self.folder / "is/samples.npy").mkdir()
        self.fails("--out: is/samples.npy: is a folder", *sample, "is")
        self.fails("--json: is: is a folder", "evaluate", "x.npy", "x.npy", "--json", "is")

    def test_pipes_and_devices_are_not_replaced(self):
        for name in ("figures.json", "page.html", "out.npy"):
            os.mkfifo(self.folder / name)
        (self.folder / "out").mkdir()
        os.mkfifo(self.folder / "out/samples.npy")
        for pattern, command in (("--json: figures.json", ("evaluate", "x.npy", "x.npy", "--json", "figures.json")),
                                 ("--out: page.html", ("report", "run", "--out", "page.html")), ("OUT: out.npy", ("convert", "x.npy", "out.npy")),
                                 ("--out: out/samples.npy", ("sample", "run/prior.safetensors", "--count", "2", "--out", "out"))):
            self.fails(f"{pattern}: is a device, pipe or socket", *command)
        for name in ("figures.json", "page.html", "out.npy", "out/samples.npy"):
            self.assertTrue((self.folder / name).is_fifo(), name)

    def test_overwrite_removes_only_what_the_program_writes(self):
        own = {"prior_notes.txt", "lap_times.csv", "lap_1.txt", "prior_1.safetensors.bak", "checkpoint/prior_a.safetensors",
               "checkpoint/notes.txt", "gaussian.safetensors.old"}
        (self.folder / "run/checkpoint").mkdir(exist_ok=True)
        for name in own | {"lap_7.png", "checkpoint/prior_7.safetensors"}:
            (self.folder / "run" / name).write_text("mine")
        self.succeeds("fit", "fit.json", "--out", "run", "--overwrite")
        for name in own:
            self.assertEqual((self.folder / "run" / name).read_text(), "mine", name)
        for name in ("lap_7.png", "checkpoint/prior_7.safetensors"):
            self.assertFalse((self.folder / "run" / name).exists(), name)

    def test_standard_output_that_is_full_or_closed(self):
        commands = (("info", "run/prior.safetensors"), ("--help",), ("doctor",), ("--version",),
                    ("evaluate", "x.npy", "x.npy"), ("sample", "run/prior.safetensors", "--count", "2", "--out", "drawn"),
                    ("fit", "fit.json", "--out", "again"))
        for command in commands:
            with open("/dev/full", "w") as full:
                done = self.run_program(*command, cwd=self.folder, stdout=full)
            self.assertEqual(done.returncode, 1, command)
            self.assertRegex(done.stderr, "diem: standard output: cannot be written")
        line = subprocess.run(["sh", "-c", '"$0" info run/prior.safetensors >&-', *self.command(["info"])[:1]],
                              cwd=self.folder, stderr=subprocess.PIPE, text=True)
        self.assertEqual(line.returncode, 1, line.stderr)


if __name__ == "__main__":
    unittest.main()
