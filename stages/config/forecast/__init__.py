"""What a run will do and how long that takes: by DVC's own word, and by what stages took before."""
