"""What happens along the climb: the analyses of the paper, as numbers."""
