"""A trained model in the files of other programs, opened there and compared before it counts as exported."""
