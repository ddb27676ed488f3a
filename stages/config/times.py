"""Where the time goes on this machine: facts that differ from run to run, hence no outputs.

They stand beside the report as a page of their own, which the report links to.
"""

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from stages.config.paths import Paths
from stages.config.spent import Spent
from stages.config.writing import write_json, write_text

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Where the time goes</title>
<style>
body { font-family: system-ui, sans-serif; max-width: 56em; margin: 2em auto; padding: 0 1em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 1em 0 0.5em; }
thead th, tfoot { border-bottom: 1px solid; }
tfoot { border-top: 1px solid; }
th { text-align: left; font-weight: normal; white-space: nowrap; }
td, thead th + th { text-align: right; padding-left: 1.5em; }
</style>
<h1>Where the time goes</h1>
<p>{summary}</p>
<p>Of the last run of each entry on this machine. Start-up is the interpreter and the imports before
the work; work holds later imports. CPU seconds are of all cores, start-up and worker processes
among them. Peak memory is of the largest process, marked * where that was a worker.</p>
<p>{energy}</p>
<p>Not in it: DVC's own time before, between and after stages, and stages that it restored from its
cache, which are missing or stand with an earlier run. An entry that params.yaml no longer has stays
until its file in <code>data/scratch/times</code> is deleted.{left_out}</p>
{tables}
</html>
"""

TABLE = """<div class="wide" tabindex="0" role="region" aria-label="{caption}">
<table>
<caption>{caption}</caption>
<thead><tr><th scope="col">{subject}</th>{columns}</tr></thead>
<tbody>
{body}
</tbody>
<tfoot>
{foot}
</tfoot>
</table>
</div>"""

COLUMNS = ("start-up, s", "work, s", "CPU, s", "peak memory, MB")
ENERGY = "energy, kJ"
JOULES_PER_KJ = 1000
TRAINING = "train@"  # what the name of each training begins with


class _Row(NamedTuple):
    name: str
    spent: Spent


def record_time(paths: Paths, stage: str, spent: Spent) -> None:
    """Note what a stage, such as `train@ct-cnn-full`, took, and write the page anew."""
    own = paths.time(stage)
    write_json(own, spent._asdict())
    # `*` takes hidden names too: those of files that other stages are writing at the moment.
    finished = sorted(p for p in own.parent.glob("*.json") if not p.name.startswith("."))
    runs = [_Row(path.stem, noted) for path in finished if (noted := _read(path))]
    write_text(paths.times, _page(runs, n_left_out=len(finished) - len(runs)))


def _read(path: Path) -> Spent | None:
    """What was noted; None for what an earlier version noted, with other keys."""
    noted = json.loads(path.read_text(encoding="utf-8"))
    return Spent(**noted) if set(noted) == set(Spent._fields) else None


def _page(runs: Sequence[_Row], n_left_out: int) -> str:
    by_stage = groupby(runs, key=lambda row: row.name.partition("@")[0])
    stages = [_add(stage, tuple(of_stage)) for stage, of_stage in by_stage]
    everything = _add("all", runs)
    tables = _table("Stages, the longest first", "stage", stages, everything)
    trained = [
        row._replace(name=row.name.removeprefix(TRAINING))
        for row in runs
        if row.name.startswith(TRAINING)
    ]
    if trained:
        total = _add("all", trained)
        tables += "\n" + _table("Training of each case, the longest first", "case", trained, total)
    tables += "\n" + _table("Each entry, the longest first", "entry", runs, everything)
    parts = {
        "summary": _summary(everything.spent),
        "energy": escape(_describe_energy(runs)),
        "left_out": _left_out(n_left_out),
    }
    page = PAGE
    for name, text in {**parts, "tables": tables}.items():
        page = page.replace("{" + name + "}", text)
    return page


def _add(name: str, rows: Sequence[_Row]) -> _Row:
    """One row of several: sums of seconds and, where all tell it, of energy; the largest peak."""
    largest = max((row.spent for row in rows), key=lambda spent: spent.peak)
    energies = [row.spent.energy for row in rows]
    return _Row(
        name if len(rows) == 1 else f"{name}, {len(rows)} entries",
        Spent(
            startup=sum(row.spent.startup for row in rows),
            work=sum(row.spent.work for row in rows),
            cpu=sum(row.spent.cpu for row in rows),
            peak=largest.peak,
            in_worker=largest.in_worker,
            energy=None if None in energies else sum(filter(None, energies)),
            energy_of="",
        ),
    )


def _describe_energy(rows: Sequence[_Row]) -> str:
    """Whose energy is shown, or why there is none; each answer once."""
    told = dict.fromkeys(row.spent.energy_of for row in rows if row.spent.energy is not None)
    silent = dict.fromkeys(row.spent.energy_of for row in rows if row.spent.energy is None)
    said = []
    if told:
        said.append(
            "Energy is that of the whole machine during the work, other programs included, "
            f"counted of: {' | '.join(told)}. 3,600 kJ are 1 kWh."
        )
    if silent:
        said.append(
            "Energy: the machine does not tell, and nothing is estimated"
            f"{' (where n/a stands)' if told else ''}: {' | '.join(silent)}."
        )
    return " ".join(said)


def _summary(spent: Spent) -> str:
    total = spent.startup + spent.work
    return f"Start-up is {spent.startup / total:.0%} of the {total:,.0f} s that all stages took."


def _left_out(count: int) -> str:
    entries = "1 entry is" if count == 1 else f"{count} entries are"
    return f" {entries} left out: noted by an earlier version." if count else ""


def _table(caption: str, subject: str, rows: Sequence[_Row], everything: _Row) -> str:
    longest_first = sorted(rows, key=lambda row: -(row.spent.startup + row.spent.work))
    tells = any(row.spent.energy is not None for row in rows)
    columns = (*COLUMNS, ENERGY) if tells else COLUMNS
    return TABLE.format(
        caption=caption,
        subject=subject,
        columns="".join(f'<th scope="col">{column}</th>' for column in columns),
        body="\n".join(_row(row, tells_energy=tells) for row in longest_first),
        foot=_row(everything, tells_energy=tells),
    )


def _row(row: _Row, *, tells_energy: bool) -> str:
    spent = row.spent
    mark = "*" if spent.in_worker else ""
    seconds = (f"{value:,.1f}" for value in (spent.startup, spent.work, spent.cpu))
    energy = "n/a" if spent.energy is None else f"{spent.energy / JOULES_PER_KJ:,.1f}"
    cells = [*seconds, f"{spent.peak:,.0f}{mark}", *([energy] if tells_energy else [])]
    return (
        f'<tr><th scope="row">{escape(row.name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )
