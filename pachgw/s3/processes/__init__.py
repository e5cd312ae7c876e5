"""What several gateways on one machine share: turns, and word of what each has changed. See decision 0010."""
