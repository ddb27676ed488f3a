"""Score one case on its train, validation and test images, each run and all together.

The test images are scored a second and a third time, without their lungs and with nothing else.

Reads:  data/predictions/<case>/
Writes: metrics/cases/<case>.json, metrics/reports/<case>.json
"""

import logging

from stages.config.command import run_stage
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.writing import write_json
from stages.dataset.image_set import load_dataset_info
from stages.dataset.predictions import load_tables
from stages.evaluation.case_report import build_case_report
from stages.evaluation.label_errors import look_at_labels_of_case
from stages.evaluation.statistics.records import Bootstrap

logger = logging.getLogger(__name__)


def evaluate_case(params: Params, name: str, paths: Paths) -> None:
    """Write headline figures and reports of one case."""
    protocol = params.protocol(params.case(name).protocol)
    said = paths.case_predictions(name)
    tables, info = load_tables(said), load_dataset_info(said)
    report = build_case_report(
        tables,
        info,
        params.evaluate.prevalences,
        Bootstrap(params.evaluate.bootstrap_draws, params.seed),
        is_optimistic=protocol.is_optimistic,
    )
    write_json(paths.case_metrics(name), report.headline())
    look = look_at_labels_of_case(tables.runs, info.task)
    write_json(paths.case_report(name), report.to_json() | {"label_errors": look.to_json()})
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
