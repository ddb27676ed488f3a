import pandas as pd

from stages.evaluation.measure_tables import build_measure_tables
from stages.evaluation.outcomes import Outcomes


def of_case(outcomes: Outcomes, name: str, case: str) -> pd.DataFrame:
    table = build_measure_tables(outcomes.cases)[name]
    return table[table["case"] == case]


def test_a_calibration_curve_is_a_line_of_each_class_with_its_ends(outcomes: Outcomes) -> None:
    table = of_case(outcomes, "calibration", "full-ce")
    assert table.columns.tolist() == ["predicted", "observed", "low", "high", "class", "case"]
    assert set(table["class"]) == {"covid"}
    assert table["observed"].tolist() == [0.1, 0.5, 0.9]
    assert table["low"].isna().tolist() == [False, False, True]
    assert set(of_case(outcomes, "calibration", "labels-bce")["class"]) == {
        *("normal", "pneumonia", "covid")
    }


def test_net_benefit_stands_beside_that_of_all_and_none(outcomes: Outcomes) -> None:
    table = of_case(outcomes, "decision", "full-ce")
    lines = {name: rows["net_benefit"].tolist() for name, rows in table.groupby("class")}
    assert lines == {
        "covid": [0.25, 0.2, 0.1],
        "all images": [0.333333, 0.2, -0.2],
        "no image": [0, 0, 0],
    }
    assert table["high"].notna().sum() == 3


def test_a_distribution_is_of_shares_at_the_middle_of_each_bin(outcomes: Outcomes) -> None:
    table = of_case(outcomes, "distribution", "full-ce")
    one = table[table["class"] == "normal"]
    assert one["probability"].tolist() == [0.25, 0.75]
    assert one["share"].tolist() == [0.75, 0.25]
