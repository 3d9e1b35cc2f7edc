"""Whole configurations of every layer, drawn at random: `make fuzz`, and a few in the suite."""
