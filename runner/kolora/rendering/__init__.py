"""The denoising loop, the pictures it ends in, and the grid they are shown in."""
