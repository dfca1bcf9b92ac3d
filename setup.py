"""Beam's --setup_file wants a file of this name; everything it would say is in pyproject.toml."""

from setuptools import setup

setup()
