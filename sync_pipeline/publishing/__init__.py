"""Publishing: rows are staged in Cloud Storage and become rows of the destination, all of them or none.

What the source sends and how its values are converted does not belong here; what is decided at launch is in the plan.
"""
