"""What a partition costs before it is raced: measured once per network and device, then predicted for any partition."""
