"""The bench: this machine on the notebook's way and on kolora's, side by side, with weights made up in memory."""
