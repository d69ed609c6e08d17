"""Forecasts the cost of a training run before it starts: operations, memory, time, energy and money."""
