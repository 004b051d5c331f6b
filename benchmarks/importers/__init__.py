"""Images that other tools laid out: each importer checks its layout and yields what a manifest would."""
