"""Write a trained case as ONNX, checked against torch, with its weights and a model card.

Reads:  data/weights/<case>/, data/views/<view>/, data/predictions/<case>/, data/prepared/,
        metrics/, plots/history/<case>/
Writes: data/exports/<case>/ or --output: model.onnx (over 2 GB also model.onnx.data),
        model_card.md, weights/ (model.safetensors and meta.json of each run)
"""

import argparse
import logging
from pathlib import Path

from stages.config.command import command_parser, run_command
from stages.config.load import load_params
from stages.config.params import Params
from stages.config.paths import Paths
from stages.config.text import visible
from stages.config.writing import replacing_folder, write_text
from stages.deployment.description import (
    CODE,
    describe_files,
    describe_inputs,
    describe_outputs,
)
from stages.deployment.exporting import CARD, FILES, export_model, export_weights
from stages.deployment.finished_case import FinishedCase
from stages.reporting.card_sections import Technical
from stages.reporting.model_card import build_model_card
from stages.reporting.results import load_case_results

logger = logging.getLogger(__name__)


def export_case(params: Params, name: str, folder: Path, paths: Paths) -> None:
    """Write all of it, or nothing."""
    results = load_case_results(params, name, paths)
    case = FinishedCase.load(name, params.case(name).view, paths)
    with replacing_folder(folder, FILES) as partial:
        logger.info("%s: tracing the network and checking it against torch", name)
        parity = export_model(case, partial, paths)
        technical = Technical(
            files=describe_files(partial),
            inputs=describe_inputs(case),
            outputs=describe_outputs(case),
            checks=parity.describe(),
            code=CODE,
        )
        card = build_model_card(results, technical)
        export_weights(case, partial, card.essentials)
        write_text(partial / CARD, card.markdown)
    logger.info("%s: largest difference of a probability %.1e", name, parity.largest)


def export(arguments: argparse.Namespace) -> int:
    """Export the case that is asked for, and print where it is."""
    paths = Paths()
    folder = arguments.output or paths.export(arguments.case)
    export_case(load_params(), arguments.case, folder, paths)
    print(visible(str(folder)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("case", help="a key of `cases` in params.yaml")
    parser.add_argument(
        "--output", type=Path, help="folder to write, replaced as a whole (data/exports/<case>)"
    )
    return parser


if __name__ == "__main__":
    run_command(export, _parser())
