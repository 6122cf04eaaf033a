"""Many stories: which of them are this process's, each in a process of its own, and one page over all."""
