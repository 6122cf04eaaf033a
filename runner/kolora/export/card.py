"""The model card of a submission: the report's own text under a head that both hubs read, and how to load the LoRA."""

from __future__ import annotations

from kolora.export.finished import FinishedRun
from kolora.report import ReportData
from kolora.report.pages import render_markdown

_LICENCE = {"license": "other", "license_name": "kolors"}

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


def model_card(run: FinishedRun, *, name: str, report: ReportData) -> str:
    """Write README.md, whose pictures lie beside it. name: the submission's."""
    story = run.story
    head = _LICENCE if story.model.checkpoint == "kolors" else {}
    use = _USE[story.language].format(name=name, lora=run.lora, scale=story.render.lora_scale)
    return f"{render_markdown(report, head=head).rstrip()}\n\n{use}"
