"""`advcam report` and `advcam compare`: what a run found, for people, from what lies in its folder.

`report` the page of a run | `chain` `localization` `prediction` what each kind of run has to say | `data` pictures |
`scores` what was scored | `choosing` `pictures` which are shown | `making` settings, cost, how to make it again |
`comparison` runs side by side.
"""
