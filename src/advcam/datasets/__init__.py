"""Data sets: finds pictures on disk, decodes them and gives them labels."""
