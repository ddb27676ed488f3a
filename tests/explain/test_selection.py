from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.config.params import Cam
from stages.dataset.image_set import ImageSet
from stages.dataset.runs import Run
from stages.explain import selection
from stages.explain.selection import (
    Selection,
    draw_test_images,
    load_test_predictions,
    select_images,
    spread_over,
)
from tests.dataset.sample import info_of


def view_of(labels: list[str], splits: list[str]) -> ImageSet:
    count = len(labels)
    manifest = pd.DataFrame(
        {"image_id": [f"i{n}" for n in range(count)], "label": labels, "split": splits}
    )
    return ImageSet(info_of(), manifest, np.zeros((count, 4, 4), np.uint8), None, None, None)


# Eight test images; the probability of covid of each, and a training image before them.
LABELS = ["covid", *["covid"] * 4, *["normal"] * 4]
PROB_COVID = [0.99, 0.9, 0.05, 0.4, 0.52, 0.1, 0.8, 0.7, 0.3]
VIEW = view_of(LABELS, ["train", *["test"] * 8])


def predictions(rows: list[int] | None = None) -> pd.DataFrame:
    rows = list(range(1, 9)) if rows is None else rows
    prob = np.array([PROB_COVID[row] for row in rows])
    return pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in rows],
            "prediction": np.where(prob > 0.5, "covid", "normal"),
            "prob_normal": 1 - prob,
            "prob_covid": prob,
        }
    ).set_index("image_id")


def select(
    *, positive: int = 1, negative: int = 1, errors: int = 0, uncertain: int = 0, seed: int = 0
) -> Selection:
    cam = Cam(
        methods=["gradcam"],
        positive=positive,
        negative=negative,
        errors=errors,
        uncertain=uncertain,
        road_images=0,
        lesion_images=0,
        target_layers={},
    )
    return select_images(VIEW, predictions(), cam, seed)


def rows_selected_as(selected: Selection, reason: str) -> list[int]:
    return selected.rows[selected.positions(reason)].tolist()


def test_drawn_images_are_positive_ones_before_the_others() -> None:
    selected = select(positive=3, negative=2)
    drawn = rows_selected_as(selected, "drawn")
    assert [LABELS[row] for row in drawn] == ["covid"] * 3 + ["normal"] * 2
    assert len(set(drawn)) == 5
    assert 0 not in drawn  # a training image


def test_another_seed_draws_other_images() -> None:
    draws = {tuple(select(positive=2, negative=2, seed=seed).rows) for seed in range(5)}
    assert len(draws) > 1
    assert (select(seed=3).rows == select(seed=3).rows).all()


def test_errors_are_the_most_confident_wrong_ones_first() -> None:
    # Wrong: i2 (said normal, 0.95), i3 (normal, 0.6), i6 (covid, 0.8), i7 (covid, 0.7).
    assert set(rows_selected_as(select(errors=2), "error")) == {2, 6}
    assert set(rows_selected_as(select(errors=9), "error")) == {2, 3, 6, 7}


def test_uncertain_images_have_the_lowest_probability_of_their_class() -> None:
    # The class said has 0.52 in i4, 0.6 in i3, 0.7 in i7 and i8.
    assert set(rows_selected_as(select(uncertain=2), "uncertain")) == {4, 3}


def test_image_selected_for_two_reasons_is_listed_once_with_both() -> None:
    selected = select(positive=4, negative=4, errors=4, uncertain=2)
    assert len(selected.rows) == len(set(selected.rows)) == 8
    reasons = dict(zip(selected.rows.tolist(), selected.selected_as, strict=True))
    assert reasons[3] == ["drawn", "error", "uncertain"]
    assert reasons[4] == ["drawn", "uncertain"]
    assert reasons[1] == ["drawn"]


def test_prediction_and_probability_are_those_of_the_table() -> None:
    selected = select(positive=4, negative=4)
    prob = np.array(PROB_COVID)[selected.rows]
    np.testing.assert_array_equal(selected.predicted, (prob > 0.5).astype(int))
    np.testing.assert_allclose(selected.probabilities, np.maximum(prob, 1 - prob))


def test_images_without_errors_have_none_selected() -> None:
    cam = Cam(
        methods=["gradcam"],
        positive=1,
        negative=1,
        errors=3,
        uncertain=0,
        road_images=0,
        lesion_images=0,
        target_layers={},
    )
    right = predictions().assign(prediction=LABELS[1:])
    selected = select_images(VIEW, right, cam, 0)
    assert rows_selected_as(selected, "error") == []


def test_predictions_are_of_test_rows_and_of_the_first_run_that_tests_an_image(
    tmp_path: Path,
) -> None:
    table = predictions([1, 2, 1]).reset_index()
    table["split"], table["prob_covid"] = ["test", "val", "test"], [0.9, 0.8, 0.2]
    table.to_csv(tmp_path / "case.csv", index=False)
    found = load_test_predictions(tmp_path / "case.csv")
    assert found["prob_covid"].to_dict() == {"i1": 0.9}


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [3]), (3, [3, 5, 7]), (9, [3, 4, 5, 6, 7])]
)
def test_positions_are_spread_evenly(count: int, expected: list[int]) -> None:
    assert spread_over(np.arange(3, 8), count).tolist() == expected


def test_a_case_that_tests_other_images_is_shown_on_those_that_it_tests() -> None:
    # Rows 5 and 6 are test images of the data set, 0 is not; the other test images it trains on.
    tested = np.array([0, 5, 6])
    drawn = draw_test_images(VIEW, tested, positive=2, negative=1, seed=0)
    assert drawn[0] == 0
    assert set(drawn[1:]) < {5, 6}
    assert len(drawn) == 2


def test_an_image_that_is_validated_on_too_is_explained_by_the_run_that_tests_it() -> None:
    splits = [np.array(["train", "both", "both"]), np.array(["both", "train", "train"])]
    runs = [Run(f"fold{n}-seed0", n, 0, of_run) for n, of_run in enumerate(splits, start=1)]
    found = {run.name: at.tolist() for run, at in selection.tested_by(runs, np.array([2, 0]))}
    assert found == {"fold1-seed0": [0], "fold2-seed0": [1]}
