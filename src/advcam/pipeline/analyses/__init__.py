"""`advcam analyze`: the paper's own analyses on a data set, as figures and as numbers."""
