"""Generators: small data sets in the exact layouts of the public ones, whose masks and boxes are true."""
