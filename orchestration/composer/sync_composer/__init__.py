"""Rollouts and schedules of syncs as Airflow DAGs, built from manifests.

This package runs inside Cloud Composer. It imports nothing of `sync_pipeline`, whose packages Composer does not have,
and keeps to Python 3.11.
"""
