"""The repository's params.yaml with another number of CT phantoms."""

from stages.config.load import load_params
from stages.config.params import Params

IMAGES_PER_PATIENT = 2


def params_of_phantoms(name: str, *, images: int, size_px: int) -> Params:
    """All parameters as they are, but the data set `name` has so many phantoms of that size."""
    params = load_params()
    dataset = params.dataset(name)
    assert dataset.cohort
    per_class = images // (IMAGES_PER_PATIENT * len(dataset.cohort.patients))
    patients = dict.fromkeys(dataset.cohort.patients, per_class)
    cohort = dataset.cohort.model_copy(
        update={"patients": patients, "images_per_patient": IMAGES_PER_PATIENT}
    )
    smaller = dataset.model_copy(update={"cohort": cohort, "size_px": size_px})
    return params.model_copy(update={"datasets": {name: smaller}})
