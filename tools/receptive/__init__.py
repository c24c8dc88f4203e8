"""Receptive fields, measured and drawn (paper Figure 1 and Table 1)."""
