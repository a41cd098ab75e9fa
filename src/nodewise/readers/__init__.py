"""Readers that the speed test compares: nodewise's own, and what people use instead, behind one protocol."""
