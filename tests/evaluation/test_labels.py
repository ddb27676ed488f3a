import numpy as np
import pandas as pd

from stages.dataset.predictions import tabulate_run
from stages.dataset.runs import Run
from stages.evaluation.labels import LabelFigures, score_labels
from tests.dataset.sample import info_of

CLASSES = ["normal", "pneumonia", "covid"]
INFO = info_of(class_names=CLASSES, implies={"covid": ["pneumonia"]})


def labelled(rows: list[tuple[str, list[float]]]) -> pd.DataFrame:
    """A row per (true class, probabilities of normal, pneumonia and covid)."""
    manifest = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(len(rows))],
            "group_id": [f"g{number}" for number in range(len(rows))],
            "label": [label for label, _ in rows],
            "subgroup": "",
        }
    )
    run = Run("", 1, 0, np.array(["test"] * len(rows)))
    return tabulate_run(manifest, run, np.array([scores for _, scores in rows]), CLASSES)


def figures(n_positive: int, **values: float) -> LabelFigures:
    return LabelFigures(n_positive, {n: round(v, 6) for n, v in values.items()}, {})


def test_an_implied_label_is_present_in_images_of_the_class_that_implies_it() -> None:
    table = labelled(
        [
            ("normal", [0.2, 0.1, 0.7]),  # called covid, and so pneumonia as well
            ("normal", [0.8, 0.1, 0.1]),
            ("pneumonia", [0.1, 0.3, 0.6]),  # called covid: pneumonia is right all the same
            ("covid", [0.6, 0.3, 0.1]),  # missed
            ("covid", [0.1, 0.1, 0.8]),
        ]
    )
    found = score_labels(table, INFO)
    # Probability of pneumonia: 0.8, 0.2 without; 0.9, 0.4, 0.9 with it. 5 of 6 pairs in order.
    assert found["pneumonia"] == figures(3, sensitivity=2 / 3, specificity=1 / 2, auroc=5 / 6)
    # Of covid: 0.7, 0.1, 0.6 without; 0.1, 0.8 with it: 0.5 + 3 of 6 pairs.
    assert found["covid"] == figures(2, sensitivity=1 / 2, specificity=1 / 3, auroc=3.5 / 6)
    # Of normal: 0.2, 0.8 with it; 0.1, 0.6, 0.1 without: 5 of 6 pairs.
    assert found["normal"] == figures(2, sensitivity=1 / 2, specificity=2 / 3, auroc=5 / 6)


def test_a_label_that_every_image_has_leaves_none_with_a_reason() -> None:
    found = score_labels(
        labelled([("covid", [0.1, 0.1, 0.8]), ("pneumonia", [0.1, 0.8, 0.1])]), INFO
    )
    assert found["pneumonia"] == LabelFigures(
        n_positive=2,
        values={"sensitivity": 1.0, "specificity": None, "auroc": None},
        undefined={
            "specificity": "needs an image of another class than 'present'",
            "auroc": "needs an image of every class (absent, present)",
        },
    )


def test_probabilities_that_add_up_to_a_little_over_one_are_a_share_all_the_same() -> None:
    # As six decimals leave them: 0.333334 + 0.666667 = 1.000001.
    table = labelled([("covid", [0.0, 0.333334, 0.666667]), ("normal", [0.9, 0.1, 0.0])])
    assert score_labels(table, INFO)["pneumonia"].values["auroc"] == 1.0


def test_figures_of_a_label_in_json() -> None:
    found = LabelFigures(2, {"sensitivity": 1.0, "auroc": None}, {"auroc": "needs an image"})
    assert found.to_json() == {
        "n_positive": 2,
        "sensitivity": 1.0,
        "auroc": None,
        "undefined": {"auroc": "needs an image"},
    }
