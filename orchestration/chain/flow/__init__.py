"""The logic of chains, for the function and for the command line. Imports nothing outside this folder.

`chain` has the values, `names` the names of jobs, `decisions` which steps are due, `placeholders` the values that a
step gets, `dataflow` the API, `events` what the function receives, and `conductor` brings them together.
"""
