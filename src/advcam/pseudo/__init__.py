"""Pseudo-labels: from scores per class to label masks, their confidence, boxes and instances."""
