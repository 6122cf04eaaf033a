"""The LoRA loop: what each step draws, the Lightning module, saving and resuming."""
