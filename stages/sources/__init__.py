"""Where images come from: phantoms, class folders, archives of them."""
