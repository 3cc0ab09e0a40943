"""`advcam evaluate`: predictions, ours or anybody's, to a table in which every score names its supervision."""
