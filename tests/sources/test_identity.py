import pytest

from stages.sources.identity import (
    find_restart,
    is_missing,
    number_by_class,
    undo_floats,
    unify_ids,
)


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["P1", "P1 ", "\ufeffP1", "P1\u00a0"], ["P1"] * 4),  # blanks, mark, no-break space
        (["Jose\u0301", "Jos\u00e9"], ["Jos\u00e9"] * 2),  # the same letters
        (["a  b", "a b"], ["a b"] * 2),
        (["P1", "p1 ", "p2"], ["P1", "P1", "p2"]),
        (["12", "12.0", " 12", "7.0"], ["12", "12", "12", "7"]),
        (["12.0", "P3"], ["12", "P3"]),
        (["3.0", "3.1", "3"], ["3.0", "3.1", "3"]),  # digits behind the point mean something
        (["1.2E+05", "120000"], ["120000"] * 2),
        (["12e5", "12"], ["12e5", "12"]),  # perhaps hexadecimal
        (["012", "12"], ["012", "12"]),
    ],
)
def test_spellings_of_an_id_are_one_and_other_ids_are_not(texts: list[str], ids: list[str]) -> None:
    assert unify_ids(texts).ids == ids


@pytest.mark.parametrize(
    "text",
    ["", " ", "NA", "n/a", "N/A ", "nan", "NaN", "None", "null", "-", "?", "--", "Unknown", "<NA>"],
)
def test_words_for_nothing_known_are_no_id(text: str) -> None:
    assert unify_ids([text, "P1", text]).ids == [None, "P1", None]


def test_a_missing_text_is_no_id() -> None:
    assert unify_ids([None, "1"]).ids == [None, "1"]


@pytest.mark.parametrize("text", ["0", "nobody else", "nana", "x", "12"])
def test_other_words_are_ids(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize(
    ("texts", "notes"),
    [
        (["P1", "p1", "P1"], ["1 patients are one only by case, such as 'P1' and 'p1'"]),
        (
            ["12", "12.0"],
            ["1 patients are one only without the .0 or E of a float, such as '12' and '12.0'"],
        ),
        (
            ["a", "a "],
            [
                "1 patients are one only after trimming and in one Unicode form, such as 'a' and "
                "'a '"
            ],
        ),
        (
            ["012", "12", "5"],
            [
                "1 patient ids differ from others in leading zeros alone, such as '012' and '12': "
                "they are kept apart; spell them alike if they are one person"
            ],
        ),
        (["1", "2", "2", "-"], []),
    ],
)
def test_what_was_joined_or_looks_odd_is_noted(texts: list[str], notes: list[str]) -> None:
    assert unify_ids(texts).notes == notes


def test_numbers_with_an_exponent_are_noted_since_digits_may_be_lost() -> None:
    [note] = unify_ids(["1.23E+10", "5"]).notes
    assert note.startswith("1 patient ids are numbers with an exponent, such as '1.23E+10'")


def test_an_id_of_very_many_images_among_many_is_noted() -> None:
    texts = ["anonymous"] * 10 + [f"P{number}x" for number in range(20)]
    [note] = unify_ids(texts).notes
    assert note.startswith("patient 'anonymous' has 10 of 30 images")


def test_floats_stay_where_any_number_has_a_fraction() -> None:
    assert undo_floats(["1.0", "2.0"]) == {"1.0": "1", "2.0": "2"}
    assert undo_floats(["1.0", "2.5"]) == {"1.0": "1.0", "2.5": "2.5"}


def test_ids_are_told_apart_by_class() -> None:
    assert number_by_class(["1", "1", None], ["a", "b", "a"]) == ["1 (a)", "1 (b)", None]


def restarts(**ids_of_class: list[str]) -> bool:
    rows = [(known, label) for label, ids in ids_of_class.items() for known in ids]
    return find_restart([known for known, _ in rows], [label for _, label in rows]) is not None


def counted(first: int, last: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{number}" for number in range(first, last + 1)]


@pytest.mark.parametrize(
    "ids_of_class",
    [
        {"a": counted(1, 10), "b": counted(1, 10)},
        {"a": counted(1, 10), "b": counted(1, 300)},
        {"a": counted(0, 9, "patient "), "b": counted(0, 9, "patient "), "c": ["x"]},
        {"a": ["001", "002", "004"], "b": ["001", "002", "003", "004"]},
    ],
)
def test_consecutive_ids_that_nearly_all_occur_in_two_classes_begin_anew(
    ids_of_class: dict[str, list[str]],
) -> None:
    assert restarts(**ids_of_class)


@pytest.mark.parametrize(
    "ids_of_class",
    [
        {"a": counted(1, 10), "b": counted(11, 20)},
        {"a": counted(1, 10), "b": counted(8, 20)},  # three people with both
        {"a": counted(1, 10, "C"), "b": counted(1, 10, "N")},
        {"a": ["12", "907", "4411"], "b": ["12", "907", "4411"]},  # no numbering
        {"a": ["1", "2"], "b": ["1", "2"]},  # too few to tell
        {"a": ["anna", "ben", "cleo"], "b": ["anna", "ben", "cleo"]},
    ],
)
def test_other_ids_do_not_begin_anew(ids_of_class: dict[str, list[str]]) -> None:
    assert not restarts(**ids_of_class)
