"""Recipes: training scripts of the mini family and one file a published run; nobody imports them."""
