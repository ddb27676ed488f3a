"""What is asked (params.yaml) and where every file is."""
