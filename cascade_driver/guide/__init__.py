"""The guide: chapters of Markdown that ship with the package, read in a terminal or as a site, run by the tests.

`chapters` knows them, of which `notebook` is a script as well, and `page` shows one. `keys` makes the reference of
all keys of inputs of their types, `site` makes pages of all of it.
"""
