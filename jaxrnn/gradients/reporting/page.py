"""The report as one HTML file that asks nothing of the network."""

import html
import json
import re
from importlib import resources

from jaxrnn.gradients.reporting.records import Report, Table, all_tables, as_plain


def to_html(report: Report) -> str:
    """The whole page: style, script and data inside; without scripts it still tells title, findings and tables."""
    parts = {
        "title": html.escape(report.title),
        "subtitle": html.escape(report.subtitle),
        "findings": "".join(f"<li>{_powers(html.escape(text))}</li>" for text in report.findings),
        "tables": "".join(map(_table, all_tables(report))),
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        "data": _embedded(as_plain(report)),
    }
    page = _asset("page.html")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def _powers(text: str) -> str:
    """10^-3.2 as a browser sets it."""
    return re.sub(r"10\^(-?[\d.]*\d)", lambda m: f"10<sup>{m[1].replace('-', '−')}</sup>", text)


def _asset(name: str) -> str:
    return (resources.files("jaxrnn.gradients.reporting") / name).read_text(encoding="utf-8")


def _embedded(data) -> str:
    """JSON inside a script element, where neither `</script>` nor a line separator may stand as it is."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _table(table: Table) -> str:
    def row(tag: str, entries: tuple[str, ...]) -> str:
        return "<tr>" + "".join(f"<{tag}>{_powers(html.escape(entry))}</{tag}>" for entry in entries) + "</tr>"

    body = "".join(row("td", entries) for entries in table.rows)
    return (
        f"<h2>{html.escape(table.title)}</h2><div class='scroll' tabindex='0' role='region' "
        f"aria-label='{html.escape(table.title, quote=True)}'><table><thead>{row('th', table.columns)}</thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
