"""What a story needs of a GPU's memory, reckoned before torch is loaded, and how it is made to fit."""
