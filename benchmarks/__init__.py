"""This project beside others: the same weights, the same input, one core, in turns."""
