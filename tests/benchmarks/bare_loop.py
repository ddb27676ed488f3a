"""How much of the speed of a bare PyTorch loop `train` reaches.

Both train the same fresh network on the same decoded phantoms: same batches, bf16 where the
processor has it, channels last, fused AdamW. The bare loop does nothing else; the product also
augments, schedules, validates, keeps the best weights and records every step. Turns alternate, so
that other load on the machine meets both.

    python -m tests.benchmarks.bare_loop --model resnet18 --size 64 --steps 30
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stages.config.load import load_params
from stages.config.params import Compute, CrossEntropy, Recipe
from stages.imaging.square import fit_square
from stages.modeling.augment import Augmenter
from stages.modeling.classifier import Classifier, build_classifier
from stages.modeling.compute import Hardware, choose_hardware, keep_freed_memory
from stages.modeling.data import ImageRows, ordered_loader, to_unit_range, train_loader
from stages.modeling.fit import Lesson, fit
from stages.modeling.losses import build_loss
from stages.modeling.outputs import Outputs
from stages.phantoms.ct import draw_ct
from stages.phantoms.lesions import PATTERNS

DRAWN = 64  # phantoms; drawing thousands would take minutes and change no time
RECIPE = Recipe(
    optimizer="adamw",
    lr=1e-4,
    weight_decay=1e-2,
    beta2=0.999,
    schedule="onecycle",
    epochs=1,
    patience=1,
    keep="best",
    ema=0.0,
    batch_size=32,
    layer_decay=1.0,
    head_epochs=0,
    drop_path=0.0,
    mixup=0.0,
    cache_views=0,
    devices=1,
    num_nodes=1,
    strategy="auto",
)
OUTPUTS = Outputs(("normal", "covid"), positive=1, one_logit=False, implies={})


def main() -> None:
    """Print images per second of both, turn by turn, and the ratio of the medians."""
    options = _parse()
    keep_freed_memory()
    hardware = choose_hardware(Compute(accelerator="auto", precision="auto", threads="auto"))
    images, targets = _draw(options.size, options.steps * options.batch)
    turns: dict[str, Callable[[], None]] = {
        "bare": lambda: _train_bare(_build(options), images, targets, options.batch, hardware),
        "product": lambda: _train(_build(options), images, targets, options, hardware),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for turn in range(options.repeats + 1):
        for name, train in turns.items():
            seconds = _seconds(train)
            if turn:  # the first one warms up
                taken[name].append(seconds)
    medians = {
        name: [statistics.median(s) for s in zip(*t, strict=True)] for name, t in taken.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"{name:8} {len(images) / wall:8.1f} images/s, {cpu:.1f} CPU seconds a turn")
    wall, cpu = (b / p for b, p in zip(medians["bare"], medians["product"], strict=True))
    print(f"product : bare {wall:.2f} of the speed, {cpu:.2f} by CPU seconds")
    print(f"{options.model}, {options.size} px, {hardware.device}, {hardware.precision}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--steps", type=int, default=30, help="batches per turn")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    parser.add_argument("--repeats", type=int, default=3, help="turns counted")
    return parser.parse_args()


def _draw(size: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Phantoms (N, S, S), repeated where there are more than DRAWN, and class indices (N,)."""
    drawn = [_draw_one(number, size) for number in range(min(DRAWN, count))]
    rows = np.arange(count) % len(drawn)
    return np.stack(drawn)[rows], (rows % 2).astype(np.int64)


def _draw_one(number: int, size: int) -> NDArray[np.uint8]:
    patient_rng, image_rng = np.random.default_rng(number).spawn(2)
    pattern = PATTERNS[number % len(PATTERNS)]
    return fit_square(draw_ct(pattern, patient_rng, image_rng, size_px=size).image, size, "smooth")[
        0
    ]


def _build(options: argparse.Namespace) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(
        options.model, size=options.size, head=[], outputs=2, dropout=0.0, mean=0.5, std=0.25
    )


def _train_bare(
    classifier: Classifier,
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    batch: int,
    hardware: Hardware,
) -> None:
    """One epoch as one would write it with nothing but torch."""
    device = hardware.device
    classifier.to(device).to(memory_format=torch.channels_last)
    pixels, classes = torch.from_numpy(images).to(device), torch.from_numpy(targets).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), RECIPE.lr, fused=True)
    loss_fn = nn.CrossEntropyLoss()
    for rows in torch.randperm(len(pixels)).to(device).split(batch):
        optimizer.zero_grad()
        with hardware.autocast():
            loss = loss_fn(classifier(to_unit_range(pixels[rows])).float(), classes[rows])
        loss.backward()
        optimizer.step()
    loss.item()  # a GPU has now done all of it


def _train(
    classifier: Classifier,
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    options: argparse.Namespace,
    hardware: Hardware,
) -> None:
    """One epoch of `fit`; one batch validates."""
    rows = np.arange(len(images))
    settings = load_params().augmentations["light"]
    lesson = Lesson(
        classifier,
        OUTPUTS,
        build_loss(CrossEntropy(kind="ce", label_smoothing=0.0), OUTPUTS, []),
        to_unit_range,
        Augmenter(settings, torch.Generator().manual_seed(0)),
        train_loader(
            ImageRows(images, targets, rows), batch_size=options.batch, sampler="none", seed=0
        ),
        ordered_loader(ImageRows(images, targets, rows[: options.batch]), batch_size=options.batch),
        {},
    )
    fit(lesson, RECIPE, seed=0, hardware=hardware)


def _seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Of the clock, and of the processors: on a busy machine only these say something."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main()
