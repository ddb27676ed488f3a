"""From a source to its entry in params.yaml."""
