"""Tables, discussion and the page that people read."""
