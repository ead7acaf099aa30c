"""The left half of the Explore page: the drag board, and what stands above and below it."""
