"""How long each stage took on this machine: facts that differ from run to run, hence no outputs.

They stand beside the report as a page of their own, which the report links to.
"""

import json
from html import escape
from pathlib import Path

from stages.config.paths import Paths
from stages.config.writing import write_json, write_text

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Seconds per stage</title>
<style>
body { font-family: system-ui, sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em; }
th { text-align: left; font-weight: normal; }
td { text-align: right; padding-left: 2em; }
</style>
<h1>Seconds per stage</h1>
<p>Of the last run of each stage on this machine, imports not counted. A stage that DVC restored
from its cache has not run, and is not listed or stands with an earlier time.</p>
<table>
<thead><tr><th scope="col">stage</th><th scope="col">seconds</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


def record_time(paths: Paths, stage: str, seconds: float) -> None:
    """Note the seconds of a stage, such as `train@ct-cnn-full`, and write the page anew."""
    noted = paths.time(stage)
    write_json(noted, {"seconds": round(seconds, 1)})
    # `*` takes hidden names too: those of files that other stages are writing at the moment.
    finished = (p for p in noted.parent.glob("*.json") if not p.name.startswith("."))
    rows = "\n".join(_row(path) for path in sorted(finished))
    write_text(paths.times, PAGE.replace("{rows}", rows))


def _row(path: Path) -> str:
    seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"]
    return f'<tr><th scope="row">{escape(path.stem)}</th><td>{seconds:,.1f}</td></tr>'
