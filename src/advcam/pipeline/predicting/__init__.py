"""`advcam predict`: what a trained segmentation network makes of new pictures."""
