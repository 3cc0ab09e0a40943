"""Refinement: from attribution maps to scores that follow the outlines of the picture."""
