"""What the formats share: finding files, reading rows, and turning them into checked records."""
