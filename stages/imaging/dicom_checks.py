"""Which DICOM files are pictures of a patient that can be read, and with what."""

from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from stages.imaging.coded_size import coded_size
from stages.imaging.decoded import MAX_PIXELS, bomb
from stages.sources.dicom_file import PIXELS, number_of, text_of
from stages.sources.item import UnreadableImage

# Objects that have pixels and are no pictures: DICOM PS3.4, B.5. Both kinds of segmentation, dose,
# and parametric maps.
NO_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.30",
}
LOCALIZERS = {"LOCALIZER", "SCOUT"}
PLUGINS = ("pydicom", "pylibjpeg")  # the first reads RLE, in Python alone


def require_picture(data: Dataset) -> None:
    """Refuse what is no picture of a patient, or is packed in a way that is not read.

    Raises:
        UnreadableImage: with the reason; values of the file are not part of it.
    """
    kind = UID(text_of(data, "SOPClassUID"))
    named = f" ({kind.name})" if kind.is_valid and kind.name != kind else ""
    if kind in NO_PICTURES:
        raise UnreadableImage(f"a DICOM object that is no picture{named}")
    if not any(keyword in data for keyword in PIXELS):
        raise UnreadableImage(f"DICOM without pixels{named}: no picture, or cut short")
    types = data.get("ImageType") or ()
    named_types = {types} if isinstance(types, str) else {*types}
    if text_of(data, "Modality") in ("CT", "MR") and LOCALIZERS & named_types:
        raise UnreadableImage("a localizer, not a slice")
    decoder_of(data)


def decoder_of(data: Dataset) -> str:
    """The plugin of pydicom that reads the pixels; empty where they are not packed.

    Raises:
        UnreadableImage: none of those that are required does.
    """
    syntax = data.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        named = syntax.name if syntax.name != syntax else "of an unknown name"
        raise UnreadableImage(f"transfer syntax {named}, which is not read") from None
    if not decoder.is_encapsulated:
        return ""
    for plugin in PLUGINS:
        if plugin in decoder.available_plugins:
            return plugin
    raise UnreadableImage(f"transfer syntax {syntax.name}, which is not read")


def check_coded_size(data: Dataset, frame: int, count: int) -> None:
    """Compare the size that packed pixels say they have with that of the header.

    A decoder makes room for the former, whatever the latter is.

    Raises:
        UnreadableImage: they differ.
    """
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    size = coded_size(get_frame(data.PixelData, frame, number_of_frames=count))
    if size is None:
        return
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(bomb())
    if size != (number_of(data, "Columns"), number_of(data, "Rows")):
        raise UnreadableImage("packed pixels of another size than the header says")
