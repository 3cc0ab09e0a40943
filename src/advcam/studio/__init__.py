"""A page for looking at runs and mending them: one local server over one run."""
