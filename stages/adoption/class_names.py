"""What folders and labels are called in public sets, and which class of the field that is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from stages.config.params import MAX_NAME
from stages.sources.names import SPLIT_FILLERS, SPLIT_OF_WORD, words

# Words that say what a folder holds without saying of whom.
FILLERS = (
    SPLIT_FILLERS
    | frozenset(SPLIT_OF_WORD)
    | frozenset(
        "ct cts cxr xray xrays x ray rays chest thorax lung lungs scan scans slice slices "
        "radiograph radiographs radiography case cases patient patients class category label png "
        "jpg jpeg dicom dcm of the with and".split()
    )
)
# Class to its spellings, digits, signs and the words above taken away.
SPELLINGS: dict[str, frozenset[str]] = {
    "covid": frozenset(
        "covid corona coronavirus covidpositive positivecovid covidpneumonia covidviral sarscov "
        "sarscovpositive ncov ncovpneumonia ncp covidinfected covidinfection cov coviddisease "
        "pneumoniacovid yescovid".split()
    ),
    "non-covid": frozenset(
        "noncovid nocovid notcovid covidnegative negativecovid noncov nonsarscov withoutcovid "
        "nocorona noncorona covidfree".split()
    ),
    "normal": frozenset(
        "normal normals healthy health nofinding nofindings nofound norm control controls clear "
        "noninfected uninfected notinfected nondiseased nondisease nopneumonia".split()
    ),
    "pneumonia": frozenset(
        "pneumonia pneumonias pnemonia cap cp commonpneumonia communityacquiredpneumonia "
        "viralpneumonia pneumoniaviral pneumoniavirus bacterialpneumonia pneumoniabacterial "
        "pneumoniabacteria otherpneumonia noncovidpneumonia pneumonianoncovid pneumocystis "
        "lobarpneumonia".split()
    ),
    "lung-opacity": frozenset("opacity opacities".split()),
    "tuberculosis": frozenset("tuberculosis turberculosis tb".split()),
    "infected": frozenset("infected infection infections".split()),
    "abnormal": frozenset("abnormal abnormals ill sick diseased unhealthy".split()),
    "positive": frozenset("positive pos positives yes".split()),
    "negative": frozenset("negative neg negatives no".split()),
    "other": frozenset("other others otherdisease otherdiseases otherlunginfection".split()),
}
CLASS_OF = {spelling: name for name, spelt in SPELLINGS.items() for spelling in spelt}
# The one looked for, where it is there: the first of these.
SOUGHT = ("covid", "infected", "positive", "pneumonia", "tuberculosis", "abnormal", "lung-opacity")
WELL = ("normal", "negative", "non-covid")


def known_class(name: str) -> str | None:
    """The class of the field that a folder's name or a label means: `CT_COVID`, `2COVID`, `CAP`.

    Of a label with slashes (`Pneumonia/Viral/COVID-19`) the last part that says one counts.
    """
    for part in reversed(re.split(r"[/\\>]", name)):
        if found := CLASS_OF.get(bare(part)):
            return found
    return None


def bare(name: str) -> str:
    """The telling words of a name, run together: `CT_NonCOVID` is noncovid."""
    spelt = words(name)
    telling = [word for word in spelt if word not in FILLERS]
    return "".join(telling or spelt)


def cleaned(name: str) -> str:
    """A folder's name as a class may be called: `Lung cancer (new)` is lung-cancer-new."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME]


def name_classes(levels: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Class name to the folder names or labels that mean it; the class looked for comes last.

    Names side by side that say the same class in other words (`Pneumonia-Viral`,
    `Pneumonia-Bacterial`) stay classes of their own: what tells them apart would else be lost.

    Args:
        levels: names that stand side by side, as those in each split folder do.
    """
    doubled = set[str]()
    for level in levels:
        spelt = {(known_class(name), bare(name)) for name in level}
        counts = Counter(known for known, _ in spelt)
        doubled |= {known for known, count in counts.items() if known and count > 1}
    classes: dict[str, list[str]] = {}
    for level in levels:
        for name in level:
            known = known_class(name)
            if known is None or (known in doubled and bare(name) != known.replace("-", "")):
                known = _own_name(name, level, classes)
            if name not in classes.setdefault(known, []):
                classes[known].append(name)
    positive, _ = choose_positive(classes)
    order = sorted(classes, key=lambda name: (name == positive, name not in WELL, name))
    return {name: sorted(classes[name]) for name in order}


def _own_name(name: str, level: Sequence[str], classes: Mapping[str, Sequence[str]]) -> str:
    """A class name that no folder beside it has."""
    own = cleaned(name) or f"class-{level.index(name) + 1}"
    while any(other in level and other != name for other in classes.get(own, ())):
        own += "-2"
    return own


def choose_positive(classes: Iterable[str]) -> tuple[str, str]:
    """The class that is looked for, and why that one.

    Args:
        classes: names, at least one.
    """
    names = list(classes)
    for name in SOUGHT:
        if name in names:
            return name, "the disease that is looked for, by its name"
    ill = [name for name in names if name not in WELL]
    found = next((name for name in ill if any(word in name for word in SOUGHT)), None)
    if found:
        return found, "its name has that of a disease in it"
    if len(ill) == 1:
        return ill[0], f"the one class beside {' and '.join(n for n in names if n in WELL)}"
    return (ill or names)[-1], "a guess: no name says which class is looked for"
