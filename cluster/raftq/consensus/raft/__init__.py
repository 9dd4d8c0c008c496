"""PySyncObj and everything that makes it safe: its log, the guard, the elector."""
