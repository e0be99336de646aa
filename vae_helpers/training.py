"""One training loop for every model: fast, resumable, and honest about its state.

``fit`` continues after any interruption from the last finished epoch and, on the CPU in float32,
ends bit for bit where an uninterrupted run ends: every epoch draws its order and its noise from
a generator seeded by (seed, epoch), and the learning rate and β are functions of progress alone.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vae_helpers import losses
from vae_helpers.data import ImageDataset, checked_data
from vae_helpers.errors import CheckpointError, TrainingError
from vae_helpers.files import digest_json, load_tensors, save_tensors, under
from vae_helpers.models import device_of, drawn, evaluating

EVALUATION_BATCH = 1_000
CHECK_EVERY = 50  # steps between checks for NaN on a GPU, where each one waits for it

# A loss maps (model, images, labels, β, generator) to named terms, ``(B,)`` each; "total" is
# what training minimizes.
Loss = Callable[..., dict[str, Tensor]]


@dataclass
class History:
    """Losses by epoch and split, nats per image: one row ``{epoch, split, total, …}`` each.

    ``train`` rows are means over the epoch's batches while the model learned from them; other
    splits are evaluated whole after each epoch. ``seconds`` is the time trained, over all calls.
    """

    rows: list[dict] = field(default_factory=list)
    seconds: float = 0.0

    def curve(self, split: str, term: str = "total") -> list[float]:
        """One term of one split, an entry per epoch."""
        return [row[term] for row in self.rows if row["split"] == split]

    @property
    def epochs(self) -> int:
        return max((row["epoch"] for row in self.rows), default=0)


def vae_loss(
    model, images, labels, beta=1.0, generator=None, likelihood="bernoulli", free_bits=0.0
) -> dict[str, Tensor]:
    """Reconstruction, KL and their β-weighted total, ``(B,)`` each, in nats per image.

    free_bits: nats of KL per latent dimension that the total counts, at least: they cost nothing.
    """
    logits, mu, log_var = model(images, generator, labels)
    terms = losses.elbo_terms(logits, images, mu, log_var, likelihood)
    total = terms.total(beta)
    if free_bits:
        total = terms.reconstruction + beta * losses.free_bits(mu, log_var, free_bits)
    return {"total": total, "reconstruction": terms.reconstruction, "kl": terms.kl}


def autoencoder_loss(model, images, labels, beta=1.0, generator=None) -> dict[str, Tensor]:
    """Reconstruction through μ, ``(B,)`` in nats per image, and nothing else."""
    reconstruction = losses.reconstruction_nll(model.decode(model.encode(images)[0]), images)
    return {"total": reconstruction, "reconstruction": reconstruction}


def fit(
    model: nn.Module,
    data: ImageDataset,
    *,
    epochs: int,
    loss: Loss = vae_loss,
    beta: float | Callable[[float], float] = 1.0,
    batch_size: int = 128,
    lr: float = 1e-3,
    schedule: str = "constant",
    seed: int = 42,
    watch: dict[str, ImageDataset] | None = None,
    snapshot: Callable[[nn.Module, int], dict[str, Tensor]] | None = None,
    state: Path | None = None,
    precision: torch.dtype | None = None,
    progress: bool = True,
) -> tuple[History, dict[str, Tensor]]:
    """Train ``model`` in place with Adam; return its history and its snapshots.

    beta: a number, or a schedule over progress in [0, 1]. schedule: ``constant`` at ``lr``, or
    ``one-cycle`` with ``lr`` as its peak. watch: splits to evaluate after each epoch.
    snapshot: called after each step with (model, steps done so far), returns named tensors to keep.
    state: a file that each finished epoch is written to, and that a later call resumes from.
    precision: autocast type, see ``best_precision``; None is float32.
    progress: show a bar.

    Raises DataError without images, ValueError for a schedule that does not exist or for numbers
    that no training has, TrainingError at the first NaN or infinite term, and CheckpointError when
    ``state`` belongs to another training. Ctrl-C leaves the model as it was after the last finished
    epoch. The model keeps its mode.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"no schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if epochs < 0 or batch_size < 1 or not lr > 0:
        raise ValueError(
            f"{epochs} epochs of batches of {batch_size} at a rate of {lr}; give at least 0 epochs "
            "and 1 image a batch, and a rate above 0"
        )
    device = device_of(model)
    data = checked_data(data).to(device)
    watch = {split: checked_data(watched) for split, watched in (watch or {}).items()}
    beta_at = beta if callable(beta) else lambda progress: beta
    # NHWC spares the convolutions a reordering on the way in and out.
    model.to(memory_format=torch.channels_last)
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=fused)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    autocast = torch.autocast(device.type, precision) if precision else contextlib.nullcontext()
    history, snapshots = History(), {}
    own = {  # all that decides the result
        "model": [[name, *p.shape] for name, p in model.named_parameters()],
        "data": data.digest,
        "loss": _described(loss),
        "beta": _described(beta),
        "precision": str(precision),
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "seed": seed,
    }
    if state is not None and state.exists():
        history, snapshots = _restore(state, own, model, optimizer, scaler)
    steps = math.ceil(len(data) / batch_size)
    bar = tqdm(
        total=epochs * steps,
        initial=history.epochs * steps,
        desc=f"epoch {history.epochs}/{epochs} on {device.type}",
        unit="step",
        disable=not progress,
        mininterval=0.5,
    )
    with bar, evaluating(model), _undoing(model) as keep:  # and then in the mode that it was in
        for epoch in range(history.epochs + 1, epochs + 1):
            began = time.perf_counter()
            model.train()
            generator = _generator(device, seed, epoch)
            order = drawn(torch.randperm, len(data), device=device, generator=generator)
            sums: dict[str, Tensor] = {}
            for step, (images, labels) in enumerate(data.batches(batch_size, order)):
                now = ((epoch - 1) * steps + step) / (epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = SCHEDULES[schedule](now, lr)
                with autocast:
                    terms = loss(model, images, labels, beta=beta_at(now), generator=generator)
                optimizer.zero_grad()
                scaler.scale(terms["total"].mean()).backward()
                scaler.step(optimizer)
                scaler.update()
                for name, term in terms.items():
                    sums[name] = sums.get(name, 0) + term.detach().sum()
                if device.type == "cpu" or step % CHECK_EVERY == 0 or step == steps - 1:
                    _refuse_nan(sums, epoch, step)
                if snapshot is not None:
                    snapshots |= snapshot(model, (epoch - 1) * steps + step + 1)
                    model.train()
                bar.update()
            means = {"train": {name: float(value) / len(data) for name, value in sums.items()}}
            # A schedule's β has reached its end here; watched totals all use that final β.
            for split, watched in watch.items():
                terms = evaluate(model, watched, loss=loss, beta=beta_at(1.0))
                means[split] = {name: float(term.double().mean()) for name, term in terms.items()}
            history.rows += [{"epoch": epoch, "split": split} | means[split] for split in means]
            history.seconds += time.perf_counter() - began
            keep()
            if state is not None:
                _store(state, own, model, optimizer, scaler, history, snapshots)
            bar.set_description(f"epoch {epoch}/{epochs} on {device.type}", refresh=False)
            last = history.rows[-1]
            bar.set_postfix_str(f"{last['split']} {last['total']:.2f}")
    return history, snapshots


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: ImageDataset,
    *,
    loss: Loss = vae_loss,
    beta: float = 1.0,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Every term of ``loss`` for every image, ``(N,)`` each, float32 on the CPU.

    In evaluation mode and float32, with noise drawn on the CPU: the same on every machine up to
    rounding.
    """
    batches = checked_data(data).to(device_of(model)).batches(EVALUATION_BATCH)
    generator = torch.Generator().manual_seed(seed)
    with evaluating(model):
        parts = [loss(model, *batch, beta=beta, generator=generator) for batch in batches]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def one_cycle(progress: float, peak: float) -> float:
    """The learning rate at ``progress`` in [0, 1]: a cosine up to ``peak`` and one down again.

    From peak/25 to peak in the first 30 %, then to peak/10⁴ (Smith & Topin 2019).
    """
    low, through = peak / 25, progress / 0.3
    if progress >= 0.3:
        low, through = peak / 1e4, 1 - (progress - 0.3) / 0.7
    return low + (peak - low) * 0.5 * (1 - math.cos(math.pi * through))


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": lambda progress, lr: lr,
    "one-cycle": one_cycle,
}


def best_device() -> torch.device:
    """A CUDA device where there is one, else Apple's (MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device) -> torch.dtype | None:
    """The autocast type that the hardware computes faster than float32, or None.

    Asked of the hardware itself: ``torch.cuda.is_bf16_supported()`` says True on a T4, which
    only emulates it, and a CPU without AMX or AVX512-bf16 is slower in bf16 than in float32.
    """
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else None
    if device.type != "cpu":
        return None
    has = [
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16")
    ]
    return torch.bfloat16 if any(probe() for probe in has if probe) else None


def _generator(device: torch.device, seed: int, epoch: int) -> torch.Generator:
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    # A GPU draws for itself, else each step would wait for the CPU's numbers.
    where = device if device.type == "cuda" else "cpu"
    return torch.Generator(where).manual_seed(int(mixed) & 0x7FFF_FFFF_FFFF_FFFF)


def _refuse_nan(sums: dict[str, Tensor], epoch: int, step: int) -> None:
    for name in sorted(sums, key="total".__eq__):  # the parts first: they say more than the total
        if not math.isfinite(sums[name]):
            raise TrainingError(
                f"{name} became {float(sums[name])} by step {step + 1} of epoch {epoch}; the model "
                "is left as after the last finished epoch: lower the learning rate or look for "
                "bad pixels"
            )


@contextlib.contextmanager
def _undoing(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Whatever interrupts, the model goes back to where what this yields was last called."""
    kept = {}

    def keep() -> None:
        kept.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    keep()
    try:
        yield keep
    except BaseException:
        model.load_state_dict(kept)
        raise


def _store(state, own, model, optimizer, scaler, history, snapshots) -> None:
    moments = optimizer.state_dict()["state"]
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"adam.{i}.{key}": moment[key] for i, moment in moments.items() for key in moment}
    tensors |= {f"snapshot.{name}": tensor for name, tensor in snapshots.items()}
    header = {
        "training": own,
        "rows": history.rows,
        "seconds": history.seconds,
        "scaler": json.dumps(scaler.state_dict()),
    }
    save_tensors(state, tensors, header)


def _described(value):
    """A number or a function as JSON, which differs where it computes something else."""
    if isinstance(value, partial):
        given = {name: _described(one) for name, one in value.keywords.items()}
        return [_described(value.func), *map(_described, value.args), given]
    if isinstance(value, ImageDataset):
        return value.digest
    if not callable(value):
        return value if isinstance(value, int | float | str | None) else repr(value)
    kind = value if hasattr(value, "__qualname__") else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is not value:  # an object: its class, and what it holds
        return [name, {one: _described(held) for one, held in sorted(vars(value).items())}]
    if "<" not in name:
        return name
    # A function without a name of its own: what it does, and with what.
    code, cells = value.__code__, value.__closure__ or ()
    used = [getattr(one, "co_code", one) for one in code.co_consts]
    does = digest_json([code.co_code.hex(), repr(code.co_names), repr(used)])
    return [name, does, *(_described(cell.cell_contents) for cell in cells)]


def _restore(state, own, model, optimizer, scaler) -> tuple[History, dict[str, Tensor]]:
    tensors, header = load_tensors(state)
    stored = header.get("training", {})
    for name, value in json.loads(json.dumps(own)).items():
        if stored.get(name) != value:
            raise CheckpointError(
                f"{state}: belongs to a training with another {name} ({stored.get(name)!s:.60} "
                f"instead of {value!s:.60}); go on with that one, or name another file"
            )
    model.load_state_dict(under("model.", tensors))
    parameters = list(model.parameters())
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under("adam.", tensors).items():
        index, key = name.split(".")
        if key != "step":  # fused Adam walks raw memory: moments must lie as their weights do
            tensor = torch.empty_like(parameters[int(index)]).copy_(tensor)
        moments.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    scaler.load_state_dict(json.loads(header["scaler"]))
    return History(header["rows"], header["seconds"]), under("snapshot.", tensors)
