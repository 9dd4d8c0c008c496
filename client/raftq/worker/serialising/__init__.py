"""Values as bytes: arguments, results and the reasons of failed runs."""
