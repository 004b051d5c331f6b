"""Connectors of other works in the CAM's socket, to compare with."""
