"""The screens, one file each; every file reads top to bottom as its screen."""
