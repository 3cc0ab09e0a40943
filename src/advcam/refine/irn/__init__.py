"""IRN: boundaries and displacements learnt from attribution maps, and the maps refined by them.

Ahn, Cho, Kwak, "Weakly Supervised Learning of Instance Segmentation With Inter-Pixel Relations", CVPR 2019. Pure tensor
code. `labels` maps to training masks with gaps | `network` two branches on a frozen classifier | `losses` what they
learn by | `walk` the random walk: refined maps | `instances` one mask for each object | `pairs`, `paths` which grid
positions are compared, and what lies between them.
"""
