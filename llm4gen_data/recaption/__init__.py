"""Images through a vision-language model into LAION-refined Parquet."""
