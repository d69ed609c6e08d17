"""A run as one page of HTML that needs nothing else. Knows no part: plain dicts, numbers, texts and pixels."""
