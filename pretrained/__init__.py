"""Weight files: where they come from, and how they become weights of our networks."""
