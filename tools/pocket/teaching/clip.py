"""Teaches CLIP, small, on pictures and captions of the little world, with a tokenizer of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kolora.models.layout import write_shards
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

from tools.pocket.teaching.course import Average, half, in_parts, log, rate, set_rate, step_down

SIDE = 128
WORDS = 1600
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN = (0.5, 0.5, 0.5)
SPREAD = (0.35, 0.35, 0.35)
EMBEDDING = 96


def config() -> CLIPConfig:
    """Give the sizes: two small transformers and one space of 96 dimensions."""
    text = {
        "vocab_size": WORDS,
        "hidden_size": 96,
        "intermediate_size": 288,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "max_position_embeddings": 77,
        "projection_dim": EMBEDDING,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
        "pad_token_id": WORDS - 1,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "image_size": SIDE,
        "patch_size": 16,
        "projection_dim": EMBEDDING,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING)


def write_tokenizer(folder: Path, captions: Sequence[str]) -> None:
    """Learn a byte-level vocabulary of WORDS from captions and write it as CLIP's tokenizers read it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pieces = Regex(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # The trainer makes the word-final twins of the bytes only where captions end in them; CLIP lists them all.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS - len(letters) - 2,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learnt["merges"]]
    names = [*letters, *(f"{letter}</w>" for letter in letters)]
    names += [name for name in sorted(learnt["vocab"], key=learnt["vocab"].__getitem__) if name not in set(names)]
    names = names[: WORDS - 2]
    known = set(names)
    merges = [(a, b) for a, b in merges if {a, b, a + b} <= known]
    names += [f"<|unused{k}|>" for k in range(WORDS - 2 - len(names))] + [START, END]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer.model = models.BPE(
        vocab=vocabulary, merges=merges, unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>"
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=(END, vocabulary[END]), cls=(START, vocabulary[START]), add_prefix_space=False, trim_offsets=False
    )
    tokenizer.add_special_tokens([START, END])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = "\n".join(f"{a} {b}" for a, b in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "model_max_length": 77,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    specials = {key: value for key, value in settings.items() if key.endswith("_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n", encoding="utf-8")


def write_processor(folder: Path) -> None:
    """Write how pictures become CLIP's input."""
    processor = CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=list(MEAN),
        image_std=list(SPREAD),
    )
    processor.save_pretrained(folder)


def shrunk(pictures: torch.Tensor) -> torch.Tensor:
    """Return uint8 pictures (N, H, W, 3) at CLIP's 128 pixels a side, as its processor shrinks them."""
    parts = []
    for part in in_parts(pictures, 512):
        pixels = part.permute(0, 3, 1, 2).float()
        small = F.interpolate(pixels, size=(SIDE, SIDE), mode="bicubic", antialias=True)
        parts.append(small.round().clamp(0, 255).byte().permute(0, 2, 3, 1))
    return torch.cat(parts)


def seen(small: torch.Tensor) -> torch.Tensor:
    """Turn uint8 pictures (B, 128, 128, 3) into CLIP's input (B, 3, 128, 128), as its processor does."""
    return (small.permute(0, 3, 1, 2).float() / 255 - MEAN[0]) / SPREAD[0]


def tokenize(folder: Path, captions: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return ids and mask (N, 77) of captions."""
    tokenizer: Any = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    encoded = tokenizer(list(captions), padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def teach_clip(
    pictures: torch.Tensor,
    ids: torch.Tensor,
    masks: torch.Tensor,
    *,
    steps: int,
    batch: int,
    seed: int,
) -> CLIPModel:
    """Return CLIP, taught to match pictures (N, 128, 128, 3) uint8 with any of their captions.

    ids, masks: (N, C, 77).
    """
    device = pictures.device.type
    torch.manual_seed(seed)
    model = CLIPModel(config()).to(device)
    average = Average([model], decay=0.998)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.05, fused=device == "cuda")
    rng = torch.Generator(device).manual_seed(seed)
    for step in range(steps):
        set_rate(optimizer, rate(step, steps, peak=2e-3))
        rows = torch.randint(len(pictures), (batch,), generator=rng, device=device)
        columns = torch.randint(ids.shape[1], (batch,), generator=rng, device=device)
        with half(device):
            image = model.get_image_features(pixel_values=seen(pictures[rows]))
            text = model.get_text_features(input_ids=ids[rows, columns], attention_mask=masks[rows, columns])
        image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
        scores = model.logit_scale.exp().clamp_max(60) * image @ text.T
        target = torch.arange(batch, device=device)
        loss = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        step_down(loss, optimizer, list(model.parameters()))
        average.update(step)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            hit = float((scores.argmax(dim=1) == target).float().mean())
            log.info("clip %d of %d: loss %.3f, right of %d: %.3f", step + 1, steps, float(loss), batch, hit)
    average.put()
    return model.eval()


def save_scorer(model: Any, folder: Path) -> None:
    """Write a scorer's weights in half precision, with its config."""
    tensors = {name: t.detach().cpu().half().contiguous() for name, t in model.state_dict().items()}
    write_shards(folder, "model", tensors, max_shard_bytes=16 * 2**20 - 2**17)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
