"""Files from an address: the web, Kaggle, Google Drive; kept by DVC once they are here."""
