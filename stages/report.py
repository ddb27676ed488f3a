"""Write the pages: all cases in one report, and their comparisons in words.

Reads:  data/prepared/<dataset>/, data/audit/, metrics/audit/, metrics/cam/, metrics/cases/,
        metrics/external/, metrics/reports/, metrics/comparisons.json, metrics/headlines.json,
        metrics/searches.json, plots/cam/, plots/history/
Writes: plots/report.html, plots/discussion.md, plots/side_by_side/<dataset>.png
"""

import logging

from stages.config.command import run_single_stage
from stages.config.leftovers import remove_leftovers
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import keep_only, replacing, write_text
from stages.reporting.discussion import build_discussion, render_markdown
from stages.reporting.gallery import draw_sheets
from stages.reporting.page import render_page
from stages.reporting.results import load_results

logger = logging.getLogger(__name__)


def report_all(params: Params, paths: Paths) -> None:
    """Write every page."""
    remove_leftovers(params, paths)
    results = load_results(params, paths)
    discussion = build_discussion(results)
    write_text(paths.discussion, render_markdown(discussion))
    sheets = draw_sheets(results)
    for dataset, sheet in sheets.items():
        with replacing(paths.side_by_side(dataset)) as partial:
            sheet.save(partial)
    folder = paths.side_by_side("any").parent
    keep_only(folder, {paths.side_by_side(dataset).name for dataset in sheets})
    write_text(paths.report, render_page(results, discussion))
    logger.info("report: %s", paths.report)


if __name__ == "__main__":
    run_single_stage(report_all, __doc__)
