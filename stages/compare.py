"""Bring all cases together: tables for `dvc plots`, paired comparisons in words, one report.

Reads:  what every other stage wrote for the cases of params.yaml
Writes: plots/*.csv, metrics/comparisons.json, metrics/headlines.json, plots/discussion.md,
        plots/side_by_side/<dataset>.png, plots/report.html
"""

import json
import logging

from stages.config.command import run_single_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.evaluation.comparisons import compare_all_cases
from stages.reporting.discussion import build_discussion, render_markdown
from stages.reporting.gallery import draw_sheets
from stages.evaluation.headlines import build_headlines
from stages.reporting.page import render_page
from stages.reporting.results import load_results
from stages.evaluation.plot_tables import build_plot_tables

logger = logging.getLogger(__name__)

SHOWN = ("case", "accuracy", "balanced_accuracy", "f1_macro", "auroc", "n_test")


def compare_all(params: Params, paths: Paths) -> None:
    """Write everything that looks at more than one case."""
    results = load_results(params, paths)
    comparisons, headlines = compare_all_cases(results), build_headlines(results)
    for path, content in ((paths.comparisons, comparisons), (paths.headlines, headlines)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tables = build_plot_tables(results)
    paths.report.parent.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(paths.plot(name), index=False)
    discussion = build_discussion(results, comparisons, headlines)
    paths.discussion.write_text(render_markdown(discussion), encoding="utf-8")
    sheets = draw_sheets(results)
    for dataset, sheet in sheets.items():
        path = paths.side_by_side(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    page = render_page(results, comparisons, headlines, discussion, sheets)
    paths.report.write_text(page, encoding="utf-8")
    logger.info("%s", tables["table"][list(SHOWN)].to_string(index=False))
    logger.info("report: %s", paths.report)


if __name__ == "__main__":
    run_single_stage(compare_all, __doc__)
