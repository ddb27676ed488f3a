"""What a slice of a file of several is called in `source_path`: the file, `#` and its number."""

SLICE_NUMBER = r"(#\d+)$"  # at the end of such a path


def name_slice(path: str, number: int, count: int) -> str:
    """Of the slice `number` of `count` in a file, from 0: `series.nii.gz#012`."""
    digits = max(3, len(str(count - 1)))
    return f"{path}#{number:0{digits}d}"
