"""Stages side by side: DVC says what is to run and keeps the books, Dask sends it to workers."""
