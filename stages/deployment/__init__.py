"""A trained case at work: what it says of new files, and how it is handed on."""
