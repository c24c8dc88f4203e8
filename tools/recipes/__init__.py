"""Recipes: commands of this toolkit that run one after the other, as data for the chain of stages."""
