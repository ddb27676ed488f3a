"""From a folder, an archive or the catalogue to an entry of params.yaml, with reasons."""
