# SPDX-License-Identifier: Apache-2.0
"""Reads the page of a run as a browser would be told to, and complains about what is no HTML."""

import html.parser
import re

VOID = {"meta", "link", "img"}
SELF_CLOSED = {"path", "line", "circle", "rect"}


class Page(html.parser.HTMLParser):
    """Tags are closed in the order in which they were opened, ids occur once, and nothing is loaded from anywhere."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.images, self.words, self.faults = [], [], [], [], []
        self.targets = []
        self.feed(text)
        self.close()
        if self.open:
            self.faults.append(f"never closed: {self.open}")
        if len(self.ids) != len(set(self.ids)):
            self.faults.append(f"ids occur twice: {self.ids}")
        self.faults += [f"no such id: {t}" for t in self.targets if t not in self.ids]
        self.text = " ".join(" ".join(self.words).split()).replace("\u00a0", " ")

    def handle_starttag(self, tag, attributes):
        self.look_at(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def look_at(self, tag, attributes):
        values = dict(attributes)
        if len(values) != len(attributes):
            self.faults.append(f"{tag}: an attribute twice")
        if "id" in values:
            self.ids.append(values["id"])
        for name, value in attributes:
            if name.startswith("on") or name == "style":
                self.faults.append(f"{tag} has {name}")
            if name in ("src", "href"):
                if value.startswith("#"):
                    self.targets.append(value[1:])
                elif not value.startswith("data:"):
                    self.faults.append(f"{tag} loads {value}")
        if tag == "img":
            self.images.append(values)
            if not values.get("alt"):
                self.faults.append("a picture without words")
        if tag == "script":
            self.faults.append("a script")

    def handle_startendtag(self, tag, attributes):
        if tag not in SELF_CLOSED:
            self.faults.append(f"{tag} closes itself")
        self.look_at(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)


def palettes(text):
    """The colours of the style: light, dark, paper; each name: (r, g, b)."""
    found = []
    for block in re.findall(r":root\s*\{([^}]*)\}", text):
        colours = {}
        for name, digits in re.findall(r"--([a-z0-9]+):\s*#([0-9a-f]{3,6})", block):
            if len(digits) == 3:
                digits = "".join(2 * d for d in digits)
            colours[name] = tuple(int(digits[k:k + 2], 16) for k in (0, 2, 4))
        found.append(colours)
    return found


def contrast(a, b):
    """Of two colours, 1 .. 21 (WCAG 2.2, relative luminance)."""
    def luminance(colour):
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
