"""Rollouts and schedules of syncs with Cloud Composer: see docs/how-to/composer.md.

`sync_composer` runs in Composer. The rest checks manifests and launch files before they are uploaded.
"""
