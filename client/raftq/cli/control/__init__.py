"""Commands that look at tasks and queues, change them, and set what holds for them."""
