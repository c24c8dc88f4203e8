"""Behind tools/rehearse.py: drawn data, weights to start from, the stages one after the other, the table."""
