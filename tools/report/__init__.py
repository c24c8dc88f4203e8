"""A report of a recipe: one HTML page and one picture that open from disk."""
