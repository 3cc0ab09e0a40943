"""All targets by name."""

from fuzz import annotations, lists, pictures, recipes, records, shards, tables, weights
from fuzz.target import Target

_MODULES = (tables, annotations, records, pictures, recipes, lists, weights, shards)
TARGETS: dict[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
