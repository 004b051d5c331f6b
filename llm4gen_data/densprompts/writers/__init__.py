"""Writers turn a specification into a prompt."""
