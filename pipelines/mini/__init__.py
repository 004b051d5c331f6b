"""How each model of the bundled mini family is trained."""
