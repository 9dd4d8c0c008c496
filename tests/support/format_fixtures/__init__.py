"""Files of the present format for the versions to come: see storage/DESIGN.md."""
