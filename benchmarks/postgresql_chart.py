"""Draw the results of `benchmarks.postgresql`; runs in the peers' environment, which has matplotlib."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

OURS, LIMIT, OTHERS = "#1a73e8", "#9aa0a6", "#fbbc04"


def main(results: Path, chart: Path) -> None:
    """Draw the rates side by side, and seconds and memory by rows."""
    document = json.loads(results.read_text(encoding="utf-8"))
    cases, aimed_at = document["cases"], document["aimed_at"]
    figure, (rates, growth) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(3, 2))
    bars = [
        ("limit: COPY into nothing", f"limit, {aimed_at}", LIMIT),
        ("ours: read to staged files", f"staged, {aimed_at}", OURS),
        ("ours: whole run", "whole run", OURS),
        ("DuckDB", f"duckdb, {aimed_at}", OTHERS),
        ("ADBC's driver", f"adbc, {aimed_at}", OTHERS),
        ("ingestr", f"ingestr, {aimed_at}", OTHERS),
        ("sling, to CSV", f"sling, {aimed_at}", OTHERS),
        ("dlt, ConnectorX", f"dlt connectorx, {aimed_at}", OTHERS),
        ("dlt, default", "dlt default", OTHERS),
        ("Beam, row by row", "row by row", OTHERS),
    ]
    bars = [bar for bar in bars if bar[1] in cases]
    values = [cases[name]["rows_per_second"] / 1000 for _, name, _ in bars]
    drawn = rates.barh([title for title, _, _ in bars], values, color=[colour for _, _, colour in bars])
    rates.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=3)
    rates.invert_yaxis()
    rates.set_xlabel(f"thousand rows a second, 12 columns, {aimed_at}")
    rates.set_xlim(0, max(values) * 1.12)
    names = [name for name in cases if name.startswith("staged, ") and name.endswith(" rows")]
    millions = [cases[name]["rows"] / 1e6 for name in names]
    growth.plot(millions, [cases[name]["seconds"] for name in names], "o-", color=OURS)
    growth.set_xlabel("million rows")
    growth.set_ylabel("seconds", color=OURS)
    growth.set_ylim(0)
    memory = growth.twinx()
    memory.plot(millions, [cases[name]["peak_mb"] for name in names], "s--", color="#5f6368")
    memory.set_ylabel("peak MiB", color="#5f6368")
    memory.set_ylim(0, 700)
    for axes in (rates, growth, memory):
        axes.spines["top"].set_visible(False)
    figure.tight_layout()
    figure.savefig(chart, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
