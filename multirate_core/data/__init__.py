"""Images by name; `catalog`, `folder_scan`, `paths` and `uploads` need no torch, the loaders do."""
