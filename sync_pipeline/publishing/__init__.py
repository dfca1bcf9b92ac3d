"""Publishing: rows are staged in Cloud Storage and become rows of the destination, all of them or none."""
