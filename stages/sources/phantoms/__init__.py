"""Digital phantoms: chest CT slices and chest X-rays drawn by code, with known truth.

`shapes` holds the pencils, `ct` and `xray` draw one image, `vessels`, `lesions` and `marker` are
what both have in common, and `cohort` turns class names into patients and images.
"""

from stages.sources.phantoms.cohort import PHANTOM_CLASSES, phantom_items
from stages.sources.phantoms.ct import draw_ct
from stages.sources.phantoms.lesions import PATTERNS
from stages.sources.phantoms.picture import Phantom
from stages.sources.phantoms.xray import draw_xray

__all__ = ["PATTERNS", "PHANTOM_CLASSES", "Phantom", "draw_ct", "draw_xray", "phantom_items"]
