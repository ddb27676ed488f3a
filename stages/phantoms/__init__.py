"""Digital phantoms: chest CT slices and chest X-rays drawn by code, with known truth.

`shapes` holds the pencils, `ct` and `xray` draw one image, `vessels`, `lesions` and `marker` are
what both have in common, and `cohort` turns class names into patients and images.
"""
