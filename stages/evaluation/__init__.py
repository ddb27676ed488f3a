"""Predictions, metrics, intervals and shortcuts."""
