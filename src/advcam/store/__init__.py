"""Store: what a run writes to disk (maps, masks, pictures, settings), whole or not at all."""
