"""Parts that pages are made of; none of them is a page."""
