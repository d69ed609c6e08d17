"""How options are written in a prompt, and how a final answer is stated in a text."""
