"""What an IDS still finds when there is too much traffic, by each way of shedding."""
