"""The same stages on many machines: the engine on Ray, what a run will need, and its schedule played through."""
