"""What a training run will cost, before it starts: operations, memory, time, energy and money."""
