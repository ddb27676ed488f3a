import pytest

from stages.sources.matching import match_names

FILES = ["COVID/a.png", "COVID/b.PNG", "Normal/a.png", "Normal/c.d.jpg", "Normal/caf\u00e9.png"]


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        ("COVID/a.png", "COVID/a.png", "path"),
        (" COVID/a.png ", "COVID/a.png", "path, tidied"),
        ("./COVID/a.png", "COVID/a.png", "path, tidied"),
        ("COVID\\a.png", "COVID/a.png", "path, tidied"),
        ("Normal/cafe\u0301.png", "Normal/caf\u00e9.png", "path, tidied"),
        ("covid/A.PNG", "COVID/a.png", "path, without case"),
        ("COVID/a", "COVID/a.png", "path, without ending"),
        ("covid/A", "COVID/a.png", "path, without case and ending"),
        ("COVID/a.jpeg", "COVID/a.png", "path, other ending"),
        ("COVID/b.jpg", "COVID/b.PNG", "path, other ending"),
        ("b.PNG", "COVID/b.PNG", "name"),
        ("b.png", "COVID/b.PNG", "name, without case"),
        ("c.d", "Normal/c.d.jpg", "name, without ending"),
        ("c.d.png", "Normal/c.d.jpg", "name, other ending"),
        ("B.jpg", "COVID/b.PNG", "name, other ending and case"),
        ("data/set/COVID/a.png", "COVID/a.png", "end of path"),
        ("C:\\me\\COVID\\a.png", "COVID/a.png", "end of path, tidied"),
        ("images/c.d.jpg", "Normal/c.d.jpg", "name in another folder"),
    ],
)
def test_a_name_finds_its_file_by_the_strictest_rule(name: str, file: str, how: str) -> None:
    assert match_names([name], FILES) == {name: ((file,), how)}


def test_a_folder_around_the_files_does_not_matter() -> None:
    found = match_names(["COVID/a.png", "Normal/a.png"], [f"set/{file}" for file in FILES])
    assert found["COVID/a.png"] == (("set/COVID/a.png",), "end of path")
    assert found["Normal/a.png"] == (("set/Normal/a.png",), "end of path")


@pytest.mark.parametrize("name", ["e.png", "c", "", "/", "a.b.png", "COVID/c"])
def test_other_names_find_nothing(name: str) -> None:
    assert match_names([name], FILES) == {}


@pytest.mark.parametrize("name", ["a.png", "a", "A.png", "a.jpg"])
def test_a_name_that_fits_two_files_gets_both_to_list_and_none_to_take(name: str) -> None:
    assert match_names([name], FILES)[name].files == ("COVID/a.png", "Normal/a.png")


def test_a_file_that_has_its_own_row_is_not_taken_by_a_looser_one() -> None:
    found = match_names(["COVID/a.png", "a.png"], FILES)
    assert found["a.png"] == (("Normal/a.png",), "name")
    found = match_names(["x.png", "x.jpg"], ["x.png"])
    assert found == {"x.png": (("x.png",), "path")}


def test_names_in_other_folders_are_one_only_if_nothing_else_has_that_name() -> None:
    assert match_names(["train/1.png"], ["test/1.png"])["train/1.png"].files == ("test/1.png",)
    assert match_names(["train/1.png", "val/1.png"], ["test/1.png"]) == {}
    found = match_names(["train/1.png"], ["test/1.png", "train/1.png"])
    assert found == {"train/1.png": (("train/1.png",), "path")}
    assert match_names(["x/1.png"], ["test/1.png", "train/1.png"]) == {}


def test_files_that_differ_in_case_alone_are_two() -> None:
    found = match_names(["a.png", "A.PNG"], ["a.png", "A.PNG"])
    assert [found[name].files for name in ("a.png", "A.PNG")] == [("a.png",), ("A.PNG",)]
    assert match_names(["A.png"], ["a.png", "A.PNG"])["A.png"].files == ("a.png", "A.PNG")


def test_two_names_can_mean_one_file() -> None:
    names = ["A.png", "a.Png", "x/a.png", "a.png", "./a.png", "a"]
    found = match_names(names, ["x/a.png"])
    assert [found[name].files for name in names] == [("x/a.png",)] * len(names)


def test_a_second_row_that_fits_files_with_rows_of_their_own_gets_none_of_them() -> None:
    found = match_names(["COVID/a.png", "Normal/a.png", "a.png"], FILES)
    assert found["a.png"].files == ("COVID/a.png", "Normal/a.png")
