"""Structured prediction on the scores of a network: the dense CRF, its parameters by grid search. tools/structured/README.md."""
