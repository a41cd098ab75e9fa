"""Shards: the formats, their files, the reader, and what looks into them."""
