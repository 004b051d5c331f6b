"""What the token states of a text model know: linear probes for binding and relations."""
