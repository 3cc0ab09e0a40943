"""Networks made ready for the methods: where the head and the features are, names, normalisation, weights.

`catalogue` classifiers by name | `classifier` the adapter | `probe` finds head and feature layer | `layers` how a layer
answers | `weights` reads weight files | `names` class names.
"""
