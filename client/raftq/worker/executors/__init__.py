"""Where tasks run: on a loop, in threads, in processes; and how each kind is stopped.

An executor owns how code is started, watched and stopped; it does not know about leases.
"""
