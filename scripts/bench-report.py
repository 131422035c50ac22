#!/usr/bin/env python3
"""Writes docs/performance.md from the JSON lines of taskbridge-bench. The standard library only; used by scripts/bench.

What stands below the marker line in an existing file is kept.
"""

import argparse
import datetime
import json
import os
import pathlib

MARKER = "<!-- hand-written below -->"

# What a peer's no-op task is to be beaten by.
PEER_TARGETS = {"celery": 7.0, "dramatiq": 5.0}

FIRST_NOTES = """

## How to read this

An absolute figure belongs to one machine and one hour: broker, bridge, worker and load generator share its cores. The
ratios are taken within one run and say more. `scripts/bench ROW…` measures single rows and only prints them.
"""


def read_lines(path: str) -> list[dict]:
    """The JSON objects of a file, one per line."""
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def number(value: float) -> str:
    """Readable: thousands separated, about three digits behind small numbers."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def peer_ratios(rows: list[dict], peers: list[dict]) -> list[dict]:
    """The rate of e2e over each peer's, as ratios of the row `e2e`."""
    rate = next((figure["value"] for row in rows if row["name"] == "e2e" for figure in row.get("figures", [])
                 if figure["name"] == "rate"), None)
    if rate is None:
        return []
    ratios = []
    for peer in peers:
        if peer["peer"] in PEER_TARGETS and peer["end_to_end_per_s"] > 0:
            value, target = rate / peer["end_to_end_per_s"], PEER_TARGETS[peer["peer"]]
            ratios.append({"name": f"times {peer['peer'].capitalize()}", "value": value, "target": target,
                           "at_most": False, "met": value >= target})
    return ratios


def ratio_table(rows: list[dict], peers: list[dict]) -> list[str]:
    """Every ratio beside its target; what falls short is marked."""
    lines = ["| row | ratio | measured | to reach | |", "|---|---|---:|---:|---|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| `{row['name']}` | – | – | – | **no figure**: {cell(row['error'])} |")
            continue
        ratios = row["ratios"] + (peer_ratios(rows, peers) if row["name"] == "e2e" else [])
        scale = "" if row.get("scale", 1) == 1 else f" (scale {number(row['scale'])})"
        for ratio in ratios:
            sign = "≤" if ratio["at_most"] else "≥"
            lines.append(f"| `{row['name']}`{scale} | {cell(ratio['name'])} | {number(ratio['value'])} "
                         f"| {sign} {number(ratio['target'])} | {'met' if ratio['met'] else '**falls short**'} |")
    return lines


def figure_tables(rows: list[dict], peers: list[dict]) -> list[str]:
    """All figures, one table per row."""
    lines: list[str] = []
    for row in rows:
        if "error" in row:
            continue
        lines += ["", f"### `{row['name']}`", "", "| figure | value | |", "|---|---:|---|"]
        lines += [f"| {cell(figure['name'])} | {number(figure['value'])} | {cell(figure['unit'])} |"
                  for figure in row["figures"]]
        if row.get("note"):
            lines += ["", row["note"]]
    if peers:
        lines += ["", "### Peers, a no-op task end to end", "", "| peer | runs | submitted | end to end | |",
                  "|---|---:|---:|---:|---|"]
        lines += [f"| {peer['peer'].capitalize()} | {number(peer['runs'])} | {number(peer['submit_per_s'])} "
                  f"| {number(peer['end_to_end_per_s'])} | runs/s |" for peer in peers]
    return lines


def surroundings(rows: list[dict], versions: dict[str, str]) -> list[str]:
    """Machine, versions and the durability that running bridges and brokers told."""
    machine = next((row["machine"] for row in rows if "machine" in row), {})
    durability: dict[str, str] = {}
    for row in rows:
        durability.update(row.get("durability", {}))
    lines = ["| | |", "|---|---|"]
    if machine:
        lines.append(f"| machine | {machine['cores']} cores, {cell(machine['cpu'])}, {machine['memory_mib']} MiB, "
                     f"Linux {machine['kernel']} |")
    lines += [f"| {name} | {cell(version)} |" for name, version in versions.items()]
    lines += [f"| {cell(name)}, read back | {cell(value)} |" for name, value in sorted(durability.items())]
    return lines


def cell(text: str) -> str:
    """Fit to stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def kept_text(path: str) -> str:
    """What a person wrote below the marker."""
    if os.path.exists(path):
        _, found, below = pathlib.Path(path).read_text().partition(MARKER)
        if found:
            return below
    return FIRST_NOTES


def main() -> None:
    """Reads the results and replaces the file."""
    parser = argparse.ArgumentParser(description="writes docs/performance.md")
    parser.add_argument("--results", required=True, help="JSON lines of taskbridge-bench")
    parser.add_argument("--peers", required=True, help="JSON lines of other task queues; may be empty")
    parser.add_argument("--versions", required=True, help="JSON object of names and versions")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    rows, peers = read_lines(arguments.results), read_lines(arguments.peers)
    versions = json.loads(pathlib.Path(arguments.versions).read_text())
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    lines = ["# Performance", "",
             f"Measured on {today} by `scripts/bench`, which replaces everything above the marker line. "
             "Fully durable throughout: `synchronous=FULL`, persistent",
             "messages, publisher confirms, acknowledgement after the commit.", "",
             "## Ratios", "", *ratio_table(rows, peers), "", "## Figures", *figure_tables(rows, peers), "",
             "## Where", "", *surroundings(rows, versions), "", MARKER]
    text = "\n".join(lines) + kept_text(arguments.output).rstrip("\n") + "\n"
    if not text.split(MARKER, 1)[1].startswith("\n"):
        text = text.replace(MARKER, MARKER + "\n", 1)
    new = arguments.output + ".new"
    pathlib.Path(new).write_text(text)
    os.replace(new, arguments.output)


if __name__ == "__main__":
    main()
