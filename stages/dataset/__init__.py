"""Rows of a data set: arrays, manifests, groups, splits, folds, predictions."""
