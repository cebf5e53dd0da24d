"""What usually goes wrong between a rule and an IDS: `look` gathers facts and changes
nothing, `judge` makes findings of facts and touches nothing."""
