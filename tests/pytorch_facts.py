"""What PyTorch and timm do, as numbers: written where both are installed, compared with everywhere else.

`python tests/pytorch_facts.py` writes leukonb/model/schedule.json.
"""

import json
import math
from pathlib import Path

FILE = Path(__file__).parents[1] / "leukonb" / "model" / "schedule.json"
CYCLES = [(1000, 0.3), (37, 0.3), (20, 0.5), (5, 0.3)]  # steps, share of them that rises
PEAK, DECAY, CLIP, STEPS = 1e-3, 1e-5, 1.0, 24


def pytorch():
    """Torch, without the warnings of a machine that has no graphics card."""
    import warnings

    warnings.filterwarnings("ignore")
    import torch

    return torch


def one_cycle(steps, rising, **options):
    """Learning rate and beta1 of each step of AdamW under OneCycleLR, whose other arguments are its own."""
    torch = pytorch()
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-4, betas=(0.9, 0.999))
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK, total_steps=steps, pct_start=rising, **options
    )
    rates, betas = [], []
    for step in range(steps):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        betas.append(group["betas"][0])
        optimizer.step()
        if step < steps - 1:
            cycle.step()
    return {"steps": steps, "rising": rising, "rate": rates, "beta1": betas}


def gradient(step):
    """Four numbers of a step: large, small, around epsilon, and sometimes none."""
    return [3 * math.cos(step), 0.02 * math.sin(2 * step), 1e-8 * math.cos(3 * step), (step % 3) * 0.1]


def walk():
    """Four weights under AdamW, one cycle and a clipped gradient, after each step."""
    torch = pytorch()
    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64))
    optimizer = torch.optim.AdamW([weights], lr=1e-4, betas=(0.9, 0.999), weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=STEPS)
    places = []
    for step in range(STEPS):
        weights.grad = torch.tensor(gradient(step), dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([weights], CLIP)
        optimizer.step()
        places.append(weights.tolist())
        if step < STEPS - 1:
            cycle.step()
    return places


def defaults():
    """What PyTorch takes where nothing is said."""
    torch = pytorch()
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).defaults
    norm, once = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(1, momentum=1.0)
    torch.manual_seed(0)
    batch, dense = torch.randn(8, 1), torch.nn.Linear(512, 256)
    once(batch)
    return {
        "running variance over the unbiased": round(float(once.running_var / batch.var()), 4),
        "largest first weight, 512 to 256": round(float(dense.weight.abs().max()), 4),
        "largest first bias, 512 to 256": round(float(dense.bias.abs().max()), 4),
        "AdamW eps": adamw["eps"],
        "AdamW beta2": adamw["betas"][1],
        "batch norm eps": norm.eps,
        "batch norm momentum": norm.momentum,
    }


def network():
    """timm's tf_efficientnetv2_b3 as the paper asks for it: stochastic depth, batch norm, names and shapes."""
    import timm
    from timm.models import get_pretrained_cfg

    name = "tf_efficientnetv2_b3"
    model = timm.create_model(name, pretrained=False, drop_path_rate=0.2)
    blocks = [block for stage in model.blocks for block in stage]
    depth = [float(getattr(block.drop_path, "drop_prob", 0.0) or 0.0) for block in blocks]
    releases = {}
    for tag in ("in1k", "in21k_ft_in1k", "in21k"):
        stated = get_pretrained_cfg(f"{name}.{tag}").to_dict()
        releases[tag] = {"classes": stated["num_classes"], "mean": stated["mean"], "std": stated["std"]}
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    norm = {"eps": model.bn1.eps, "momentum": model.bn1.momentum}
    skips = [bool(block.has_skip) for block in blocks]
    return {
        "depth": depth,
        "skips": skips,
        "norm": norm,
        "releases": releases,
        "shapes": shapes,
        "parameters": sum(p.numel() for k, p in model.named_parameters() if "classifier" not in k),
    }


def collect():
    """Everything that is compared, with the versions that gave it."""
    import timm

    return {
        "versions": {"torch": pytorch().__version__, "timm": timm.__version__},
        "defaults": defaults(),
        "one_cycle": [one_cycle(*given) for given in CYCLES],
        "walk": walk(),
        "network": network(),
    }


def depths(size):
    """How often timm skips each block that can be skipped, of one size of the network."""
    import timm

    model = timm.create_model(f"tf_efficientnetv2_{size}", pretrained=False, drop_path_rate=0.2)
    blocks = [block for stage in model.blocks for block in stage]
    return [block.drop_path.drop_prob for block in blocks if block.has_skip]


def write_maps(folder, kind, mean, std):
    """A network of timm with statistics of its own: its checkpoint, two images, and their maps."""
    import importlib

    import numpy as np
    import timm

    torch = pytorch()
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnetv2_b3", pretrained=False).train()
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3)).astype("float32")
    scaled = (images / 255 - np.array(mean)) / np.array(std)
    scaled = torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype("float32").copy())
    for norm in model.modules():  # fresh statistics are 0 and 1, and would hide a mistake
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        model(scaled)
        maps = model.eval().forward_features(scaled).numpy()
    save = torch.save if kind == "pth" else importlib.import_module("safetensors.torch").save_file
    save(model.state_dict(), Path(folder) / f"model.{kind}")
    np.savez(Path(folder) / "maps.npz", images=images, maps=maps.transpose(0, 2, 3, 1))


if __name__ == "__main__":
    import sys

    if sys.argv[1:] == ["print"]:
        print(json.dumps({**collect(), "depths": {size: depths(size) for size in ("b0", "b1", "b2", "b3")}}))
    elif sys.argv[1:]:
        write_maps(*sys.argv[1:3], *json.loads(sys.argv[3]))
    else:
        FILE.write_text(json.dumps(collect(), separators=(",", ":")) + "\n")
