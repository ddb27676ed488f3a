"""What is done to a file to make one row of a view of it, as it travels with the data.

What predicts with a trained model, or hands it on, needs no params.yaml for this: that may have
changed since.
"""

from pydantic import StrictInt

from stages.config.params import Grey, Section, View


class Preprocessing(Section):
    """The values of params.yaml by which files became pictures, and pictures a view."""

    grey: Grey  # of pictures of more than 8 bits
    picture_px: StrictInt  # longest side of a prepared picture
    view: View | None  # crop, size and fit; null in a prepared set
