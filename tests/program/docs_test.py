# SPDX-License-Identifier: Apache-2.0
"""docs_test.py FOLDER: the pages that `./run docs` made, from the disk in a browser: front page, search, the example of a
header; and links and pictures of all pages."""

import pathlib
import re
import sys
import time

import browser

# What a reader looks for, and what must be among the results.
SOUGHT = {"learn": "learn", "espirit": "espirit", "load_npy": "load_npy_as", "mmps": "mmps",
          "linearop": "LinearOperator"}
# The page of a header, and a call of its example, which is a link to what it does.
EXAMPLE = ("mask_8hpp.html", "diem::linop::draw_mask")
LINKS = "[...document.querySelectorAll('.contents a[href]')].map(a => a.href)"
FOUND = ("[...document.querySelectorAll('.SRResult')].filter(e => e.style.display != 'none').map("
         "e => e.querySelector('.SRSymbol').textContent)")


# What a page refers to on the disk.
REFERENCE = re.compile(r'(?:href|src)="(?!\w+:|\$)([^"#?]+)')


def until(page, expression):
    """Its value when it holds something, or after ten seconds."""
    for _ in range(100):
        if value := page.value(expression):
            break
        time.sleep(0.1)
    return value


def found(page, folder, word):
    """The search box says where the results are; they are in a page of their own, shown in a frame."""
    page.open(folder / "index.html")
    until(page, "document.getElementById('MSearchField') != null")  # the menu's script puts it there
    page.value(f"document.getElementById('MSearchField').value = '{word}'; searchBox.Search(); 0")
    results = (folder / page.value("searchBox.lastResultsPage")).resolve()
    page.ask("Page.navigate", url=f"{results.as_uri()}?{word}")
    return until(page, FOUND)


def missing(folder):
    """Of each page, the files that it refers to and that are not there: other pages, pictures."""
    for page in sorted(folder.glob("*.html")):
        for name in sorted(set(REFERENCE.findall(page.read_text()))):
            if not (folder / name).exists():
                yield f"{page.name} refers to {name}, which is not there"


def main(folder):
    page = browser.Browser()
    try:
        page.open(folder / "index.html")
        faults = [*page.said, *missing(folder)]
        links = page.value(LINKS)
        if len(links) < 100:
            faults.append(f"the front page has {len(links)} links, expected a table of calls and headers")
        page.open(folder / EXAMPLE[0])
        if EXAMPLE[1] not in (links_of := page.value("[...document.querySelectorAll('.fragment a')].map(a => a.text)")):
            faults.append(f"the example of {EXAMPLE[0]} links to {links_of}, not to {EXAMPLE[1]}")
        for word, name in SOUGHT.items():
            if name not in (names := found(page, folder, word)):
                faults.append(f"search for {word} finds {names}, not {name}")
    finally:
        page.close()
    for fault in faults:
        print(fault)
    print(f"docs: the front page has {len(links)} links; {len(SOUGHT)} words were searched for")
    return 1 if faults else 0


if __name__ == "__main__":
    if browser.found() is None:
        print("SKIPPED: no Chromium (Debian: chromium): the pages were not opened in a browser")
        sys.exit(0)
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
