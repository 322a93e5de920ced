"""The language model that a config names: found, checked, described and loaded."""
