"""``pacsless check``: one instance through the whole archive, step by step."""
