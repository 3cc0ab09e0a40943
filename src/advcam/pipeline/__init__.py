"""The order of things: which room works when.

`config` what a user can set | `localize` pictures to maps, masks, boxes and a report | `outputs` what is made of stored
maps | `demo` the photographs of the demo.
"""
