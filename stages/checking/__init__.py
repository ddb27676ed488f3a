"""What the schema of params.yaml cannot know: images, networks and weights that it names."""
