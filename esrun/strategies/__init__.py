"""Evolution strategies: one paper a file, no parallel code in any of them."""
