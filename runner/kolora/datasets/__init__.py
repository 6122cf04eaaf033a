"""Data sets: what a folder, a table, an archive or a parquet file holds, as plain pictures with captions."""
