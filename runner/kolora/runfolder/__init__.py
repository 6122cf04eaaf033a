"""The run folder: its names, the records of its steps, its store of finished steps, its lock and its manifest."""
