"""Outlines of what annotation tools draw besides polygons, as corners (N, 2): x and y in pixels."""

import numpy as np

from advcam.export.contours import Ring

_CORNERS = 360  # of an ellipse; at a radius of 500 pixels it is off by 0.02


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """A box with its sides along the axes."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def ellipse(x: float, y: float, across: float, down: float) -> Ring:
    """An ellipse around (x, y) with the radii `across` and `down`."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def turn(ring: Ring, degrees: float, x: float, y: float) -> Ring:
    """An outline turned clockwise, as one sees it, around (x, y)."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Ring = (ring - (x, y)) @ matrix + (x, y)
    return turned
