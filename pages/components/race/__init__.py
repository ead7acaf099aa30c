"""What the pages show of one race: its state, its buttons, its result."""
