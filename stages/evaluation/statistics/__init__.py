"""Estimates, their intervals and tests: what is said of any figure, whatever it is of."""
