"""All targets by name."""

from fuzz import annotations, imports, lists, pictures, recipes, records, runs, shards, studio, tables, weights
from fuzz.target import Target

_MODULES = (tables, annotations, records, pictures, recipes, lists, weights, shards, imports, runs, studio)
TARGETS: dict[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
