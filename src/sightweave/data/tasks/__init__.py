"""Tasks, one file each: they turn records into samples, and the text of a reply into an answer."""
