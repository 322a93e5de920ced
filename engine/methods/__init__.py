"""Methods: one folder each, found by name in `registry`.

Light: `kind` (what a method tells before it runs), the folders' `config` and `costs`, `registry`.
Heavy, with torch: `rules` (the hooks), and the folders' own `rules`.
"""
