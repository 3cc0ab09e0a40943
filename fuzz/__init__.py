"""Fuzzing of every reader of files that come from elsewhere.

`target` what a target is | `mutation` how files are changed | one module for each format | `catalogue` all targets |
`python -m fuzz` long runs with atheris. The tests run the same targets with hypothesis (tests/security).
"""
