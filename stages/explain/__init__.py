"""Class activation maps: methods, scores, overlays."""
