"""What a schedule comes to, decided without a clock, a store or an agent."""
