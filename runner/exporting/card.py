"""The model card of a submission: front matter for both hubs, how to load the LoRA, then the report's own text."""

from __future__ import annotations

import yaml

from runner.exporting.finished import FinishedRun

_OF_KOLORS = {
    "base_model": "Kwai-Kolors/Kolors",
    "base_model_relation": "adapter",
    "license": "other",
    "license_name": "kolors",
}

_USE = {
    "zh": """## 用法

强度 1.0 在下面每一处都与这里相同；本作品用的是 {scale:g}。

DiffSynth-Studio（1.1.9）：

```python
manager.load_lora("lora/diffsynth.safetensors", lora_alpha={scale:g})
```

diffusers：

```python
pipe.load_lora_weights("lora", weight_name="pytorch_lora_weights.safetensors")
pipe.set_adapters("default_0", {scale:g})
```

ComfyUI：把 `lora/{name}.safetensors` 放进 `models/loras/`，改名为 `{lora}.safetensors`；
然后把任何一张图片拖进窗口，就得到它的工作流。

核验：`kolora verify .`
""",
    "en": """## Use

Strength 1.0 means the same in each of these as it does here; this work uses {scale:g}.

DiffSynth-Studio (1.1.9):

```python
manager.load_lora("lora/diffsynth.safetensors", lora_alpha={scale:g})
```

diffusers:

```python
pipe.load_lora_weights("lora", weight_name="pytorch_lora_weights.safetensors")
pipe.set_adapters("default_0", {scale:g})
```

ComfyUI: put `lora/{name}.safetensors` into `models/loras/` as `{lora}.safetensors`; then any picture dropped on the
window brings its graph.

To check it: `kolora verify .`
""",
}


def model_card(run: FinishedRun, *, name: str, report: str) -> str:
    """Write README.md. name: the submission's. report: the text of report.md, whose pictures lie beside the card."""
    story = run.story
    front = {
        "language": [story.language],
        "pipeline_tag": "text-to-image",
        "tasks": ["text-to-image-synthesis"],
        "frameworks": ["Pytorch"],
        "tags": ["lora", "kolors", "text-to-image", "diffusers", "diffsynth"],
        **(_OF_KOLORS if story.model.checkpoint == "kolors" else {}),
        "widget": [{"text": scene.prompt, "output": {"url": f"images/{scene.number:02d}.png"}} for scene in run.scenes],
    }
    head = yaml.safe_dump(front, allow_unicode=True, sort_keys=False, width=120)
    use = _USE[story.language].format(name=name, lora=run.lora, scale=story.render.lora_scale)
    return f"---\n{head}---\n\n{report.rstrip()}\n\n{use}"
