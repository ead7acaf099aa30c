"""About how much memory a race needs, told before it starts. No torch."""
