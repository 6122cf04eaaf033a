"""How each part of pocket is taught; all of it runs on a GPU, and on a CPU to be tested."""
