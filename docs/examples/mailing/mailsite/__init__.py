"""A Django site whose orders are confirmed by mail."""
