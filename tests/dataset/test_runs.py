from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from stages.config.errors import UserError
from stages.dataset.runs import Run, load_runs, plan_runs, save_runs
from stages.dataset.split import find_cut_groups

HeldOut = Literal["test", "val"]
Grouping = Literal["group", "none"]
SPLITS = ("train", "val", "test")


def manifest_of(patients: dict[str, int], images: int = 2) -> pd.DataFrame:
    """Some patients a class, some images each; every tenth patient is val, every fifth test."""
    rows = [
        {
            "image_id": f"{label}{patient}-{image}",
            "sha256": f"sum of {label}{patient}-{image}",
            "group_id": f"{label}{patient}",
            "label": label,
            "split": {0: "val", 1: "test", 6: "test"}.get(patient % 10, "train"),
        }
        for label, count in patients.items()
        for patient in range(count)
        for image in range(images)
    ]
    return pd.DataFrame(rows)


MANIFEST = manifest_of({"normal": 40, "covid": 20})


def test_one_fold_and_one_seed_are_one_run_without_a_name_on_the_splits_of_the_data() -> None:
    (run,) = plan_runs(MANIFEST, folds=1, held_out="test", grouping="group", seeds=[3], seed=0)
    assert (run.name, run.fold, run.seed) == ("", 1, 3)
    assert run.splits.tolist() == MANIFEST["split"].tolist()


def test_rows_of_a_split_are_its_row_numbers() -> None:
    run = Run("", 1, 0, np.array(["val", "train", "test", "train"]))
    assert run.rows("train").tolist() == [1, 3]
    assert run.rows("train").dtype == np.int64
    assert run.rows("val").tolist() == [0]


def test_runs_are_named_by_fold_and_seed_in_that_order() -> None:
    runs = plan_runs(MANIFEST, folds=2, held_out="test", grouping="group", seeds=[7, 3], seed=0)
    names = ["fold1-seed7", "fold1-seed3", "fold2-seed7", "fold2-seed3"]
    assert [run.name for run in runs] == names
    assert [(run.fold, run.seed) for run in runs] == [(1, 7), (1, 3), (2, 7), (2, 3)]


def test_seeds_without_folds_share_the_splits_of_the_data() -> None:
    runs = plan_runs(MANIFEST, folds=1, held_out="val", grouping="group", seeds=[0, 1], seed=0)
    assert [run.name for run in runs] == ["fold1-seed0", "fold1-seed1"]
    for run in runs:
        assert run.splits.tolist() == MANIFEST["split"].tolist()


def test_each_image_is_tested_exactly_once_when_folds_are_held_out_for_test() -> None:
    runs = plan_runs(MANIFEST, folds=5, held_out="test", grouping="group", seeds=[0], seed=0)
    tested = np.concatenate([run.rows("test") for run in runs])
    assert sorted(tested) == list(range(len(MANIFEST)))


def test_each_image_outside_test_is_validated_on_exactly_once_when_folds_are_held_out_for_val() -> (
    None
):
    runs = plan_runs(MANIFEST, folds=5, held_out="val", grouping="group", seeds=[0], seed=0)
    validated = np.concatenate([run.rows("val") for run in runs])
    assert sorted(validated) == np.flatnonzero(MANIFEST["split"] != "test").tolist()


def test_test_images_stay_when_folds_are_held_out_for_val() -> None:
    given = np.flatnonzero(MANIFEST["split"] == "test").tolist()
    for run in plan_runs(MANIFEST, folds=5, held_out="val", grouping="group", seeds=[0], seed=0):
        assert run.rows("test").tolist() == given


@pytest.mark.parametrize("held_out", ["test", "val"])
@pytest.mark.parametrize("seed", range(5))
def test_no_group_stands_in_two_splits_of_a_run(held_out: HeldOut, seed: int) -> None:
    manifest = manifest_of({"normal": 30, "covid": 20}, images=3)
    for run in plan_runs(
        manifest, folds=3, held_out=held_out, grouping="group", seeds=[0], seed=seed
    ):
        per_group = manifest.assign(split=run.splits).groupby("group_id")["split"].nunique()
        assert (per_group == 1).all()


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_folds_have_the_class_shares_of_the_whole(held_out: HeldOut) -> None:
    for run in plan_runs(MANIFEST, folds=4, held_out=held_out, grouping="group", seeds=[0], seed=0):
        for split in SPLITS:
            is_covid = MANIFEST["label"].to_numpy()[run.rows(split)] == "covid"
            assert is_covid.mean() == pytest.approx(1 / 3, abs=0.08)


def test_val_keeps_its_share_of_what_is_not_tested() -> None:
    # 1 of 10 patients is val and 2 are test: val is 1/8 of the others. Folds of 120 / 5 images
    # leave 96 per run, of which 1/8 is 12.
    for run in plan_runs(MANIFEST, folds=5, held_out="test", grouping="group", seeds=[0], seed=0):
        assert [len(run.rows(split)) for split in SPLITS] == [84, 12, 24]


def test_the_seed_of_the_deal_decides_the_folds_and_those_of_training_do_not() -> None:
    first, again, other = (
        plan_runs(MANIFEST, folds=3, held_out="test", grouping="group", seeds=[training], seed=deal)
        for training, deal in ((0, 4), (9, 4), (0, 5))
    )
    same = [a.splits.tolist() == b.splits.tolist() for a, b in zip(first, again, strict=True)]
    assert same == [True] * 3
    assert [run.splits.tolist() for run in first] != [run.splits.tolist() for run in other]


def test_fewer_groups_of_a_class_than_folds_are_refused() -> None:
    manifest = manifest_of({"normal": 20, "covid": 3})
    said = (
        r"^folds: got 5, but class 'covid' has 3 groups \(patients\); every fold needs one: "
        r"allowed here is at most 3$"
    )
    with pytest.raises(UserError, match=said):
        plan_runs(manifest, folds=5, held_out="test", grouping="group", seeds=[0], seed=0)


def test_folds_that_leave_too_few_groups_for_val_are_refused() -> None:
    # Of 4 patients 1 is tested; val, 1/8 of the others, needs 8.
    manifest = manifest_of({"normal": 40, "covid": 4})
    said = r"^folds: got 4; val of fold 1: class 'covid' has 3 groups \(patients\), too few"
    with pytest.raises(UserError, match=said):
        plan_runs(manifest, folds=4, held_out="test", grouping="group", seeds=[0], seed=0)


def test_folds_that_must_lack_a_class_are_refused() -> None:
    # Each class is in two of three groups. Two folds part the groups into two and one, and the
    # one lacks the class that it does not have.
    manifest = pd.DataFrame(
        {
            "group_id": ["g1", "g1", "g2", "g2", "g3", "g3", "g4", "g4", "g4"],
            "label": ["a", "b", "b", "c", "c", "a", "a", "b", "c"],
            "split": ["train"] * 6 + ["test"] * 3,
        }
    )
    with pytest.raises(UserError, match=r"^folds: got 2; fold \d leaves no image of class '[abc]'"):
        plan_runs(manifest, folds=2, held_out="val", grouping="group", seeds=[0], seed=0)


def with_folds(folds: list[str], *, given_split: str = "") -> pd.DataFrame:
    """Twelve patients a class, one image each, of which each third has the same fold."""
    manifest = manifest_of({"normal": 12, "covid": 12}, images=1)
    return manifest.assign(
        given_fold=[folds[number % 3] for number in range(len(manifest))], given_split=given_split
    )


def test_given_folds_are_tested_in_the_order_of_their_numbers() -> None:
    manifest = with_folds(["fold 9", "fold 10", "fold 2"])
    runs = plan_runs(manifest, folds="given", held_out="test", grouping="group", seeds=[5], seed=0)
    assert [run.name for run in runs] == ["fold1-seed5", "fold2-seed5", "fold3-seed5"]
    for run, fold in zip(runs, ("fold 2", "fold 9", "fold 10"), strict=True):
        assert set(manifest["given_fold"].iloc[run.rows("test")]) == {fold}
        assert len(run.rows("test")) == 8
        assert len(run.rows("val")) > 0


def test_given_folds_can_be_held_out_for_val_and_leave_the_test_images_apart() -> None:
    manifest = with_folds(["0", "1", ""])
    manifest["split"] = np.where(manifest["given_fold"] == "", "test", "train")
    manifest["given_split"] = np.where(manifest["given_fold"] == "", "test", "")
    runs = plan_runs(manifest, folds="given", held_out="val", grouping="group", seeds=[1], seed=0)
    for run, fold in zip(runs, "01", strict=True):
        assert set(manifest["given_fold"].iloc[run.rows("val")]) == {fold}
        assert set(manifest["given_fold"].iloc[run.rows("test")]) == {""}


def test_an_image_without_a_fold_goes_with_its_group_or_is_always_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = with_folds(["a", "b", "a"])
    manifest.loc[0, "given_fold"] = ""
    manifest.loc[3, ["given_fold", "group_id"]] = ["", manifest["group_id"][4]]
    runs = plan_runs(manifest, folds="given", held_out="val", grouping="group", seeds=[1], seed=0)
    held = [0 in run.rows("val") for run in runs]
    follows = [3 in run.rows("val") for run in runs]
    assert (held, follows) == ([False, False], [False, True])
    assert "1 images without a fold are trained on in every run" in caplog.text


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (with_folds(["", "", ""]), r"^folds: got given, but the data come with none; allowed"),
        (with_folds(["1", "", "1"]), r"but the data come with 1 \(1\); allowed: a data set whose"),
        (
            with_folds(["1", "2", ""], given_split="test"),
            r"^folds: got given with held_out test, but 8 images that came as test have no fold",
        ),
    ],
)
def test_folds_that_the_data_lack_are_refused(manifest: pd.DataFrame, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_runs(manifest, folds="given", held_out="test", grouping="group", seeds=[0], seed=0)


def images_named(*image_ids: str) -> pd.DataFrame:
    return pd.DataFrame({"image_id": image_ids, "sha256": [f"sum-{name}" for name in image_ids]})


@pytest.mark.parametrize(("folds", "seeds"), [(1, [4]), (1, [4, 0]), (3, [0, 1])])
def test_runs_come_back_as_saved(tmp_path: Path, folds: int, seeds: list[int]) -> None:
    runs = plan_runs(MANIFEST, folds=folds, held_out="test", grouping="group", seeds=seeds, seed=0)
    save_runs(tmp_path, MANIFEST, runs)
    loaded = load_runs(tmp_path).on(MANIFEST)
    for run, back in zip(runs, loaded, strict=True):
        assert (back.name, back.fold, back.seed) == (run.name, run.fold, run.seed)
        assert back.splits.tolist() == run.splits.tolist()
        assert back.rows("val").tolist() == run.rows("val").tolist()


def test_runs_csv_says_which_files_and_which_fold_and_seed(tmp_path: Path) -> None:
    splits = np.array(["train", "test"])
    save_runs(tmp_path, images_named("a", "b"), [Run("", 1, 8, splits)])
    text = (tmp_path / "runs.csv").read_text(encoding="utf-8")
    assert text == "image_id,sha256,fold1-seed8\na,sum-a,train\nb,sum-b,test\n"


def test_the_images_of_a_case_can_be_had_without_its_data_set(tmp_path: Path) -> None:
    save_runs(tmp_path, images_named("01", "NA"), [Run("", 1, 8, np.array(["train", "test"]))])
    table = load_runs(tmp_path)
    assert table.images["image_id"].tolist() == ["01", "NA"]
    assert table.images["sha256"].tolist() == ["sum-01", "sum-NA"]
    assert [run.seed for run in table.runs] == [8]


@pytest.mark.parametrize(
    "manifest",
    [
        images_named("a"),
        images_named("b", "a"),
        images_named("a", "b", "c"),
        images_named("a", "b").assign(sha256=["sum-a", "another file"]),
    ],
)
def test_runs_of_other_images_are_refused(tmp_path: Path, manifest: pd.DataFrame) -> None:
    save_runs(tmp_path, images_named("a", "b"), [Run("", 1, 0, np.array(["train", "test"]))])
    with pytest.raises(UserError, match=r"runs\.csv: its 2 images are not the \d of the view"):
        load_runs(tmp_path).on(manifest)


def test_a_column_that_names_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("image_id,sha256,run\na,0,train\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"got column 'run'; allowed: fold<number>-seed<number>"):
        load_runs(tmp_path)


def test_without_grouping_images_are_dealt_one_by_one_and_not_by_class() -> None:
    runs = plan_runs(MANIFEST, folds=5, held_out="test", grouping="none", seeds=[0], seed=0)
    # 120 images: folds of 24; of the other 96 an eighth is val, as in the data set.
    assert [[len(run.rows(split)) for split in SPLITS] for run in runs] == [[84, 12, 24]] * 5
    assert sorted(np.concatenate([run.rows("test") for run in runs])) == list(range(120))
    is_covid = MANIFEST["label"].to_numpy() == "covid"
    assert len({is_covid[run.rows("test")].sum() for run in runs}) > 1  # stratified they are 8
    groups = MANIFEST["group_id"].to_numpy(str)
    assert all(len(find_cut_groups(groups, run.splits)) > 10 for run in runs)


def test_one_deal_without_grouping_gives_each_split_as_many_images_as_the_data_have() -> None:
    (run,) = plan_runs(MANIFEST, folds=1, held_out="test", grouping="none", seeds=[0], seed=0)
    given = MANIFEST["split"]
    assert run.splits.tolist() != given.tolist()
    assert sorted(run.splits) == sorted(given)


@pytest.mark.parametrize("folds", [1, 5])
def test_without_grouping_the_test_images_stay_where_val_is_held_out(folds: int) -> None:
    given = np.flatnonzero(MANIFEST["split"] == "test").tolist()
    for run in plan_runs(MANIFEST, folds=folds, held_out="val", grouping="none", seeds=[0], seed=0):
        assert run.rows("test").tolist() == given


@pytest.mark.parametrize("grouping", ["group", "none"])
def test_a_fold_can_be_validated_on_and_tested_on_while_all_the_rest_trains(
    grouping: Grouping,
) -> None:
    runs = plan_runs(MANIFEST, folds=5, held_out="both", grouping=grouping, seeds=[0], seed=0)
    for run in runs:
        assert [len(run.rows(split)) for split in SPLITS] == [96, 24, 24]
        assert run.rows("val").tolist() == run.rows("test").tolist()
    assert sorted(np.concatenate([run.rows("test") for run in runs])) == list(range(120))


def test_of_one_fold_the_test_images_are_both_and_those_of_val_train() -> None:
    (run,) = plan_runs(MANIFEST, folds=1, held_out="both", grouping="group", seeds=[0], seed=0)
    is_test = (MANIFEST["split"] == "test").tolist()
    assert run.splits.tolist() == ["both" if of_test else "train" for of_test in is_test]


def test_a_fold_that_is_both_needs_no_groups_for_val() -> None:
    # With held_out test these 4 patients are too few, as above.
    manifest = manifest_of({"normal": 40, "covid": 4})
    runs = plan_runs(manifest, folds=4, held_out="both", grouping="group", seeds=[0], seed=0)
    assert len(runs) == 4


def test_images_too_few_to_be_dealt_at_random_are_refused() -> None:
    manifest = manifest_of({"normal": 20, "covid": 1}, images=1)
    said = (
        r"^folds: got 5; fold \d leaves no image of class 'covid' in (train|val|test); give fewer"
    )
    with pytest.raises(UserError, match=said):
        plan_runs(manifest, folds=5, held_out="test", grouping="none", seeds=[0], seed=0)


def test_runs_that_are_both_are_read_back(tmp_path: Path) -> None:
    runs = plan_runs(MANIFEST, folds=2, held_out="both", grouping="none", seeds=[0], seed=0)
    save_runs(tmp_path, MANIFEST, runs)
    for run, loaded in zip(runs, load_runs(tmp_path).on(MANIFEST), strict=True):
        assert loaded.rows("val").tolist() == run.rows("val").tolist()
