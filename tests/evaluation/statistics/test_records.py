import json

import numpy as np
import pytest

from stages.dataset.task import Task
from stages.evaluation.metrics import metric_requirements
from stages.evaluation.scored import Scored, draw_metrics
from stages.evaluation.statistics.bootstrap import estimate
from stages.evaluation.statistics.records import (
    Bootstrap,
    Estimate,
    Flat,
    Paired,
    flatten,
    of_class,
    select,
    unflatten,
)
from stages.evaluation.statistics.rounding import rounded

# Each reads as part of a figure's name behind `recall_` or `f1_`, or as one of another class.
MISLEADING = ("covid", "covid_low", "covid_high", "a", "a_p_value", "macro", "macro_run_mean")


def scored_once_each(class_count: int) -> Scored:
    """Two images of two patients of each class, half of them decided right."""
    y_true = np.repeat(np.arange(class_count), 2)
    probabilities = np.full((len(y_true), class_count), 0.5 / (class_count - 1))
    decided = np.where(np.arange(len(y_true)) % 2, y_true, (y_true + 1) % class_count)
    probabilities[np.arange(len(y_true)), decided] = 0.5
    return Scored(y_true, probabilities, decided, np.arange(len(y_true)))


def test_a_figure_of_a_class_is_named_after_it() -> None:
    assert of_class("recall", "covid") == "recall_covid"
    assert of_class("recall", "low") == "recall_low"
    assert of_class("recall", "macroscopic") == "recall_macroscopic"


def test_a_class_whose_name_ends_as_figures_do_stands_in_brackets() -> None:
    assert of_class("recall", "covid_low") == "recall_(covid_low)"
    assert of_class("f1", "a_p_value") == "f1_(a_p_value)"
    assert of_class("f1", "macro") == "f1_(macro)"
    assert of_class("f1", "macro_run_mean") == "f1_(macro_run_mean)"


@pytest.mark.parametrize("positive", range(len(MISLEADING)))
def test_no_two_figures_share_a_name_whatever_the_classes_are_called(positive: int) -> None:
    names = list(metric_requirements(Task(MISLEADING, positive)))
    assert len(names) == 11 + 2 * len(MISLEADING)
    flat = flatten(dict.fromkeys(names, Estimate(0.5, 0.4, 0.6)))
    summaries = {f"f1_macro_run_{what}" for what in ("mean", "sd")}
    assert len(flat.values) == 3 * len(names)
    assert not summaries & set(flat.values)


def test_figures_of_misleading_classes_come_back_as_they_went() -> None:
    task = Task(MISLEADING, 0)
    found = estimate(
        draw_metrics(scored_once_each(len(MISLEADING)), task, Bootstrap(draws=100, seed=0))
    )
    flat = flatten(found)
    text = json.dumps({"values": flat.values, "undefined": flat.undefined}, allow_nan=False)
    read = json.loads(text)
    assert unflatten(read["values"], read["undefined"]) == found
    assert {name: found[of_class("recall", name)].value for name in MISLEADING} == dict.fromkeys(
        MISLEADING, 0.5
    )


def test_what_has_no_value_or_no_interval_has_a_reason_and_nothing_else_has() -> None:
    figures = {
        "a": Estimate(0.5, 0.4, 0.6),
        "b": Estimate(0.5, why_undefined="one patient"),
        "c": Estimate(None, why_undefined="no image"),
    }
    flat = flatten(figures)
    assert flat.values == {
        **{"a": 0.5, "a_low": 0.4, "a_high": 0.6},
        **{"b": 0.5, "b_low": None, "b_high": None},
        **{"c": None, "c_low": None, "c_high": None},
    }
    assert flat.undefined == {
        **dict.fromkeys(("b_low", "b_high"), "one patient"),
        **dict.fromkeys(("c", "c_low", "c_high"), "no image"),
    }
    assert unflatten(flat.values, flat.undefined) == figures


def test_figures_without_ends_are_not_read_as_estimates() -> None:
    values = {"auroc": 0.5, "auroc_low": 0.4, "auroc_high": 0.6, "auroc_run_mean": 0.5, "n": 3}
    assert unflatten(values, {}) == {"auroc": Estimate(0.5, 0.4, 0.6)}


def test_some_figures_are_picked_in_order_and_named_after_what_they_are_of() -> None:
    figures = {"a": Estimate(0.1), "b": Estimate(0.2), "c": Estimate(0.3)}
    assert list(select(figures, ("c", "a"))) == ["c", "a"]
    assert select(figures, ("b",), "_marker") == {"b_marker": Estimate(0.2)}


def test_flat_figures_are_put_behind_each_other() -> None:
    merged = Flat.merge(Flat({"a": 1.0}, {}), Flat({"b": None}, {"b": "no image"}))
    assert merged == Flat({"a": 1.0, "b": None}, {"b": "no image"})


def test_an_interval_excludes_zero_only_where_it_is_known() -> None:
    assert Estimate(0.5, 0.4, 0.6).excludes_zero
    assert Estimate(-0.5, -0.6, -0.4).excludes_zero
    for around in (Estimate(0.1, -0.1, 0.3), Estimate(0.1, 0.0, 0.2), Estimate(0.5)):
        assert not around.excludes_zero


@pytest.mark.parametrize("holm", [0.08, None])
@pytest.mark.parametrize(
    "difference", [Estimate(0.1, -0.1, 0.3, None, 0.04), Estimate(None, None, None, "no image")]
)
def test_a_pair_comes_back_from_json_as_it_went(difference: Estimate, holm: float | None) -> None:
    pair = Paired(Estimate(0.9, 0.8, 1.0), Estimate(0.8), difference).with_family(holm, holm)
    content = pair.to_json()
    assert "p_value_holm" not in content
    read = Paired.from_json(json.loads(json.dumps(content | pair.difference.of_family())))
    assert read == pair
    assert Paired.from_json(content).difference.p_value_holm is None


def test_a_pair_in_json_has_both_sides_and_the_difference() -> None:
    pair = Paired(
        Estimate(0.9, 0.8, 1.0), Estimate(0.7, 0.6, 0.8), Estimate(0.2, 0.1, 0.3, p_value=0.01)
    )
    assert pair.to_json() == {
        **{"first": 0.9, "first_low": 0.8, "first_high": 1.0},
        **{"second": 0.7, "second_low": 0.6, "second_high": 0.8},
        **{"difference": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01, "detectable": None},
        "undefined": None,
    }


def test_numbers_have_six_decimals_and_nan_is_none() -> None:
    assert rounded(0.12345649) == 0.123456
    assert str(rounded(-1e-9)) == "0.0"
    assert rounded(float("nan")) is None


def test_independent_draws_have_the_next_seed() -> None:
    assert Bootstrap(200, 42).independent() == Bootstrap(200, 43)
