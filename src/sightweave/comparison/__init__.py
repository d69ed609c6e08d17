"""Many recipes at an equal budget, trained and scored side by side."""
