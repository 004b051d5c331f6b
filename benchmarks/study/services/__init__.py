"""Annotation services and crowd markets: studies out, votes in."""
