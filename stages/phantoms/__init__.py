"""Digital phantoms: chest CT slices and chest X-rays drawn by code, with known truth.

`shapes` holds the pencils, `ct` and `xray` draw one image, `vessels`, `lesions` and `marker` are
what both have in common, and `cohort` turns class names into patients and images.
"""

from stages.phantoms.cohort import PHANTOM_CLASSES, phantom_items
from stages.phantoms.ct import draw_ct
from stages.phantoms.lesions import PATTERNS
from stages.phantoms.picture import Phantom
from stages.phantoms.xray import draw_xray

__all__ = ["PATTERNS", "PHANTOM_CLASSES", "Phantom", "draw_ct", "draw_xray", "phantom_items"]
