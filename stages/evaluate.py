"""Score one case on its train, validation and test images, each run and all together.

The test images are scored a second and a third time, without their lungs and with nothing else.

Reads:  data/predictions/<case>/, data/metadata/<view>/
Writes: metrics/cases/<case>.json, metrics/summary/<case>.json, metrics/reports/<case>.json
"""

import logging

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_json
from stages.dataset.image_set import load_dataset_info
from stages.dataset.metadata import load_metadata
from stages.dataset.predictions import load_tables
from stages.evaluation.case_report import build_case_report
from stages.evaluation.error_costs import ErrorCosts
from stages.evaluation.label_errors import look_at_labels_of_case
from stages.evaluation.partitions import partition_rows
from stages.evaluation.statistics.records import Bootstrap
from stages.evaluation.subgroups import score_subgroups

logger = logging.getLogger(__name__)


def evaluate_case(params: Params, name: str, paths: Paths) -> None:
    """Write headline figures and reports of one case."""
    case = params.case(name)
    folder = paths.case_predictions(name)
    tables, info = load_tables(folder), load_dataset_info(folder)
    bootstrap = Bootstrap(params.evaluate.bootstrap_draws, params.seed)
    report = build_case_report(
        tables,
        info,
        params.evaluate.prevalences,
        bootstrap,
        errors=ErrorCosts.of(params.evaluate, info.dataset, info.class_names),
        is_optimistic=params.protocol(case.protocol).is_optimistic,
    )
    test = tables.whole[tables.whole["split"] == "test"]
    parts = partition_rows(test, load_metadata(paths.metadata(case.view)))
    subgroups = score_subgroups(test, parts, info.task, bootstrap)
    write_json(paths.case_metrics(name), report.headline())
    write_json(paths.case_summary(name), report.summary())
    look = look_at_labels_of_case(tables.runs, info.task)
    beside = {"subgroups": subgroups.to_json(), "label_errors": look.to_json()}
    write_json(paths.case_report(name), report.to_json() | beside)
    accuracy, auroc = (report.test[metric].value for metric in ("accuracy", "auroc"))
    logger.info("%s: test accuracy %s, auroc %s", name, accuracy, auroc)
    logger.info(
        "%s: %d of the labels of %d images judged out of fold may be wrong",
        name,
        len(look.suspected),
        look.n_judged,
    )


if __name__ == "__main__":
    run_stage(evaluate_case, __doc__, section="cases")
