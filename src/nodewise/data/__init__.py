"""Where images come from: folders, archives, downloads, and lists of them."""
