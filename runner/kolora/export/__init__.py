"""What leaves a run folder for other tools and for the contest: LoRA files, ComfyUI graphs, the submission."""
