"""Images and where they come from: sources, archives, downloads, and the shards that jobs read and write."""
