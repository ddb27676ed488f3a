from stages.reporting.results import Results
from stages.reporting.shortcuts import build_gap_table, build_probe_table
from stages.reporting.table import Table
from tests.reporting.conftest import Files


def probes(results: Results, dataset: str) -> Table:
    found = results.datasets[dataset]
    return build_probe_table(found.audits, found.info.class_names)


def test_shortcuts_come_before_what_they_are_held_against(files: Files) -> None:
    audit = files.audits["labels-full"]
    audit["probes"] = dict(reversed(audit["probes"].items()))
    rows = probes(files.load(), "labels").rows
    kinds = [row[2].text for row in rows]
    assert kinds == ["shortcut"] * 5 + ["reference"] * 2
    assert {row[0].text for row in rows} == {"labels-full"}


def test_the_best_shortcut_is_marked(results: Results) -> None:
    marked = [(row[1].text, row[2].note) for row in probes(results, "ct").rows if row[2].note]
    assert marked == [("file", "the best by accuracy"), ("border", "the best by AUROC")] * 2


def test_a_probe_has_a_figure_for_every_class(results: Results) -> None:
    table = probes(results, "labels")
    classes = ["normal", "pneumonia", "covid"]
    pairs = ["normal v pneumonia", "normal v covid", "pneumonia v covid"]
    assert table.columns[6:9] == [f"AUROC, {name} against the rest" for name in classes]
    assert table.columns[9:] == [f"AUROC, {pair}" for pair in pairs]
    assert [cell.number for cell in table.rows[0][4:]] == [0.6, 0.5, *[0.55] * 3, *[0.45] * 3]


def test_of_two_classes_the_pair_is_not_shown_again(results: Results) -> None:
    assert probes(results, "ct").columns[-1] == "AUROC, covid against the rest"


def test_probes_of_metadata_and_the_baseline_say_what_they_see(files: Files) -> None:
    audit = files.audits["labels-full"]
    one = audit["probes"]["file"]
    audit["probes"] |= {"majority": one | {"kind": "baseline"}, "metadata.follow_up": one}
    audit["most_accurate"] = "majority"
    rows = probes(files.load(), "labels").rows
    shown = {row[1].text: row[1].note for row in rows}
    assert shown["metadata: follow_up"] == "the column follow_up of the metadata alone"
    assert shown["majority"] == "nothing: the commonest class"
    assert [row[2].text for row in rows] == [*["shortcut"] * 6, "baseline", *["reference"] * 2]


def test_below_a_figure_stands_what_the_permutation_test_says_of_it(results: Results) -> None:
    rows = {row[1].text: row for row in probes(results, "labels").rows}
    notes = {name: rows[name][6].note for name in ("border", "thumbnail")}
    assert notes == {
        "border": "0.450 to 0.650; p = 0.300, adjusted p = 0.900",
        "thumbnail": "0.450 to 0.650; p = 0.300",
    }


def test_an_audit_without_a_test_of_a_probe_shows_its_interval_alone(files: Files) -> None:
    for found in files.audits["labels-full"]["probes"].values():
        for figures in found["by_class"].values():
            figures["p_value"] = figures["p_value_holm"] = None
    assert {row[6].note for row in probes(files.load(), "labels").rows} == {"0.450 to 0.650"}


def test_the_leakage_gap_stands_beside_both_splits(results: Results) -> None:
    table = build_gap_table(results.datasets["labels"].audits)
    [row] = table.rows
    shown = dict(zip(table.columns, row, strict=True))
    assert shown["AUROC, split by image"].number == 0.8
    assert shown["AUROC, split by group"].number == 0.7
    assert shown["AUROC, gap"].text == "+0.100"
    assert shown["AUROC, gap"].note == "+0.020 to +0.180"
    assert shown["model"].text == "one nearest neighbour on the thumbnail"
