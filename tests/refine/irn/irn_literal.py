"""IRN straight from its equations: loops over pairs, a dense transition matrix, float64."""

import math

import numpy as np


def between(i, j):
    """Positions in the bounding rectangle of i and j whose distance from the line through them is below 1."""
    (ay, ax), (by, bx) = i, j
    length = math.hypot(by - ay, bx - ax)
    return [
        (y, x)
        for y in range(min(ay, by), max(ay, by) + 1)
        for x in range(min(ax, bx), max(ax, bx) + 1)
        if abs((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / length < 1 - 1e-12
    ]


def near_pairs(height, width, radius):
    """Each unordered pair of different positions nearer than the radius, as (i, j), i first in reading order."""
    places = [(y, x) for y in range(height) for x in range(width)]
    return [
        (places[m], places[n])
        for m in range(len(places))
        for n in range(m + 1, len(places))
        if math.dist(places[m], places[n]) < radius
    ]


def affinity_matrix(boundary, radius):
    """A, (hw, hw): 1 on the diagonal, 0 for pairs that are too far apart."""
    height, width = boundary.shape
    matrix = np.eye(height * width)
    for i, j in near_pairs(height, width, radius):
        a = 1 - max(boundary[k] for k in between(i, j))
        m, n = i[0] * width + i[1], j[0] * width + j[1]
        matrix[m, n] = matrix[n, m] = a
    return matrix


def transition_matrix(boundary, radius, beta):
    """T = A^{o beta} S^{-1}."""
    powered = affinity_matrix(boundary, radius) ** beta
    return powered / powered.sum(axis=0, keepdims=True)


def walk(start, boundary, radius=5, beta=10.0, steps=256):
    """v T^steps with a dense matrix."""
    power = np.linalg.matrix_power(transition_matrix(boundary, radius, beta), steps)
    return (start.reshape(len(start), -1) @ power).reshape(start.shape)


def losses(edge_logits, displacement, labels, radius):
    """L_B and L_D of a batch, pair by pair."""
    boundary = 1 / (1 + np.exp(-edge_logits[:, 0]))
    near = near_pairs(*labels.shape[1:], radius)
    terms = {"bg": [], "fg": [], "neg": [], "move_bg": [], "move_fg": []}
    for b, mask, d in zip(boundary, labels, displacement, strict=True):
        for i, j in near:
            if 255 in (mask[i], mask[j]):
                continue
            a = 1 - max(b[k] for k in between(i, j))
            if mask[i] != mask[j]:
                terms["neg"].append(-math.log(1 - a + 1e-5))
                continue
            kind = "fg" if mask[i] else "bg"
            terms[kind].append(-math.log(a + 1e-5))
            for axis in (0, 1):
                target = j[axis] - i[axis] if mask[i] else 0
                terms["move_" + kind].append(abs(d[axis][i] - d[axis][j] - target))
    mean = {kind: sum(values) / (len(values) + 1e-5) for kind, values in terms.items()}
    edge = ((mean["bg"] + mean["fg"]) / 2 + mean["neg"]) / 2
    return edge, (mean["move_bg"] + mean["move_fg"]) / 2


def follow(displacement, steps=300):
    """The fixed-point steps of each position alone, with bilinear interpolation written out."""
    _, height, width = displacement.shape
    ends = np.zeros_like(displacement)
    for y in range(height):
        for x in range(width):
            py, px = float(y), float(x)
            for _ in range(steps):
                y0, x0 = math.floor(py), math.floor(px)
                y1, x1, fy, fx = min(y0 + 1, height - 1), min(x0 + 1, width - 1), py - y0, px - x0
                dy, dx = (
                    (1 - fy) * ((1 - fx) * d[y0, x0] + fx * d[y0, x1]) + fy * ((1 - fx) * d[y1, x0] + fx * d[y1, x1])
                    for d in displacement
                )
                py, px = min(max(py + dy, 0), height - 1), min(max(px + dx, 0), width - 1)
            ends[:, y, x] = py, px
    return ends
