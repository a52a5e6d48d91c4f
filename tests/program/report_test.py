# SPDX-License-Identifier: Apache-2.0
"""The page of a run: of good runs, of reports that lack things or hold anything, while a run goes on, of two runs."""

import json
import re
import signal
import struct
import unittest
import zlib

from page import Page, contrast, palettes
from support import MLP, Case

ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;"


def png(width=8, height=8, extra=0):
    """Grey; `extra`: bytes of a chunk that nobody reads."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes([40]) * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"teXt", bytes(extra)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def lap(k, **more):
    return {"lap": k, "samples": 40, "removed": 0, "data_residual": 0.5, "outside_share": 0.0, "non_finite_share": 0.0,
            "solver_shares": [0.5, 0.5, 0, 0, 0], "change": 0.01, "loss": 1 / (k + 1), "e_seconds": 1.0, "m_seconds": 2.0} | more


class Report(Case):
    def page_at(self, path):
        text = (self.folder / path).read_text()
        page = Page(text)
        self.assertEqual(page.faults, [])
        return page, text

    def page_of(self, report, folder="made", files=()):
        """Writes report.json and files, and reads the page that `diem report` makes of them."""
        where = self.folder / folder
        where.mkdir(exist_ok=True)
        for name, content in dict(files).items():
            (where / name).write_bytes(content)
        (where / "report.json").write_text(report if isinstance(report, str) else json.dumps(report))
        self.succeeds("report", folder)
        return self.page_at(f"{folder}/report.html")

    def test_a_run_and_its_page_again(self):
        self.configure(self.folder / "net.json", network=MLP, em={"laps": 2, "sampler": {"steps": 4},
                                                                 "training": {"steps": 200, "batch": 16}})
        self.run_program("fit", "net.json", "--out", "net", cwd=self.folder)
        page, text = self.page_at("net/report.html")
        for words in ("The run is complete", "40 observations", "Data residual", "Training loss", "Variance of the samples", "fit net.json --out net",
                      "Most memory held", "em.sampler.steps", "config.network.type", "Every value of x is seen"):
            self.assertIn(words, page.text)
        for title in ("Observations", "How often each pixel is seen", "Of the Gaussian prior", "Of the diffusion prior", "Lap 0", "Lap 1"):
            self.assertTrue(any(image["alt"].endswith(title) for image in page.images), title)
        self.assertNotIn('http-equiv="refresh"', text)
        self.succeeds("report", "net")
        self.assertEqual((self.folder / "net/report.html").read_text(), text)

    def test_what_the_page_finds_is_said_at_the_end(self):
        """Also to those who want quiet; and bars know of the whole run from the Gaussian stage on."""
        self.configure(self.folder / "net.json", network=MLP, em={
            "laps": 2, "sampler": {"steps": 4}, "training": {"steps": 200, "batch": 16}, "low": -0.5, "high": 0.5,
            "guard": {"max_outside_share": 1, "max_residual_ratio": 1e9, "max_residual": 1e9, "max_change": 1e9, "max_loss_ratio": 1e9}})
        done = self.succeeds("fit", "net.json", "--out", "net", warns=r"warning: [\d.]+ % of the samples leave the range of the data\. They hold")
        for stage in ("Gaussian EM", "lap 0, samples", "lap 1, training"):
            self.assertRegex(done.stderr, rf"(?m)^{stage} .*run left \d+:\d\d$")
        quiet = self.succeeds("fit", "net.json", "--out", "quiet", "--quiet", warns="leave the range")
        warnings = [line.removeprefix("diem: warning: ") for line in done.stderr.splitlines() if line.startswith("diem: ")]
        self.assertEqual([line.removeprefix("diem: warning: ") for line in quiet.stderr.splitlines()], warnings)
        page, _ = self.page_at("net/report.html")
        for text in warnings:
            self.assertIn(text.split(". ")[0], page.text)
        told = json.loads(self.succeeds("fit", "net.json", "--out", "machine", "--json", warns="leave the range").stdout)
        self.assertEqual((told["status"], len(told["laps"])), ("completed", 2))

    def test_posterior(self):
        self.succeeds("posterior", "run/prior.safetensors", "data/y.npy", "--operator", "data/operator.json", "--sigma-y", "0.1",
                      "--samples", "3", "--out", "run")
        page, _ = self.page_at("run/posterior.html")
        for words in ("Posterior samples of 40 observations", "Samples fit the data", "Standard deviation of the samples"):
            self.assertIn(words, page.text)
        self.assertIn("\"program\": \"diem fit\"", (self.folder / "run/report.json").read_text())

    def test_reports_that_lack_everything(self):
        for k, report in enumerate(({}, {"held_out_values": {"predicted": 3, "ranks": ["x", None], "coverage": 1}, "noise": 3},
                                    {"held_out_values": {"predicted": 3}, "noise": {"off": True}}, {"laps": None}, {"laps": []}, {"laps": [{}]}, {"laps": [3, "x", None]}, {"stages": [1, {}]},
                                    {"status": 5, "em": [], "gaussian": 3, "pictures": {}, "environment": "x"},
                                    {"laps": [lap(0, loss=None, data_residual=None, change=None, solver_shares=None)]},
                                    {"laps": [lap(0), lap(1, loss="x", solver_shares=["a", {}])]},
                                    {"observations": 0, "features": 0, "unseen_features": 0, "gaussian": {"log_evidence": [None, 1]}},
                                    {"laps": [lap(k, loss=10.0 ** (300 * (-1) ** k)) for k in range(3)]},
                                    {"laps": [lap(k, loss=-1e308 if k else 1e308) for k in range(2)]},
                                    {"laps": [lap(0) | {"lap": k} for k in (1e300, -1e300, None, "x", 7)], "em": {"laps": -1e300}},
                                    {"log_evidence_per_observation": [None] * 5},
                                    {"charts": 3, "tables": {"a": 1}, "verdicts": "x", "summary": 3, "progress": [1], "resumes": "no"},
                                    {"charts": [1, {}, {"curves": [3, {"x": 1, "y": None}, {"x": ["a", 1, 2], "y": [1, None, 1e308]}]}],
                                     "tables": [2, {"rows": 1}, {"rows": [3, [], [None, {}, [1]]], "head": "x"}],
                                     "verdicts": [1, {}, {"title": 3}, {"title": "t", "level": 5}], "progress": {"done": "x"}},
                                    {"charts": [{"logarithmic_x": True, "target": -1e308, "curves": [
                                        {"x": [0, -1, 1e300], "y": [1e300, 1e-300, 0]}]}] * 30})):
            with self.subTest(k):
                page, text = self.page_of(report)
                for words in ("nan", "inf,", "NaN"):
                    self.assertNotIn(f'"{words}', text)
                    self.assertNotIn(f" {words}", page.text)

    def test_reports_that_are_none(self):
        (self.folder / "empty").mkdir()
        self.fails("empty: holds no report.json", "report", "empty")
        for text, what in (("[1]", "is no JSON object"), ("{\"loss\": NaN}", "offset"), ("{", "offset")):
            self.write("empty/report.json", text)
            self.fails(f"empty/report.json: {what}", "report", "empty")
        self.assertFalse((self.folder / "empty/report.html").exists())
        self.fails("folders", "report", "run", "run", "run", code=2)
        self.fails("--out .*report.json would be written, and is what the run reads", "report", "run", "--out",
                   "run/report.json")

    def test_verdicts(self):
        def text(**report):
            return self.page_of({"features": 100, "observations": 40, "observed_share": 0.5} | report)[0].text
        self.assertIn("check 12 % of the values of x were never seen", text(unseen_features=12))
        self.assertIn("problem 60 % of the values of x were never seen", text(unseen_features=60))
        self.assertIn("check 5 % of the observations show nothing", text(unseen_items=2))
        self.assertIn("note 8 % of the values of x were seldom seen", text(unseen_features=0, seldom_features=8))
        self.assertIn("good Samples fit the data", text(laps=[lap(0)]))
        for share, words in ((0.79, "good Samples are spread as the truth is"), (0.7, "check Samples are spread too little"),
                             (0.5, "problem Samples are spread too little"), (0.9, "check Samples are spread too much")):
            said = text(stages=[{"stage": "x", "coverage": {"0.5": 0.5, "0.8": share, "0.95": 0.95}}])
            self.assertIn(words, said)
            self.assertIn(f"50 %, {100 * share:.0f} % and 95 % of the held-out values", said)
        self.assertNotIn("spread", text(stages=[{"stage": "x", "coverage": {"0.8": None}}, {"coverage": 3}]))
        self.assertIn("check Samples fit the data poorly", text(laps=[lap(0, data_residual=2)]))
        self.assertIn("problem Samples do not fit the data", text(laps=[lap(0, data_residual=20)]))
        self.assertIn("check Samples are nearer to the data than the noise allows", text(laps=[lap(0, data_residual=0.1)]))
        self.assertIn("problem 30 % of the linear solves broke down", text(laps=[lap(0, solver_shares=[0.7, 0, 0.3, 0])]))
        self.assertIn("check The training loss rises", text(laps=[lap(0, loss=1), lap(1, loss=2)]))
        self.assertIn("check The prior still changes much", text(laps=[lap(0, change=0.9)]))
        self.assertIn("check 5 % of the samples leave the range", text(laps=[lap(0, outside_share=0.05)]))
        clipped = text(laps=[lap(0, outside_share=0.05)], em={"out_of_range": "clip"})
        self.assertIn("5 % of the samples had values beyond the range", clipped)
        self.assertNotIn("leave the range", clipped)
        self.assertIn("problem A lap went wrong lap 3 was odd.", text(status="rejected", message="lap 3 was odd"))
        self.assertIn("check The run was stopped", text(status="cancelled"))

    def test_whatever_stands_in_a_report_stays_text(self):
        report = {key: ATTACK for key in ("program", "status", "message", "command", "time", "operator", "prior", "sigma_y", "backend")}
        report |= {"summary": ATTACK, "verdicts": [{"level": ATTACK, "title": ATTACK, "text": ATTACK}],
                   "progress": {"done": 1, "total": 2, "what": ATTACK}, "tables": [{"title": ATTACK, "head": [ATTACK], "rows": [[ATTACK]]}],
                   "charts": [{"title": ATTACK, "x_label": ATTACK, "note": ATTACK, "target": 1, "target_name": ATTACK,
                               "curves": [{"name": ATTACK, "x": [1, 2], "y": [1, 2]}]}]}
        report |= {ATTACK: 3.0, "config": {ATTACK: ATTACK}, "em": {"a": {ATTACK: [ATTACK]}}, "environment": {"diem": ATTACK},
                   "stages": [{"stage": ATTACK, ATTACK: 2}], "laps": [lap(0) | {ATTACK: 1.5}],
                   "pictures": [{"file": "observed.png", "title": ATTACK, "caption": ATTACK, "group": ATTACK}]}
        folder = "<b>&'\"x"
        page, text = self.page_of(report, folder, {"observed.png": png()})
        self.assertNotIn("<script", text)
        self.assertGreater(page.text.count("<script>alert(1)</script>"), 10)
        self.assertIn(folder, page.text)
        (self.folder / folder / "report.json").write_bytes(b'{"program": "a\\u0000\\u0007\xc3\xa9"}')
        self.succeeds("report", folder)
        self.assertIn("a\ufffd\ufffd\xe9", self.page_at(f"{folder}/report.html")[0].text)

    def test_sizes_are_bounded(self):
        laps = [lap(k, loss=1 / (k + 1), more=k) for k in range(10000)]
        page, text = self.page_of({"laps": laps, "gaussian": {"x": list(range(10000))}})
        self.assertLess(len(text), 400000)
        self.assertIn("rows are left out here", page.text)
        files = {f"lap_{k}.png": png() for k in range(100)} | {"samples_gaussian.png": png(extra=4 << 20),
                                                              "samples_diffusion.png": b"no picture"}
        page, text = self.page_of({"laps": laps[:100]}, "pictures", files)
        self.assertEqual(len(page.images), 8)
        for words in ("92 of the 100 pictures lap_*.png", "samples_gaussian.png: no PNG, or larger",
                      "samples_diffusion.png: no PNG"):
            self.assertIn(words, page.text)
        page, text = self.page_of({"laps": laps[:3], "status": "running"}, "pictures")  # the others are of a run before
        self.assertEqual([image["alt"].split(": ")[1] for image in page.images], ["Lap 0", "Lap 1", "Lap 2"])
        many = [{"file": f"p{k}.png"} for k in range(5)]
        page, text = self.page_of({"pictures": many}, "large", {f"p{k}.png": png(extra=2 << 20) for k in range(5)})
        self.assertEqual(len(page.images), 2)
        self.assertIn("p2.png: the page's pictures would be larger than 6.0 MiB", page.text)

    def test_pictures_are_those_of_the_folder(self):
        (self.folder / "secret.png").write_bytes(png())
        page, _ = self.page_of({"pictures": [{"file": "../secret.png"}, {"file": "/etc/passwd"}, {"file": ".."}, {}, 3]})
        self.assertEqual(page.images, [])

    def test_what_a_program_says_itself(self):
        curves = [{"name": f"c{k}", "x": [0.01, 0.1, 1], "y": [1, 2 + k, None]} for k in range(12)]
        report = {"program": "other", "status": "running", "summary": "What was done.", "config": {"points": 4}, "points": 4, "figure": 5,
                  "progress": {"done": 3, "total": 8, "what": "things"},
                  "verdicts": [{"level": "bad", "title": "Odd", "text": "Why"}, {"level": "good", "title": "Even", "text": ""}],
                  "charts": [{"title": "Curves", "x_label": "sigma", "logarithmic_x": True, "curves": curves, "target": 1,
                              "target_name": "one", "note": "Look."}],
                  "tables": [{"title": "Numbers", "head": ["a", "b"], "rows": [[1, 2.5], ["x", None]]}]}
        page, text = self.page_of(report)
        for words in ("What was done.", "3 of 8 things are done; this page", "problem Odd Why", "good Even", "Results", "Numbers a b 1 2.5 x -",
                      "c9", "one", "Look.", "Figure 5", "--resume goes on"):
            self.assertIn(words, page.text)
        self.assertNotIn("Points", page.text)  # an option, no figure
        self.assertNotIn("c10", page.text)
        self.assertEqual(text.count('<path class="line'), 10)
        self.assertEqual(text.count(' second" d='), 5)
        narrow = {"charts": [{"title": "n", "curves": [{"x": [1, 2, 3], "y": [2.3101, 2.3122, 2.3144]}]}]}
        ticks = re.findall(r'text-anchor="end">([^<]+)<', self.page_of(narrow)[1])
        self.assertEqual((len(ticks) > 2, len(set(ticks))), (True, len(ticks)), ticks)
        page, _ = self.page_of(report | {"resumes": False})
        self.assertNotIn("--resume", page.text)
        many = report | {"charts": report["charts"] * 100, "tables": [{"rows": [[k] * 100 for k in range(10000)]}] * 100}
        self.assertLess(len(self.page_of(many)[1]), 2 << 20)
        for name in ("one", "two"):
            self.page_of(report, name)
        self.succeeds("report", "one", "two", "--out", "both.html")
        self.assertEqual(self.page_at("both.html")[0].text.count("Look."), 2)

    def test_two_runs(self):
        for name, rate in (("one", 1), ("two", 2)):
            self.page_of({"program": "demo", "seed": 0, "em": {"rate": rate, "laps": 2}, "laps": [lap(0), lap(1, loss=rate)],
                          "stages": [{"stage": "gaussian", "psnr_mean_db": 10.0 + rate}]}, name, {"observed.png": png()})
        self.succeeds("report", "one", "two", "--out", "both.html")
        page, _ = self.page_at("both.html")
        for words in ("1 of 2 options differ", "em.rate", "B \u2212 A", "11 12 1", "A one: ", "B two: "):
            self.assertIn(words, page.text)
        self.assertEqual(len(page.images), 2)
        self.succeeds("report", "one", "one/../one")
        self.assertIn("0 of 2 options differ", self.page_at("comparison.html")[0].text)

    def test_machines_are_told(self):
        told = json.loads(self.succeeds("report", "run", "--json").stdout)
        self.assertEqual(told["bytes"], (self.folder / told["page"]).stat().st_size)

    def test_contrast(self):
        _, text = self.page_at("run/report.html")
        schemes = palettes(text)
        self.assertEqual(len(schemes), 3)
        for colours in schemes:
            for ground in ("page", "card"):
                for name in ("ink", "soft", "link", "good", "note", "warning", "bad"):
                    self.assertGreaterEqual(contrast(colours[name], colours[ground]), 4.5, (name, ground))
                for k in range(1, 6):  # lines and areas
                    self.assertGreaterEqual(contrast(colours[f"c{k}"], colours[ground]), 3, (k, ground))

    def test_page_of_a_run_that_goes_on_and_is_stopped(self):
        anything = {"max_loss_ratio": 1e9, "max_change": 1e9, "max_residual_ratio": 1e9, "max_residual": 1e30, "max_outside_share": 1}
        self.configure(self.folder / "long.json", network=MLP, em={
            "laps": 1000, "sampler": {"steps": 4}, "training": {"steps": 200, "batch": 16}, "guard": anything})
        seen = []

        def begun():
            if not (self.folder / "long/lap_1.png").exists():
                return False
            text = (self.folder / "long/report.html").read_text()
            seen.append(text)
            return True

        code, said = self.interrupted(signal.SIGINT, begun, "fit", "long.json", "--out", "long")
        self.assertEqual(code, 130, said)
        self.assertEqual(Page(seen[-1]).faults, [])
        self.assertIn('http-equiv="refresh"', seen[-1])
        self.assertIn("The run goes on", seen[-1])
        self.assertIn("of 1000 laps are done", seen[-1])
        text = (self.folder / "long/report.html").read_text()
        self.assertIn("The run was stopped", text)
        self.assertNotIn('http-equiv="refresh"', text)


if __name__ == "__main__":
    unittest.main()
