# SPDX-License-Identifier: Apache-2.0
"""The programs beside diem: absurd numbers end in one line, no two processes mix their files in one folder, no input is overwritten,
and what cannot be said is an error."""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from page import Page

PROGRAMS = pathlib.Path(os.environ["DIEM_PROGRAMS"])
DATA = pathlib.Path(os.environ["DIEM_DATA"])
HUGE = "1" * 310
COUNTS = ("288230376151711744", "9223372036854775807", "18446744073709551615", HUGE, "-1", "1e3", "nan", "")
NUMBERS = ("nan", "inf", "-1", "1e400", HUGE, "")
# What each takes seconds for, its folder left open.
SMOKE = {"demo": ["--smoke", "--data", str(DATA)], "cifar": ["--smoke"], "mri": ["--smoke", "--set", "mask.centre=2", "--set", "evaluation.centres=[2,2]"],
         "manifold": ["--smoke"],
         "guidance": ["--smoke"], "classifier": ["--smoke"], "covariances": ["--smoke"], "mri_measured": ["smoke"]}


def save_bytes(path, shape):
    """An npy of bytes 0, 1, 2, ..."""
    count = 1
    for n in shape:
        count *= n
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {tuple(shape)}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(k % 256 for k in range(count)))


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="diem-programs-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_program(self, name, *arguments, **how):
        how.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([PROGRAMS / name, *map(str, arguments)], cwd=self.folder, stderr=subprocess.PIPE, text=True, timeout=120,
                              **how)

    def fails(self, pattern, name, *arguments, code=1, **how):
        done = self.run_program(name, *arguments, **how)
        said = [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ") and "warning" not in line]
        self.assertEqual(done.returncode, code, f"{name} {arguments}: {done.returncode} {done.stderr}")
        self.assertEqual(len(said), 1, f"{name} {arguments}: {done.stderr}")
        self.assertRegex(said[0], pattern, f"{name} {arguments}")
        return done

    def config(self, name, content):
        (self.folder / name).write_text(json.dumps(content))
        return name


class Absurd(Case):
    def test_options(self):
        counts = {"demo": ("--gaussian-laps", "--components", "--laps", "--steps", "--free-steps", "--rank", "--threads", "--device"),
                  "gaussian": ("--items", "--laps", "--threads"), "covariances": ("--seeds", "--points", "--iterations"),
                  "cifar": ("--threads",), "mri": ("--threads",), "manifold": ("--threads",), "guidance": ("--threads",),
                  "classifier": ("--threads",)}
        for name, options in counts.items():
            for option in options:
                for count in COUNTS:
                    self.fails(option, name, f"{option}={count}", code=2)
        numbers = {"demo": ("--keep",), "covariances": ("--sigmas",), "cifar": ("--rank-deadline",), "mri": ("--rank-deadline",)}
        for name, options in numbers.items():
            for option in options:
                for number in NUMBERS:
                    self.fails(option, name, f"{option}={number}", code=2)
        measured = {"prior": (("--first", "--size", "--patches", "--steps", "--batch", "--channels", "--threads"),
                              ("--pixels", "--shares", "--sample-share", "--rate", "--texture")),
                    "restore": (("--centre", "--samples", "--batch", "--steps", "--iterations", "--threads"),
                                ("--noise", "--level", "--sigma-min", "--sigma-max", "--lambda"))}
        for command, (options, others) in measured.items():
            for names, values in ((options, COUNTS), (others, NUMBERS)):
                for option in names:
                    for value in values:
                        self.fails(option, "mri_measured", command, f"{option}={value}", code=2)

    def refused(self, name, *keys, values=(1 << 62, 288230376151711744, -1)):
        """By --set where the program has it, else as a file."""
        for key in keys:
            last = key.split(".")[-1]
            for value in values:
                if name in ("classifier", "covariances"):
                    content = value
                    for part in reversed(key.split(".")):
                        content = {part: content}
                    given = ["--config", self.config("wrong.json", content)]
                else:
                    given = ["--set", f"{key}={json.dumps(value)}"]
                self.fails(f'"{key}|"{last}|"{key.split(".")[0]}".*{last}', name, *SMOKE[name], *given, "--out", "bad")
        self.assertFalse((self.folder / "bad").exists())

    def test_counts_in_configurations(self):
        stages = ("gaussian.rank", "gaussian.laps", "gaussian.sampler.steps", "em.laps", "em.sampler.steps", "em.sampler.batch",
                  "em.sampler.samples_per_observation", "em.training.steps", "em.training.epochs", "em.training.batch")
        self.refused("manifold", "observations", "rows", "evaluation.samples", "evaluation.iterations", *stages)
        self.refused("cifar", "observations", "gaussian.observations", "evaluation.images", "evaluation.samples",
                     "evaluation.free_samples", "evaluation.pictures", "evaluation.steps", *stages)
        self.refused("mri", "slices", "mask.acceleration", "mask.centre", "evaluation.first", "evaluation.slices",
                     "evaluation.samples", "evaluation.pictures", *stages)
        self.refused("mri", "evaluation.accelerations", "evaluation.centres", values=([1 << 62, 4], [-1, 4], []))
        self.refused("guidance", "images", "pictures", "iterations", "exact.seeds", "exact.samples")
        self.refused("guidance", "steps", "mmps_iterations", "exact.steps", values=([1 << 62], [-1], [], [0]))
        self.refused("covariances", "seeds", "components", "points", "sinkhorn.iterations")
        self.refused("classifier", "network.classes", "training.steps", "training.batch")
        self.refused("classifier", "network.channels", "network.strides", "network.shape", values=([1 << 62] * 5, [-1] * 5, []))

    def test_numbers_in_configurations(self):
        beyond = (0, -1, 1e-300, 1e300)
        levels = ("sigma_y", "em.sampler.sigma_min", "em.sampler.sigma_max", "em.training.rate.initial")
        self.refused("manifold", *levels, values=beyond)
        self.refused("manifold", "alpha", values=(0, -1, 1e300))
        self.refused("cifar", *levels, "keep", values=(*beyond[1:2], 1e300))
        self.refused("mri", *levels, values=beyond)
        self.refused("guidance", "sigma_min", "sigma_max", "lambda", values=beyond)
        self.refused("covariances", "thickness", "sigma_y", "sinkhorn.regularization", values=beyond)
        self.refused("covariances", "sigmas", values=([], [0], [1e300], [1, -1]))
        self.fails("million terms", "manifold", "--smoke", "--set", "alpha=1e-5", "--out", "bad")

    def test_entries_nested_too_deeply(self):
        for name in ("manifold", "cifar", "mri", "guidance"):
            for entry in ("a" + 60000 * ".a" + "=1", "em=" + 120000 * "[", "steps=" + 120000 * "["):
                self.fails("nested too deeply|\"em\"|\"steps\"", name, *SMOKE[name], "--set", entry, "--out", "bad")

    def test_a_prior_of_the_demo_in_diem(self):
        """It was learned with a preconditioner, which diem has for no network."""
        self.assertEqual(self.run_program("demo", *SMOKE["demo"], "--laps", "1", "--out", "out").returncode, 0)
        (self.folder / "mask.json").write_text('{"type": "mask", "keep": 0.5}')
        digits = DATA / "digits/digits_8x8.npy"
        done = self.run_program("diem", "observe", digits, "--range", "0", "16", "--operator", "mask.json", "--sigma-y", "0.1",
                                "--count", "3", "--out", "seen")
        self.assertEqual(done.returncode, 0, done.stderr)
        command = ("posterior", "out/checkpoint/prior_0.safetensors", "seen/y.npy", "--operator", "seen/operator.json", "--sigma-y",
                   "0.1", "--out", "drawn")
        self.fails("--set: \"posterior.precondition\": is for Gaussian", "diem", *command, "--set", "posterior.precondition=true")
        done = self.run_program("diem", *command)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("without the preconditioner", done.stderr)
        self.assertTrue((self.folder / "drawn/samples.npy").exists())

    def test_data_that_do_not_fit(self):
        (self.folder / "digits").mkdir()
        for shape in ((40, 8, 8), (300, 8), (0, 8, 8), (33, 8, 8)):
            save_bytes(self.folder / "digits" / "digits_8x8.npy", shape)
            self.fails("digits_8x8.npy: shape", "demo", "--smoke", "--data", ".", "--out", "out")
        self.fails("digits_8x8.npy: has 33 digits", "learn", "digits/digits_8x8.npy")
        self.fails("none.npy", "learn", "none.npy")
        self.fails("\"many\": expected a number", "learn", DATA / "digits/digits_8x8.npy", "many")
        save_bytes(self.folder / "digits" / "digits_8x8.npy", (300, 4, 4))
        self.fails("--rank: is 32, expected at most 16", "demo", "--smoke", "--data", ".", "--out", "out")
        save_bytes(self.folder / "slices.npy", (6, 32, 32))
        for first in (3, 6, 1000000):
            self.fails("slices.npy has 6 slices", "mri", *SMOKE["mri"], "--data", "slices.npy", "--set", f"evaluation.first={first + 2}",
                       "--out", "out")
        self.fails('"acceleration"', "mri", *SMOKE["mri"], "--set", "mask.acceleration=1000", "--out", "out")


class Plans(Case):
    def test_plan_makes_nothing(self):
        for name in ("cifar", "mri"):  # images made up
            self.assertEqual(self.run_program(name, *SMOKE[name], "--plan", "--out", "made").returncode, 0)
        data = {"cifar": ["--data", "made/stand-in"], "classifier": ["--data", "made/stand-in"],
                "mri": ["--data", "made/stand-in.npy", "--set", "evaluation.first=4"]}
        for name in ("demo", "cifar", "mri", "manifold", "classifier"):
            done = self.run_program(name, *SMOKE[name], *data.get(name, []), "--plan", "--out", "out")
            self.assertEqual(done.returncode, 0, done.stderr)
            expected = "Plan: no network" if name in ("cifar", "mri") else r"Plan: .*\d MiB[^Z]*activations \d+ MiB"
            self.assertRegex(done.stdout, expected, name)
            self.assertFalse((self.folder / "out").exists(), f"{name} --plan wrote")


class Folders(Case):
    def test_one_process_in_a_folder(self):
        for name, arguments in SMOKE.items():
            out = self.folder / name
            out.mkdir()
            with open(out / ".diem-lock", "w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                held.write("process 1 on another\n")
                held.flush()
                self.fails("another process is at work in this folder: process 1 on another", name, *arguments, "--out", name)
            self.assertFalse((out / "report.json").exists(), name)

    def test_leftovers_of_killed_writers_go(self):
        out = self.folder / "out"
        out.mkdir()
        for name in ("report.json.tmp-999999999-0", "report.json.tmp-mine"):
            (out / name).write_text("x")
        self.assertEqual(self.run_program("covariances", "--smoke", "--out", "out").returncode, 0)
        self.assertEqual(sorted(p.name for p in out.iterdir()), [".diem-lock", "report.html", "report.json", "report.json.tmp-mine", "state.json"])

    def test_inputs_are_not_overwritten(self):
        def unchanged(path, pattern, name, *arguments):
            before = (self.folder / path).read_bytes()
            self.fails(pattern, name, *arguments)
            self.assertEqual((self.folder / path).read_bytes(), before)

        (self.folder / "out").mkdir()
        for file in ("report.json", "state.json", "laps.json"):
            self.config(f"out/{file}", {})
        unchanged("out/state.json", "--out out: .*--config reads", "covariances", "--smoke", "--config", "out/state.json", "--out", "out")
        (self.folder / "linked.json").symlink_to("out/report.json")
        for name in ("manifold", "cifar", "mri", "guidance", "classifier"):
            unchanged("out/report.json", "--out out: .*--config reads", name, *SMOKE[name], "--config", "linked.json", "--out", "out")
        save_bytes(self.folder / "slices.npy", (4, 32, 32))
        unchanged("slices.npy", "--out .*--slices reads", "mri_measured", "prior", "--slices", "slices.npy", "--out", "slices.npy")

    def test_what_cannot_be_written_is_found_first(self):
        (self.folder / "file").write_text("")
        (self.folder / "is" / "report.json").mkdir(parents=True)
        for name, arguments in SMOKE.items():
            if name in ("cifar", "mri", "mri_measured", "classifier"):  # write what they are to read there, first
                continue
            self.fails("file", name, *arguments, "--out", "file")
            self.fails("report.json: is a folder", name, *arguments, "--out", "is")

    def test_states_of_a_resumed_run(self):
        self.assertEqual(self.run_program("covariances", "--smoke", "--out", "c").returncode, 0)
        state = json.loads((self.folder / "c/state.json").read_text())
        for change in ({"found": state["found"][:1]}, {"found": [{"divergence": [1], "marginal_error": 0}] * 4}, {"found": 3},
                       {"found": [3] * 4}, {"settings": 3}):
            self.config("c/state.json", state | change)
            self.fails("c/state.json", "covariances", "--smoke", "--resume", "--out", "c")
        (self.folder / "c/state.json").write_text("[]")
        self.fails("c/state.json", "covariances", "--smoke", "--resume", "--out", "c")
        (self.folder / "g").mkdir()
        for wrong in ({"known": 3}, {"results": [1]}, {"known": [{"prior": "gaussian"}]}):
            self.config("g/report.json", wrong)
            self.fails("g/report.json", "guidance", "--smoke", "--resume", "--out", "g")


class Reports(Case):
    """Each writes report.json and, beside it, the page; says the same to machines; and nothing to those who want quiet."""

    def test_pages(self):
        words = {"covariances": "covariance in the likelihood of an observation", "classifier": "A classifier of CIFAR-10",
                 "mri_measured": "measured with 4 coils", "guidance": "methods of guidance beside each other"}
        for name, arguments in SMOKE.items():
            with self.subTest(name):
                done = self.run_program(name, *arguments, "--out", name, "--json", "--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([line for line in done.stderr.splitlines() if not line.startswith(f"{name}: warning: ")], [])
                report = json.loads((self.folder / name / "report.json").read_text())
                told = json.loads(done.stdout)
                self.assertEqual(told, {key: report[key] for key in told})
                self.assertEqual((told["program"], told["status"]), (name, "completed"))
                text = (self.folder / name / "report.html").read_text()
                page = Page(text)
                self.assertEqual(page.faults, [])
                self.assertIn("The run is complete", page.text)
                self.assertIn(words.get(name, "learned from"), page.text)
                self.assertNotIn('http-equiv="refresh"', text)
                self.assertLess(len(text), 10 << 20)
        for name, found in (("covariances", "Median divergence"), ("classifier", "Training loss"),
                            ("mri_measured", "Share of the hidden numbers"), ("guidance", "Distance to the posterior of a Gaussian")):
            page = Page((self.folder / name / "report.html").read_text())
            self.assertIn(found, page.text)
            self.assertEqual(len(page.images), {"classifier": 1, "mri_measured": 1}.get(name, 0), name)

    def test_quiet(self):
        for name, arguments in (("gaussian", ["--items", "50", "--laps", "2"]), ("covariances", ["--smoke", "--out", "out"])):
            done = self.run_program(name, *arguments, "--quiet")
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            self.assertEqual([line for line in done.stderr.splitlines() if "warning" not in line], [])
            self.assertRegex(self.run_program(name, "--version").stdout, rf"\A{name} \d+\.\d+\.\d+\n\Z")
        self.assertEqual(json.loads(self.run_program("gaussian", "--items", "50", "--laps", "2", "--json").stdout)["laps"], 2)

    def test_stopped_while_it_is_watched(self):
        """What is there is on the page; a run without --resume does not promise one."""
        self.assertEqual(self.run_program("mri_measured", "smoke", "--out", "small").returncode, 0)
        many = self.config("many.json", {"seeds": 20000, "points": 512, "components": 4, "sigmas": [2],
                                         "sinkhorn": {"annealed": False, "iterations": 1}})
        runs = {"covariances": (["--config", many], "posteriors are done. The same command with --resume"),
                "mri_measured": (["restore", "--kspace", "small/kspace.npy", "--prior", "small/prior.safetensors", "--centre", "16",
                                  "--samples", "4096", "--batch", "1", "--steps", "50"], "0 of 1 sets of hidden positions are done.")}
        for name, (arguments, words) in runs.items():
            process = subprocess.Popen([PROGRAMS / name, *arguments, "--out", name], cwd=self.folder, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            page = self.folder / name / "report.html"
            try:
                while not (page.exists() and Ends.catches(process, signal.SIGINT)):
                    self.assertIsNone(process.poll(), name)
                    time.sleep(0.01)
                text = page.read_text()
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(timeout=60), 130, name)
            finally:
                process.kill()
            self.assertIn('http-equiv="refresh"', text)
            self.assertIn("The run goes on", Page(text).text)
            said = Page(page.read_text()).text
            self.assertIn("The run was stopped", said)
            self.assertIn(words, said)
            self.assertEqual("--resume goes on" in said, name == "covariances")


# Real measurements lie beside the repository, where they are at all: a slice of 8 coils, pictures of slices.
SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
KSPACE, SLICES = SHARED / "kspace" / "cartesian_ksp.npy", SHARED / "brain-mri" / "slices_128.npy"


MEASUREMENTS = KSPACE.exists() and SLICES.exists()
if not MEASUREMENTS:
    print(f"SKIPPED: {SHARED} holds no measurements, none is restored")


@unittest.skipUnless(MEASUREMENTS, "no measurements")
class Measured(Case):
    """A prior learned in seconds restores the measured slice by mri_measured, and by diem."""

    def test_a_slice_of_eight_coils(self):
        done = self.run_program("mri_measured", "prior", "--slices", SLICES, "--first", 512, "--patches", 512, "--steps", 600, "--batch", 8,
                                "--size", 32, "--channels", 16, 32, "--out", "prior.safetensors", "--threads", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.run_program("mri_measured", "restore", "--kspace", KSPACE, "--prior", "prior.safetensors", "--samples", 2, "--batch", 2,
                                "--steps", 6, "--threads", 2, "--out", "restored")
        self.assertEqual(done.returncode, 0, done.stderr)
        figures = json.loads((self.folder / "restored" / "report.json").read_text())["seeds"][0]
        # The first three do not depend on the prior; the mean of SigPy's CG-SENSE is 0.286.
        for figure, expected in (("noise", 0.199), ("zero_filled", 0.746), ("cg_sense", 0.298)):
            self.assertAlmostEqual(figures[figure], expected, delta=0.002, msg=figure)
        self.assertLess(figures["mean"], 0.4)

        done = self.run_program("diem", "mri", "maps", KSPACE, "--out", "maps.npy")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.config("mri.json", {"type": "mri", "coils": "maps.npy"})
        posterior = ("posterior", "prior.safetensors", KSPACE, "--operator", "mri.json", "--sigma-y", 0.0118, "--scale", "auto", "--steps", 6,
                     "--set", "sampler.sigma_max=3", "sampler.sigma_min=0.05", "posterior.max_iterations=2", "posterior.solver=cg", "--out", "by_diem")
        self.fails("--image brings a U-Net", "diem", *posterior)
        self.fails("has 41400 values, the prior of prior.safetensors has 2048", "diem", *posterior, "--image", 230, 180, 1)
        done = self.run_program("diem", *posterior, "--image", 230, 180, 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("a prior of 32 x 32 is used on images of 230 x 180", done.stderr)
        self.assertLess(json.loads((self.folder / "by_diem" / "posterior.json").read_text())["data_residual"], 2)


class Tables(Case):
    """tools/cifar_shares, with a few lines in place of cifar."""

    def table(self, *arguments):
        tool = pathlib.Path(__file__).resolve().parents[2] / "tools" / "cifar_shares"
        (self.folder / "c.json").write_text("{}")
        return subprocess.run([tool, self.folder / "cifar", "--data", ".", "--config", "c.json", "--out", self.folder / "out", *arguments], cwd=self.folder,
                              capture_output=True, text=True, timeout=60)

    def program(self, seeds, status="completed"):
        """Reports a PSNR of 10 + seed, after a Gaussian of 5; fails on other seeds."""
        (self.folder / "cifar").write_text(f"""#!/usr/bin/env python3
import json, pathlib, sys
value = dict(a.split("=") for a in sys.argv if "=" in a)
with open("calls", "a") as calls: calls.write(value["keep"] + "\\n")
if int(value["seed"]) not in {seeds}: sys.exit(1)
stage = lambda x: {{"psnr_sample_db": x, "psnr_mean_db": x, "frechet_averaged": x}}
report = {{"status": "{status}", "laps": [0, 1], "stages": [stage(5), stage(10 + int(value["seed"]))]}}
(pathlib.Path(sys.argv[sys.argv.index("--out") + 1]) / "report.json").write_text(json.dumps(report))
""")
        (self.folder / "cifar").chmod(0o755)

    def test_mean_and_range_of_what_has_ended(self):
        self.program([0, 1])
        done = self.table("--seeds", "0", "1", "2")
        self.assertEqual(done.returncode, 1, done.stderr)  # seed 2
        self.assertIn("| 75 % | Gaussian prior | 5.00 | 5.00 | 5.000 |", done.stdout)
        self.assertIn("| 25 % | `tweedie` | 10.50 (10.00 - 11.00) | 10.50 (10.00 - 11.00) | 10.500 (10.000 - 11.000) |", done.stdout)
        self.assertIn("75 % | `isotropic`", done.stdout)
        self.program([2])  # only what failed is run again
        (self.folder / "calls").unlink()
        self.assertEqual(self.table("--seeds", "0", "1", "2").returncode, 0)
        self.assertEqual(len((self.folder / "calls").read_text().split()), 5)
        other = self.table("--laps", "3")
        self.assertEqual(other.returncode, 1)
        self.assertIn('the runs there have another "laps"', other.stderr)

    def test_a_run_that_was_stopped(self):
        self.program([0], "rejected")
        done = self.table("--seeds", "0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| 75 % | `tweedie` | stopped in lap 2 |", done.stdout)


class Ends(Case):
    def test_statuses(self):
        for name in (*SMOKE, "gaussian"):
            self.fails("--nothing", name, *SMOKE.get(name, [])[:1], "--nothing", code=2)
            self.assertEqual(self.run_program(name, "--help").returncode, 0)

    def test_a_full_standard_output(self):
        for name in (*SMOKE, "gaussian"):
            with open("/dev/full", "w") as full:
                self.fails("standard output: cannot be written", name, "--help", stdout=full)
        with open("/dev/full", "w") as full:
            self.fails("standard output: cannot be written", "gaussian", "--items", "50", "--laps", "2", stdout=full)

    @staticmethod
    def catches(process, request):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        caught = [line for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(caught) and int(caught[0].split()[1], 16) >> (request - 1) & 1

    def test_signals(self):
        save_bytes(self.folder / "slices.npy", (4, 32, 32))
        for name, arguments in (("covariances", ["--out", "out", "--seeds", "2000"]),
                                ("mri_measured", ["prior", "--slices", "slices.npy", "--size", "16", "--patches", "1000", "--steps",
                                                  "1000000"])):
            for request, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
                process = subprocess.Popen([PROGRAMS / name, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                try:
                    while not self.catches(process, request):
                        self.assertIsNone(process.poll(), name)
                        time.sleep(0.01)
                    process.send_signal(request)
                    self.assertEqual(process.wait(timeout=60), status, name)
                finally:
                    process.kill()
            self.assertEqual(list(self.folder.glob("**/*.tmp-*")), [])


if __name__ == "__main__":
    unittest.main()
