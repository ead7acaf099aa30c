"""Images by name; `catalog`, `folder_scan` and `paths` need no torch, the loaders do."""
