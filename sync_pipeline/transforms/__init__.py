"""Transforms: apply `transformation_config` to rows, in batches and in SQL."""
