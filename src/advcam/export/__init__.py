"""Masks and boxes in the formats of annotation tools and trainers, and back."""
