"""Cases side by side on validation images."""

from pathlib import Path

import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.config.load import load_params
from stages.config.paths import Paths
from stages.evaluation.statistics.records import Bootstrap
from tests.benchmarks.recipe_choice import average, describe, train_and_validate

NAMES = ("normal", "covid")
BOOTSTRAP = Bootstrap(200, 1)


def table_of(*covid: float) -> pd.DataFrame:
    """Probabilities of four images, two of each class, in fold 1."""
    labels = ["normal", "normal", "covid", "covid"]
    return pd.DataFrame(
        {
            "image_id": list("abcd"),
            "group_id": list("abcd"),
            "fold": "1",
            "seed": "1",
            "label": labels,
            "prediction": ["covid" if value > 0.5 else "normal" for value in covid],
            "prob_normal": [1 - value for value in covid],
            "prob_covid": covid,
        }
    )


def test_the_mean_of_cases_is_decided_anew() -> None:
    surely, barely = table_of(0.1, 0.1, 0.9, 0.9), table_of(0.6, 0.1, 0.4, 0.9)
    mean = average([surely, barely])
    assert mean["prob_covid"].tolist() == [0.35, 0.1, 0.65, 0.9]
    assert mean["prediction"].tolist() == ["normal", "normal", "covid", "covid"]


def test_rows_are_matched_by_image_and_not_by_place() -> None:
    table = table_of(0.1, 0.2, 0.8, 0.9)
    assert average([table, table.iloc[::-1]])["prob_covid"].tolist() == [0.1, 0.2, 0.8, 0.9]


def test_cases_on_other_images_have_no_mean() -> None:
    table = table_of(0.1, 0.2, 0.8, 0.9)
    with pytest.raises(ValueError, match="other images or folds"):
        average([table, table.assign(fold="2")])


def test_each_case_is_shown_beside_the_first_on_the_same_images() -> None:
    lines = describe(
        {"all": table_of(0.1, 0.2, 0.8, 0.9), "half": table_of(0.6, 0.2, 0.4, 0.9)}, BOOTSTRAP
    )
    assert [line.split(":")[0] for line in lines] == ["all", "half", "mean of these"]
    assert lines[0].startswith("all: accuracy 1.000 (95 % interval ")
    assert lines[1].startswith("half: accuracy 0.500, -0.500 (95 % interval ")
    assert lines[2].startswith("mean of these: accuracy 1.000, +0.000 (95 % interval ")


def test_one_case_has_no_mean() -> None:
    assert len(describe({"all": table_of(0.1, 0.2, 0.8, 0.9)}, BOOTSTRAP)) == 1


def test_a_protocol_that_leaks_chooses_nothing(tmp_path: Path) -> None:
    params = load_params(Path("metrics/real/params.yaml"))
    with pytest.raises(UserError, match=r"protocols\.published-ensemble: leaks on purpose"):
        train_and_validate(params, Paths(tmp_path), "xray3-lite0-published", 1)
