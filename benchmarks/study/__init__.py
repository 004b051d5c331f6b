"""Human studies: blind pairwise votes from design to win rate."""
