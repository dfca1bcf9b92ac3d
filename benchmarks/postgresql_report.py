"""The tables of `docs/reference/performance.md` and the README's figures, rendered from `results/postgresql.json`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

AIMS = {
    "staged_vs_copy": 1.2,
    "staged_vs_copy_8m": 1.2,
    "staged_vs_copy_binary": 0.8,
    "staged_vs_duckdb": 1.0,
    "staged_vs_duckdb_2_connections": 1.0,
    "staged_vs_dlt_connectorx": 2.0,
    "staged_vs_row_beam": 40.0,
    "whole_run_vs_copy": 0.6,
}
MOST = {
    "server_cpu_vs_copy_csv": 0.65,
    "client_cpu_seconds_per_million": 1.2,
    "peak_mb_2m": 350,
    "peak_mb_8m": 350,
    "startup_seconds_help": 0.4,
    "nothing_new_seconds": 2.5,
}
MOST_DEVIATION = 0.1

BEGIN, END = "<!-- performance:begin -->", "<!-- performance:end -->"


def write_figures(root: Path, document: dict[str, Any]) -> None:
    """Replace what stands between the markers in the page of figures and in the README of the repository at `root`."""
    for name, lines in (("docs/reference/performance.md", render(document)), ("README.md", summary(document))):
        path = root / name
        path.write_text(replace_figures(path.read_text(encoding="utf-8"), lines), encoding="utf-8")


def replace_figures(text: str, lines: Iterable[str]) -> str:
    """Return `text` with new lines between the markers."""
    block = "\n".join((BEGIN, "", *lines, "", END))
    return re.sub(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL)


def summary(document: dict[str, Any]) -> Iterator[str]:
    """Yield the three figures for somebody who decides whether to read on."""
    largest = document["largest"]
    ours, limit, dlt = (document["cases"][f"{name}, {largest}"] for name in ("staged", "limit", "dlt connectorx"))
    rate = ours["rows_per_second"]
    cores = document["machine"]["cpus"]
    yield (
        f"- **{round(rate, -3):,} rows a second** of 12 columns from PostgreSQL to Parquet, on {cores} cores that the "
        f"server shares: {rate / limit['rows_per_second']:.2f} of the speed of `COPY` into nothing ({largest})."
    )
    yield (
        f"- **{rate / dlt['rows_per_second']:.1f} times as fast as dlt** with ConnectorX, and "
        f"{document['staged_vs_row_beam']:.0f} times as fast as reading row by row in Beam."
    )
    yield f"- **{ours['peak_mb']:,.0f} MiB of memory** for {largest}, {document['peak_mb_2m']:,.0f} MiB for 2,000,000."


def render(document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables."""
    aimed_at, cases = document["aimed_at"], document["cases"]
    yield "| 12 columns | krows/s | krows/s a core of the reader | Peak MiB | Beside the limit |"
    yield "| --- | --- | --- | --- | --- |"
    limit = cases[f"limit, {aimed_at}"]
    for title, name in (
        (f"the limit: `COPY … TO STDOUT (FORMAT csv)` into nothing, {aimed_at}", f"limit, {aimed_at}"),
        (f"the limit in binary, {aimed_at}", f"limit in binary, {aimed_at}"),
        (f"ours, read to staged files, {aimed_at}", f"staged, {aimed_at}"),
        ("ours, whole run with load and verification", "whole run"),
        (f"DuckDB's postgres extension, to Parquet, {aimed_at}", f"duckdb, {aimed_at}"),
        (f"ADBC's driver, to Parquet, {aimed_at}", f"adbc, {aimed_at}"),
        (f"ingestr, to Parquet, {aimed_at}", f"ingestr, {aimed_at}"),
        (f"sling, to CSV, {aimed_at}", f"sling, {aimed_at}"),
        (f"dlt with ConnectorX, to Parquet, {aimed_at}", f"dlt connectorx, {aimed_at}"),
        ("dlt with its default backend, to Parquet", "dlt default"),
        ("row by row in Beam: cursor, dict, JSON lines", "row by row"),
        (f"the limit, {document['largest']}", f"limit, {document['largest']}"),
        (f"ours, read to staged files, {document['largest']}", f"staged, {document['largest']}"),
        (f"DuckDB's postgres extension, {document['largest']}", f"duckdb, {document['largest']}"),
        (f"dlt with ConnectorX, {document['largest']}", f"dlt connectorx, {document['largest']}"),
    ):
        if name not in cases:
            # Measured before this case was one.
            continue
        beside = limit if document["largest"] not in name else cases[f"limit, {document['largest']}"]
        yield f"| {title} | {_cells(cases[name], beside, cpu_is_known=name != 'whole run')} |"
    yield ""
    yield "| Ours, read to staged files | Rows | Seconds | krows/s | Peak MiB |"
    yield "| --- | --- | --- | --- | --- |"
    for name, case in cases.items():
        if name.startswith(("staged", "interval")):
            title = re.sub(r"^staged, ", "", name).replace("_", " ")
            title = re.sub(r"^wide (\d+)$", r"rows of \1 bytes", re.sub(r"^columns (\d+)$", r"\1 columns", title))
            title = title.replace("interval of", "a short interval of a table of")
            rate = case["rows_per_second"] / 1000
            yield f"| {title} | {case['rows']:,} | {case['seconds']:.1f} | {rate:,.0f} | {case['peak_mb']:,.0f} |"
    yield ""
    if "staged_vs_duckdb" in document:
        yield from _processors(document)
        yield ""
    inexact = {name: case["inexact"] for name, case in cases.items() if "inexact" in case}
    if inexact:
        found = "; ".join(f"{name.partition(',')[0]} in {', '.join(columns)}" for name, columns in inexact.items())
        yield f"The files hold other values than the table: {found}. The values of all others were compared and agree."
        yield ""
    machine, interval = document["machine"], document["interval"]
    titles = {"adbc-driver-postgresql": "ADBC", "ingestr": "ingestr", "sling-linux-amd64": "sling"}
    peers = document["peers"]
    others = "".join(f"{title} {peers[name]}, " for name, title in titles.items() if name in peers)
    if document["load_before"] > 1:
        yield (
            f"**The machine was busy with other work** when this was measured (load average {document['load_before']} "
            f"on {machine['cpus']} cores), which costs a reader of several threads more than one of a single: measure "
            "again."
        )
        yield ""
    missed = misses(document)
    yield f"Aims: {'missed: ' + '; '.join(missed) if missed else 'all reached'}."
    yield ""
    yield (
        f"{document['date'][:10]}, {machine['cpus']} cores that the servers share with the readers, "
        f"{machine['memory_gb']} GB, medians of {document['rounds']}, dlt {document['peers']['dlt']}, "
        f"DuckDB {document['peers'].get('duckdb', 'not measured')}, "
        f"{others}ConnectorX "
        f"{document['peers']['connectorx']}; all figures are in `benchmarks/results/postgresql.json`. Seconds grow "
        f"with the rows to the power of {document['growth_exponent']}. The {interval['rows']:,} rows of a short "
        f"interval in the largest table cost the server {interval['buffers']:,} buffers; the table has "
        f"{interval['table_buffers']:,} ({interval['step']})."
    )


def _processors(document: dict[str, Any]) -> Iterator[str]:
    yield (
        f"CPU seconds per million rows: ours {document['client_cpu_seconds_per_million']}; PostgreSQL "
        f"{document['server_cpu_vs_copy_csv']} times what it needs for CSV. Ours to DuckDB's speed: "
        f"{document['staged_vs_duckdb']} with one connection, {document['staged_vs_duckdb_2_connections']} with two. "
        f"`main.py --help` takes {document['startup_seconds_help']} s, a run that finds nothing new "
        f"{document['nothing_new_seconds']} s."
    )


def _cells(case: dict[str, Any], limit: dict[str, Any], *, cpu_is_known: bool) -> str:
    core = f"{case['rows_per_core_second'] / 1000:,.0f}" if cpu_is_known else ""
    beside = case["rows_per_second"] / limit["rows_per_second"]
    return f"{case['rows_per_second'] / 1000:,.0f} | {core} | {case['peak_mb']:,.0f} | {beside:.2f}"


def misses(document: dict[str, Any]) -> list[str]:
    """Return a sentence for each target that is missed; one that was not measured is not."""
    found = [
        f"{name} is {document[name]}, the aim is {aim}" for name, aim in AIMS.items() if document.get(name, aim) < aim
    ]
    found += [
        f"{name} is {document[name]}, the aim is at most {most}"
        for name, most in MOST.items()
        if document.get(name, most) > most
    ]
    if abs(document["growth_exponent"] - 1) > MOST_DEVIATION:
        found.append(f"growth_exponent is {document['growth_exponent']}, the aim is 1 within {MOST_DEVIATION}")
    return found
