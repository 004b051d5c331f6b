"""Checks of a finished prompt set that need more than the package: a grammar checker, models, public sets."""
