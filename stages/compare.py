"""Set all cases beside each other and beside the shortcuts of their views, in numbers.

Reads:  data/predictions/<case>.csv, data/audit/<view>.csv, metrics/audit/<view>.json,
        metrics/cases/<case>.json, metrics/reports/<case>.json, metrics/cam/<case>.json,
        plots/history/<case>/
Writes: metrics/comparisons.json, metrics/headlines.json, metrics/searches.json,
        plots/{table,curves,steps,roc,pr,confusion,calibration,decision,distribution}.csv
"""

import logging

from stages.config.command import run_single_stage
from stages.config.leftovers import remove_leftovers
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_csv, write_json
from stages.evaluation.comparisons import compare_all_cases
from stages.evaluation.headlines import build_headlines
from stages.evaluation.outcomes import load_outcomes
from stages.evaluation.plot_tables import build_plot_tables
from stages.evaluation.searches import find_set_aside, run_searches
from stages.evaluation.shared_draws import SharedDraws
from stages.evaluation.statistics.records import Bootstrap

logger = logging.getLogger(__name__)

SHOWN = ("case", "accuracy", "balanced_accuracy", "f1_macro", "auroc", "n_test")


def compare_all(params: Params, paths: Paths) -> None:
    """Write every number that is of more than one case."""
    remove_leftovers(params, paths)
    outcomes = load_outcomes(params, paths)
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
    searches = run_searches(outcomes, bootstrap)
    outcomes = outcomes.without(find_set_aside(outcomes.params, searches))
    draws = SharedDraws(bootstrap)
    headlines = build_headlines(outcomes, draws)
    for path, found in (
        (paths.comparisons, compare_all_cases(outcomes, draws)),
        (paths.headlines, headlines),
        (paths.searches, searches),
    ):
        write_json(path, {name: record.to_json() for name, record in found.items()})
    tables = build_plot_tables(outcomes, headlines)
    for name, table in tables.items():
        write_csv(paths.plot(name), table)
    logger.info("%s", tables["table"][list(SHOWN)].to_string(index=False))


if __name__ == "__main__":
    run_single_stage(compare_all, __doc__)
