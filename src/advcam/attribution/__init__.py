"""The method: pure tensor code that turns a classifier's response into attribution maps.

`response` what a method may ask a network | `climb` AdvCAM, the equations | `gradients` CAM, Grad-CAM, Grad-CAM++,
LayerCAM | `method` pictures in, scales and flips fused, maps out | `registry` methods by name.
"""
