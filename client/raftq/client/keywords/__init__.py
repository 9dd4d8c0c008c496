"""What callers write, as it is sent: options of tasks, filters, rates, backoffs, instants."""
