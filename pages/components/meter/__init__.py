"""The cost meter of the Explore page: what the partition on the board will cost, before anybody races it."""
