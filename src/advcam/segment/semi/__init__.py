"""Semi-supervised segmentation: networks that learn from few true masks and many pictures without."""
