"""``pacsless burst``: a realistic load on an archive, and what becomes of it over time."""
