"""Networks, losses, data loading and fitting."""
