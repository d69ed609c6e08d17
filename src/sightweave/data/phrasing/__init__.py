"""Lists options in prompts, and finds final answers in texts."""
