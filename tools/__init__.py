"""What developers of kolora run by hand; no part of the package."""
