"""A closed world of drawn pictures in which everything that is true of a picture is known."""
