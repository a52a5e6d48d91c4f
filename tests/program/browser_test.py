# SPDX-License-Identifier: Apache-2.0
"""The page of a run in a browser: nothing is complained of, pictures are there, text can be read in light and dark, on a wide and
on a narrow screen, and on paper. DIEM_SCREENSHOTS names a folder that keeps pictures of the page."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import browser
from support import MLP, Case

PROGRAMS = pathlib.Path(os.environ["DIEM_PROGRAMS"])
# Text whose contrast to what it stands on is below 4.5 (WCAG 2.2, AA), with its colours.
UNREADABLE = """(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = c => { const v = c.slice(0, 3).map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
                       return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
                                                         if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  for (let n; n = walk.nextNode();) {
    if (!n.data.trim() || n.parentElement.closest('title')) continue;
    const e = n.parentElement, style = getComputedStyle(e);
    const a = light(parse(e.closest('svg') ? style.fill : style.color)), b = light(ground(e));
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) bad.push(n.data.trim() + ' ' + style.color);
  }
  return bad; })()"""
PICTURES = "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.naturalWidth == i.getAttribute('width'))"
LOADED = "performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).map(e => e.name)"
HEADINGS = "[...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))"
TALL = "[...document.querySelectorAll('svg')].filter(e => e.getBoundingClientRect().height < 5).length"


class InABrowser(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    @classmethod
    def make_shared(cls):
        super().make_shared()
        cls.configure(cls.home / "net.json", network=MLP, em={"laps": 3, "sampler": {"steps": 4},
                                                              "training": {"steps": 200, "batch": 16}})
        cls.run_program("fit", "net.json", "--out", "net", cwd=cls.home)
        cls.must("posterior", "net/prior.safetensors", "data/y.npy", "--operator", "data/operator.json", "--sigma-y", "0.1",
                 "--steps", "4", "--out", "restored", cwd=cls.home)
        cls.must("report", "run", "net", "--out", "both.html", cwd=cls.home)
        (cls.home / "nothing").mkdir()
        (cls.home / "nothing/report.json").write_text(json.dumps({"program": "demo", "laps": [{"loss": None}]}))
        cls.must("report", "nothing", cwd=cls.home)
        for name, smoke in (("covariances", "--smoke"), ("classifier", "--smoke"), ("mri_measured", "smoke")):
            subprocess.run([PROGRAMS / name, smoke, "--out", name, "--quiet"], cwd=cls.home, stderr=subprocess.DEVNULL, check=True)

    def test_pages(self):
        kept = os.environ.get("DIEM_SCREENSHOTS")
        for name in ("net/report.html", "run/report.html", "restored/posterior.html", "both.html", "nothing/report.html",
                     "covariances/report.html", "classifier/report.html", "mri_measured/report.html"):
            grounds = set()
            for scheme, width in (("light", 1200), ("dark", 1200), ("light", 390)):
                with self.subTest(page=name, scheme=scheme, width=width):
                    self.browser.said.clear()
                    self.browser.open(self.folder / name, width, 900, scheme)
                    value = self.browser.value
                    pictures = value(PICTURES)
                    self.assertEqual(pictures, [True] * len(pictures))
                    self.assertEqual(len(pictures) > 0, name.split("/")[0] not in ("nothing", "covariances"))
                    self.assertEqual(value(LOADED), [])
                    self.assertEqual(value(UNREADABLE), [])
                    self.assertEqual(value(TALL), 0)
                    self.assertLessEqual(value("document.documentElement.scrollWidth"), width)
                    levels = value(HEADINGS)
                    self.assertEqual(levels[0], 1)
                    self.assertTrue(all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels)
                    grounds.add(value("getComputedStyle(document.body).backgroundColor") if width > 1000 else None)
                    self.assertEqual(self.browser.said, [])
                    if kept:
                        self.browser.screenshot(pathlib.Path(kept) / f"{name.replace('/', '_')[:-5]}_{scheme}_{width}.png")
            self.assertEqual(len(grounds), 3)  # two schemes, and the narrow one
            self.assertEqual(self.browser.pdf()[:5], b"%PDF-")


if __name__ == "__main__":
    if browser.found() is None:
        print("SKIPPED: no Chromium (Debian: chromium): the page of a run was not opened in a browser")
        sys.exit(77)
    unittest.main()
