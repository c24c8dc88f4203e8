"""Two CRFs that refine the scores of a network: the dense CRF with its grid search, and CRF-RNN (tools/crfs/README.md)."""
