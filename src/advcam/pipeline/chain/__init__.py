"""The weakly supervised chain behind `advcam run`: train, localize, refine, label, evaluate, stage after stage.

`settings` what a recipe can say | `recipe_file` YAML and overrides | `stage` fingerprints and what is up to date |
`training`, `localizing`, `refining`, `labelling`, `scoring` the stages | `run` their order | `report` the page.
"""
