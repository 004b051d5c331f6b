"""Language models that give features for the Cross-Adapter Module."""
