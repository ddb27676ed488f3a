"""Spellings of public sets, and the classes that they mean."""

import pytest

from stages.adoption.class_names import choose_positive, cleaned, known_class, name_classes

SPELT = {
    "covid": "COVID COVID-19 Covid-19 covid19 CT_COVID COVID_CT 2COVID NCP SARS-CoV-2 corona "
    "COVID-19_positive 2019-nCoV Coronavirus Pneumonia/Viral/COVID-19 covid_images covid_train",
    "non-covid": "Non-COVID non-COVID NonCOVID CT_NonCOVID noncovid Non_COVID_19 1NonCOVID "
    "COVID-negative no_covid",
    "normal": "Normal NORMAL healthy No_findings No_Finding normal_cxr Control NORMAL_images",
    "pneumonia": "Pneumonia PNEUMONIA Viral_Pneumonia 3CAP CP bacterial_pneumonia Pnemonia "
    "Pneumonia/Bacterial Pneumonia/Viral/SARS",
    "lung-opacity": "Lung_Opacity lung_opacities",
    "infected": "infected Infection",
    "tuberculosis": "Tuberculosis TB Turberculosis",
}


@pytest.mark.parametrize(
    ("name", "known"), [(name, known) for known, names in SPELT.items() for name in names.split()]
)
def test_a_spelling_means_its_class(name: str, known: str) -> None:
    assert known_class(name) == known
    assert known_class(name.replace("_", " ")) == known


@pytest.mark.parametrize("name", ["Cardiomegaly", "CT-3", "0", "Здоров", "abc", "", "todo", "___"])
def test_what_is_no_spelling_means_none(name: str) -> None:
    assert known_class(name) is None


def test_spellings_of_one_class_in_two_splits_are_one_class() -> None:
    classes = name_classes([["covid-19", "Normal"], ["covid", "normal"]])
    assert classes == {"normal": ["Normal", "normal"], "covid": ["covid", "covid-19"]}


def test_names_that_clean_up_to_the_same_stay_apart_side_by_side() -> None:
    classes = name_classes([["a b", "a-b", "A.B"], ["a b"]])
    assert sorted(classes.values()) == [["A.B"], ["a b"], ["a-b"]]


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (["normal", "pneumonia", "covid"], "covid"),
        (["normal", "infected"], "infected"),
        (["negative", "positive"], "positive"),
        (["normal", "pneumonia-viral", "other"], "pneumonia-viral"),
        (["normal", "nodule"], "nodule"),
        (["a", "b"], "b"),
    ],
)
def test_the_class_looked_for(classes: list[str], positive: str) -> None:
    found, why = choose_positive(classes)
    assert found == positive
    assert ("guess" in why) == (classes == ["a", "b"])


@pytest.mark.parametrize(
    ("name", "clean"),
    [("Lung cancer (new)", "lung-cancer-new"), ("É_b", "e-b"), ("--", ""), ("x" * 300, "x" * 100)],
)
def test_a_name_of_its_own_has_letters_digits_and_dashes(name: str, clean: str) -> None:
    assert cleaned(name) == clean
