"""How far metrics can be believed: on drawn scenes whose truth is known, and on their counterfactual twins."""
