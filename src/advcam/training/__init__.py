"""Training: one loop for every network of the house, and classifiers from pictures with image labels."""
