# SPDX-License-Identifier: Apache-2.0
"""Tables of the pages from docs/data/NAME.json. In a page a table stands between

    <!-- data: NAME -->
    <!-- end -->

or, with some rows and columns alone, counted from 1, <!-- data: NAME rows 1 5 columns 1 4 -->.

A file holds "columns" (each a title, the digits after the point, and what is best: "max", "min" or nothing), "rows" of cells, and
where the figures come from: "command" and "machine". A cell is a text, or the figures of all seeds as they were measured; where
a seed has a text, it is that of a run that did not end. Shown are mean and range; the best mean of a column is bold.
"""
import json
import re

MARK = re.compile(r"(<!-- data: (\S+)(?: rows ([\d ]+))?(?: columns ([\d ]+))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def mean_of(cell):
    """The mean over seeds, or None where the cell is a text or a run did not end."""
    if not isinstance(cell, list) or any(isinstance(v, str) for v in cell):
        return None
    return sum(cell) / len(cell)


def shown(cell, digits):
    if not isinstance(cell, list):
        return cell
    if mean_of(cell) is None:
        return ", ".join(v if isinstance(v, str) else f"{v:.{digits}f}" for v in cell)
    mean, low, high = (f"{v:.{digits}f}" for v in (mean_of(cell), min(cell), max(cell)))
    return mean if len(cell) == 1 or low == high else f"{mean} ({low} - {high})"


def markdown(data):
    columns, rows = data["columns"], data["rows"]
    best = []
    for k, column in enumerate(columns):
        means = [m for m in (mean_of(row[k]) for row in rows) if m is not None]
        best.append({"max": max, "min": min}[column["best"]](means) if column.get("best") and means else None)
    lines = ["| " + " | ".join(c["title"] for c in columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = []
        for column, cell, winner in zip(columns, row, best):
            text = shown(cell, column.get("digits", 2))
            cells.append(f"**{text}**" if winner is not None and mean_of(cell) == winner else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def chosen(data, rows, columns):
    """The data with these rows and columns alone: numbers from 1 as a text, or None for all."""
    def take(values, which):
        return values if which is None else [values[int(k) - 1] for k in which.split()]
    return {"columns": take(data["columns"], columns), "rows": [take(row, columns) for row in take(data["rows"], rows)]}


def renewed(text, folder):
    """The text of a page with its tables made again from the files of the folder."""
    def renew(match):
        begin, name, rows, columns, _old, end = match.groups()
        return begin + markdown(chosen(json.loads((folder / f"{name}.json").read_text()), rows, columns)) + end
    return MARK.sub(renew, text)


def pages_that_differ(docs):
    """(page, its text as it should be) for README and each page under the folder whose tables differ from docs/data."""
    for page in [docs.parent / "README.md", *sorted(docs.rglob("*.md"))]:
        text = page.read_text()
        new = renewed(text, docs / "data")
        if new != text:
            yield page, new
