"""A run as one self-contained HTML page. Independent of all parts: reads plain dicts, numbers, texts and pixels."""
