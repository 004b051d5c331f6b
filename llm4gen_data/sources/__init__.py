"""Where images and their alt texts come from."""
