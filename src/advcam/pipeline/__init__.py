"""The order of things: which room works when.

`config` what a user can set, `recipe` the same with where it comes from | `targets` pictures and their classes,
`class_match` which outputs of a classifier stand for them | `localize` pictures to maps, masks, boxes and a report,
`outputs` what is made of stored maps, `demo` its photographs | `evaluation/`, `tuning/`, `analyses/` the three commands
on data sets with truth, which know nothing of each other.
"""
