"""Protocols: maps, masks and boxes against truth, in the numbers that the field publishes."""
