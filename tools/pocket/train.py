"""Trains the whole pocket checkpoint from nothing: ``python -m tools.pocket.train --out DIR`` on one GPU.

It draws the pictures, teaches the VAE, the judges (probe, CLIP, aesthetic predictor), then the text encoder and the
U-Net, writes the checkpoint in Kolors' layout and measures it. About half an hour on a data-centre GPU with 16 cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kolora.configs import KOLORS
from kolora.models.layout import save_checkpoint
from kolora.models.schedule import NoiseSchedule
from kolora.pocket.world import VERSION
from torch import nn

from tools.pocket.data import Drawn, Studio, spoil_anew
from tools.pocket.judge import judge
from tools.pocket.probe import save_probe
from tools.pocket.recipe import TEXT_WIDTH, Recipe, tiny
from tools.pocket.teaching import aesthetics, clip
from tools.pocket.teaching.course import half, in_parts, log, to_unit
from tools.pocket.teaching.probe import right_shares, teach_probe
from tools.pocket.teaching.reading import Lesson, joined, teach_reading
from tools.pocket.teaching.unet import TAIL, Texts, new_text_encoder, new_unet, teach_unet
from tools.pocket.teaching.vae import encode_all, teach_vae

HELD_BACK = 2_000
"""Judge pictures that the judges are not taught on, to measure them."""


def train_pocket(recipe: Recipe, out: Path, *, device: str, judged: int = 256) -> dict[str, Any]:
    """Train, write and measure the checkpoint; returns its figures."""
    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    studio = Studio(count=recipe.pictures, seed=recipe.seed, spoilt_share=recipe.spoilt_share, judged=False, share=0.6)
    judges_studio = Studio(count=recipe.judge_pictures, seed=recipe.seed, spoilt_share=0.33, judged=True, share=0.25)
    said = studio.lines(recipe.reading_lines)
    begun = studio.start(0, recipe.first_pictures)
    rest = studio.start(recipe.first_pictures, recipe.pictures)
    for_judges = judges_studio.start(0, recipe.judge_pictures)
    first = begun.get()
    log.info("first %d pictures drawn after %.0f s", len(first), time.monotonic() - started)
    plain = [row for row, drawing in enumerate(first) if "noisy" not in dict(drawing.spoilt)]
    seen = torch.from_numpy(studio.drawn(first).pictures[plain]).to(device)  # no VAE can keep noise; it would try
    encoder, decoder, decibels = teach_vae(
        seen, recipe.vae, steps=recipe.vae_steps, batch=recipe.vae_batch, seed=recipe.seed
    )
    del seen
    figures: dict[str, Any] = {"vae_psnr": round(decibels, 2)}
    text_encoder = new_text_encoder(recipe.text_encoder, device=device)
    lines = joined(said.get())
    lesson = Lesson(lines, width=TEXT_WIDTH, device=torch.device(device), seed=recipe.seed)
    shares = teach_reading(text_encoder, lesson, steps=recipe.reading_steps, batch=512)
    figures["reading"] = {part: round(share, 4) for part, share in shares.items()}
    drawn = studio.drawn(first + rest.get())
    judged_on = judges_studio.drawn(for_judges.get())
    studio.close()
    judges_studio.close()
    log.info("all pictures drawn after %.0f s", time.monotonic() - started)
    figures |= _teach_judges(recipe, drawn, judged_on, encoder, decoder, out, device=device)
    log.info("judges taught after %.0f s: %s", time.monotonic() - started, figures)

    latents = encode_all(encoder, torch.from_numpy(drawn.pictures))
    texts = _tokens(drawn, device)
    configs = {
        "text_encoder": recipe.text_encoder,
        "unet": recipe.unet,
        "vae": recipe.vae,
        "scheduler": KOLORS["scheduler"],
    }

    def write(text_encoder: nn.Module, unet: nn.Module) -> None:
        save_checkpoint(
            out, configs=configs, text_encoder=text_encoder, unet=unet, vae_encoder=encoder, vae_decoder=decoder
        )

    log.info("latents of %d pictures after %.0f s", len(latents), time.monotonic() - started)
    schedule = NoiseSchedule.from_config(KOLORS["scheduler"])
    unet = new_unet(recipe.unet, device=device)
    teach_unet(
        text_encoder,
        unet,
        latents,
        texts,
        schedule,
        lesson,
        steps=recipe.unet_steps,
        batch=recipe.unet_batch,
        seed=recipe.seed,
        keep=write,
    )
    write(text_encoder, unet)
    trained = round(time.monotonic() - started)
    log.info("trained after %d s", trained)
    del latents, texts
    record = {
        "recipe": recipe.facts(),
        "world": VERSION,
        "data_sha256": drawn.digest(),
        "judge_data_sha256": judged_on.digest(),
        "seconds": trained,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    figures |= judge(out, out.with_name(out.name + "-judged"), device=device, count=judged)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _on(device: str, drawn: Drawn) -> torch.Tensor:
    return torch.from_numpy(drawn.pictures).to(device)


def _tokens(drawn: Drawn, device: str) -> Texts:
    count, each = len(drawn.drawings), len(drawn.drawings[0].tokens)
    ids = np.zeros((count, each, TAIL), dtype=np.int32)
    lengths = np.zeros((count, each), dtype=np.int64)
    for row, drawing in enumerate(drawn.drawings):
        for column, tokens in enumerate(drawing.tokens):
            lengths[row, column] = len(tokens)
            ids[row, column, TAIL - len(tokens) :] = tokens
    return Texts(torch.from_numpy(ids).to(device), torch.from_numpy(lengths).to(device))


def _teach_judges(
    recipe: Recipe, drawn: Drawn, judged_on: Drawn, encoder: nn.Module, decoder: nn.Module, out: Path, *, device: str
) -> dict[str, Any]:
    """Teach and write probe, CLIP and aesthetic predictor; returns how well the probe reads drawn pictures."""
    pictures = _on(device, judged_on)
    shown = _through_vae(encoder, decoder, pictures)
    noisy = ["noisy" in dict(d.spoilt) for d in judged_on.drawings]
    shown[noisy] = pictures[noisy]  # the VAE takes noise away: what it shows would be called noisy and is not
    truth = torch.tensor([d.labels for d in judged_on.drawings], device=device)
    kept = len(pictures) - min(HELD_BACK, len(pictures) // 4)
    probe = teach_probe(pictures[:kept], shown[:kept], truth[:kept], steps=recipe.probe_steps, seed=recipe.seed)
    (out / "probe").mkdir(parents=True, exist_ok=True)
    save_probe(probe, out / "probe" / "model.safetensors")
    read = right_shares(probe, pictures[kept:], truth[kept:])

    small, small_shown = clip.shrunk(pictures), clip.shrunk(shown)
    del pictures, shown
    _teach_grader(recipe, judged_on, kept, small, small_shown, encoder, decoder, out)

    also = drawn.pictures[: recipe.first_pictures * 2]
    texts = [d.captions for d in (*judged_on.drawings[:kept], *drawn.drawings[: len(also)])]
    flat = list(chain(*texts))
    clip.write_tokenizer(out / "clip", flat[:60_000])
    parts = [clip.tokenize(out / "clip", flat[k : k + 8192]) for k in range(0, len(flat), 8192)]
    ids = torch.cat([part["input_ids"] for part in parts]).view(len(texts), -1, 77).to(device)
    masks = torch.cat([part["attention_mask"] for part in parts]).view(len(texts), -1, 77).to(device)
    everything = torch.cat([small[:kept], clip.shrunk(torch.from_numpy(also).to(device))])
    model = clip.teach_clip(everything, ids, masks, steps=recipe.clip_steps, batch=recipe.clip_batch, seed=recipe.seed)
    clip.write_processor(out / "clip")
    clip.save_scorer(model, out / "clip")
    return {"probe_right_on_drawn": {name: round(share, 4) for name, share in read.items()}}


def _teach_grader(
    recipe: Recipe,
    judged_on: Drawn,
    kept: int,
    small: torch.Tensor,
    shown: torch.Tensor,
    encoder: nn.Module,
    decoder: nn.Module,
    out: Path,
) -> None:
    """Teach and write the aesthetic predictor: on the judges' pictures, and on their clean ones spoilt anew."""
    clean = [row for row in range(kept) if not judged_on.drawings[row].spoilt]
    spoilt, faults = spoil_anew(judged_on, clean, each=recipe.spoilt_each, seed=recipe.seed, share=0.9)
    smalls, showns = [small[:kept]], [shown[:kept]]
    for part in in_parts(torch.from_numpy(spoilt), 4096):
        part = part.to(small.device)
        smalls.append(clip.shrunk(part))
        showns.append(clip.shrunk(_through_vae(encoder, decoder, part)))
    noisy = [kept + row for row, each in enumerate(faults) if "noisy" in dict(each)]
    pictures, decoded = torch.cat(smalls), torch.cat(showns)
    decoded[noisy] = pictures[noisy]
    known = [drawing.spoilt for drawing in judged_on.drawings[:kept]]
    truth = [aesthetics.grade(each) for each in (*known, *faults)]
    grades = torch.tensor(truth, device=small.device)
    grader = aesthetics.teach_aesthetics(pictures, decoded, grades, steps=recipe.aesthetics_steps, seed=recipe.seed)
    clip.write_processor(out / "aesthetics")
    clip.save_scorer(grader, out / "aesthetics")


@torch.no_grad()
def _through_vae(encoder: nn.Module, decoder: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Return the pictures as the VAE shows them, uint8 (N, 256, 256, 3)."""
    shown = []
    for part in in_parts(pictures, 128):
        with half(part.device.type):
            pixels = decoder(encoder(to_unit(part)))
        shown.append(((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1))
    return torch.cat(shown)


def main() -> None:
    """Train pocket from the command line."""
    parser = argparse.ArgumentParser(description="Train the pocket checkpoint from nothing.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--tiny", action="store_true", help="walk every step in a minute; teaches nothing")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=COUNT", help="change a count of the recipe")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    pairs = [change.split("=") for change in given.set]
    changes: dict[str, Any] = {name: int(value) for name, value in pairs}
    recipe = replace(tiny() if given.tiny else Recipe(), seed=given.seed, **changes)
    figures = train_pocket(recipe, given.out, device=given.device, judged=8 if given.tiny else 256)
    print(json.dumps(figures, indent=2, ensure_ascii=False))


__all__ = ["train_pocket"]

if __name__ == "__main__":
    main()
