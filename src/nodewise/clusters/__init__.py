"""Clusters: emulated on this machine under a supervisor each, or somebody else's by address."""
