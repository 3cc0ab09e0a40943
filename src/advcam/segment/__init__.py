"""Segmentation: networks that learn label masks, weakly or semi-supervised, and what they make of new pictures."""
