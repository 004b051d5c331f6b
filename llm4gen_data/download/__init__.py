"""Images by URL: img2dataset fetches in a process of its own, every input row becomes a row of a Parquet shard."""
