"""From a folder or archive to its entry in params.yaml, proposed with reasons."""
