"""Transforms: what `transformation_config` does to the rows, of a batch and in SQL."""
