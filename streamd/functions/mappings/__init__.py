"""Event source mappings: what they read (``sources`` and its kinds), what they are, and how far they have come."""
