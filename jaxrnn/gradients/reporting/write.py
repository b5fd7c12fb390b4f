"""A report as files: page, pictures, data and text, all of them or none."""

import functools
import json
from pathlib import Path

from jaxrnn.files import markdown_table, text, write_all
from jaxrnn.gradients.reporting.figure import draw, draw_heatmaps, save
from jaxrnn.gradients.reporting.page import to_html
from jaxrnn.gradients.reporting.records import Report, all_tables, as_plain


def write_report(report: Report, folder: Path) -> dict[str, Path]:
    """Writes report.html, .png, .svg, .pdf, .json and .md, and heatmaps.png, .svg, .pdf and gates.png, .svg, .pdf.

    Each is written beside first, then all are renamed.

    Returns:
        The paths by file name.

    Raises:
        OSError: they cannot be written.
    """
    gates = [part for part in report.heatmaps if part.view == "gates"]
    others = [part for part in report.heatmaps if part.view != "gates"]
    figures = {"report": draw(report)}
    figures |= {"heatmaps": draw_heatmaps(report, others, 2)} if others else {}
    figures |= {"gates": draw_heatmaps(report, gates, 1)} if gates else {}
    pictures = {
        f"{name}.{kind}": functools.partial(save, figure)
        for name, figure in figures.items()
        for kind in ("png", "svg", "pdf")
    }
    texts = {
        "report.html": text(to_html(report)),
        "report.json": text(json.dumps(as_plain(report), indent=1, allow_nan=False) + "\n"),
        "report.md": text(to_markdown(report)),
    }
    write_all(folder, texts | pictures)
    return {name: folder / name for name in (*texts, *pictures)}


def to_markdown(report: Report) -> str:
    """Findings, tables and settings."""
    findings = "\n".join(f"- {finding}" for finding in report.findings)
    tables = [f"## {t.title}\n\n{markdown_table(t.columns, t.rows)}" for t in all_tables(report)]
    return "\n".join([f"# {report.title}\n\n{report.subtitle}\n", "## Findings\n", findings + "\n", *tables])
