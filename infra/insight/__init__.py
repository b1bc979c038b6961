"""Look at a platform: what falls with what, what it costs, and one page that shows it."""
