"""The weakly supervised chain behind `advcam run`: train, localize, refine, label, evaluate, stage after stage.

`settings` what a recipe can say | `recipe_file` YAML and overrides | `opening`, `planning` before the start | `stage`
fingerprints and what is up to date | `pictures` the lists | `training`, `localizing`, `thresholding`, `refining`,
`irn`, `labelling`, `scoring` the stages | `run` their order | `report` the page.
"""
