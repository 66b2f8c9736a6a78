"""HVR: an image refined by recursion (HVR-SSLE, IEEE Access 14, 2026, sec. III).

    x_e = embed(x)
    a supervision step:  C times { T times: zL <- zL + L(x_e, zL + zH) };  zH <- H(zH + zL) }
    output = head(zH)

Letters: B batch, D latent channels, E embedding channels, H W height and width; T, C, N the numbers of L steps per
H step, H steps per supervision step, supervision steps. Images are (B, 3, H, W) in the model's range, [-1, 1]
(or [0, 1] where `normalize_one_to_one` is false).
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from exp_config import Config
from models.kernels import NetworkSizes, recursion
from models.latents import State, truncated_normal
from models.swin2sr import Swin2SRFeatures, SwinBlock
from models.unetpp import LightUNetPP

OnStep = Callable[[str, State], None] | None  # sees the kind of each step, "L" or "H", and the state after it
WatchLatents = Callable[[str, tuple[Tensor, Tensor]], None]  # the same of zH and zL, which the next step may write over
HEAD_PIXELS = 2**18  # of latents that become a picture at a time, beside the steps: a copy of all was a fifth of the peak


def step_sequence(T: int, C: int, N: int) -> str:
    """The L and H steps of a whole sampling run, in order, for example 'LLHLLH' for T = 2, C = 2, N = 1.

    Zeros mean what they mean in the published code: N = 0 runs one supervision step; with T = 0 (C = 0) too, one L step
    and C H steps (T L steps and one H step); N > 0 with T = 0 or C = 0 runs one L and one H step.
    """
    if min(T, C, N) < 0:
        raise ValueError(f"T, C, N = {T}, {C}, {N}: expected numbers of steps of 0 or more")
    if T and C:
        return ("L" * T + "H") * C * max(N, 1)
    if N == 0 and T != C:
        return "L" + "H" * C if T == 0 else "L" * T + "H"
    return "LH"


class PixelLayer(nn.Module):
    """1x1 convolution: image to embedding, or latents to image."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x)


class MeanPicture:
    """The mean of the pictures after the supervision steps.

    Each errs elsewhere, and the mean has less of every one's error, as that of the iterates of a descent has (Polyak and
    Juditsky, 1992); a further step changes it the less the more there were.
    """

    def __init__(self) -> None:
        self.pictures = 0
        self.sum: Tensor | None = None

    def add(self, picture: Tensor) -> None:
        """The next one, (B, 3, H, W), whose memory may be taken."""
        self.pictures += 1
        self.sum = picture if self.sum is None else self.sum.add_(picture)

    def mean(self) -> Tensor:
        """(B, 3, H, W)."""
        assert self.sum is not None
        return self.sum / self.pictures


class Recursion:
    """L and H steps on the latents of images x (B, 3, H, W), H and W multiples of `size_multiple`."""

    def __init__(self, model: HVR, x: Tensor) -> None:
        self.model, self.x_e = model, model.embed_layer(x)               # (B, E, H, W)

    def run(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> State:
        """From zH, zL, (B, D, H, W) each, take `steps` in order: -> the state after them. `on_step` sees each new state."""
        state = State(*latents)
        for kind in steps:
            state = self.model.step(kind, self.x_e, state)
            if on_step is not None:
                on_step(kind, state)
        return state

    def enhance(self, latents: Iterable[Tensor], steps: str, on_step: OnStep = None) -> tuple[State, Tensor]:
        """The same: -> the state and the image of its zH, (B, 3, H, W) in the model's range."""
        state = self.run(latents, steps, on_step)
        return state, self.model.head(state.zH)


class HVR(nn.Module):
    """The recursive network; 353,763 parameters with the default settings.

    Example:
        model = HVR.from_config(Config()).eval()
        state, output = model.sample(model.to_model_range(photo))   # photo (B, 3, H, W) in [0, 1]
        picture = model.to_unit_range(output)
    """

    def __init__(self, *, z_dims: int = 24, embed_dims: int = 24, unet_init_features: int = 24, unet_num_groups: int = 2,
                 swin_depths: list[int] | None = None, swin_num_heads: list[int] | None = None, swin_window_size: int = 8,
                 swin_mlp_ratio: float = 2.0, T: int = 2, C: int = 2, N: int = 2, z_distribution: str = "normal",
                 inference_border: int = 0, inference_detail: float = 0.0, inference_average: bool = False,
                 inference_light_order: float = 0.0, inference_white_balance: float = 0.0,
                 normalize_one_to_one: bool = True) -> None:
        super().__init__()
        self.z_dims, self.T, self.C, self.N = z_dims, T, C, N
        self.z_distribution, self.normalize_one_to_one = z_distribution, normalize_one_to_one
        # For engine.enhancing.enhancement; nothing here uses them.
        self.inference_border, self.inference_detail = inference_border, inference_detail
        self.inference_average, self.inference_light_order = inference_average, inference_light_order
        self.inference_white_balance = inference_white_balance
        self.size_multiple = math.lcm(4, swin_window_size)  # two poolings in L, whole windows in H
        self.embed_layer = PixelLayer(3, embed_dims)
        self.L_net_model = LightUNetPP(embed_dims + z_dims, z_dims, unet_init_features, unet_num_groups)
        self.H_net_model = Swin2SRFeatures(z_dims, swin_depths or [2, 2], swin_num_heads or [4, 4], swin_window_size,
                                           swin_mlp_ratio)
        self.head_layer = PixelLayer(z_dims, 3)

    @classmethod
    def from_config(cls, config: Config) -> HVR:
        """A network with fresh weights in training mode, with the settings of `config`."""
        return cls(
            z_dims=config.z_dims, embed_dims=config.embed_dims, unet_init_features=config.unet_init_features,
            unet_num_groups=config.unet_num_groups, swin_depths=config.swin_depths, swin_num_heads=config.swin_num_heads,
            swin_window_size=config.swin_window_size, swin_mlp_ratio=config.swin_mlp_ratio, T=config.hvr_t, C=config.hvr_c,
            N=config.hvr_n_supervision, z_distribution=config.z_distribution,
            inference_border=config.inference_border, inference_detail=config.inference_detail,
            inference_average=config.inference_average, inference_light_order=config.inference_light_order,
            inference_white_balance=config.inference_white_balance,
            normalize_one_to_one=config.normalize_one_to_one)

    @torch.no_grad()
    def scale_colours(self, red_blue: float, green: float) -> None:
        """Multiply the embedding's answer to the two colour axes, red against blue and green against both; gray stays.

        Before a training: the colours of a dark photo vary an eighth as much as its brightness, and what arrives so faint
        is learned last. Equal strengths are what whitening the input would give.
        """
        weight = self.embed_layer.embedding.weight                                # (E, 3, 1, 1)
        axes = F.normalize(weight.new_tensor([[1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]))  # (2, 3), orthonormal
        gains = torch.eye(3).to(axes) + axes.T @ torch.diag(axes.new_tensor([red_blue - 1, green - 1])) @ axes
        weight.copy_(torch.einsum("eixy,ij->ejxy", weight, gains))

    # --- images and latents ---

    def to_model_range(self, image: Tensor) -> Tensor:
        """[0, 1] -> the model's range."""
        return image * 2 - 1 if self.normalize_one_to_one else image

    def to_unit_range(self, image: Tensor) -> Tensor:
        """The model's range -> [0, 1]."""
        return (image + 1) / 2 if self.normalize_one_to_one else image

    def initial_state(self, x: Tensor, seeds: int | Tensor = 0, generator: torch.Generator | None = None) -> State:
        """Latents to start from for images x (B, 3, H, W), float32.

        seeds: one number for all, or (B,) integers, one per image: equal seeds and sizes give equal latents, in any batch
            and on any device. generator: draws the seeds instead.
        """
        return State(*self._draw(x, seeds, generator))

    def _draw(self, x: Tensor, seeds: int | Tensor, generator: torch.Generator | None) -> Iterator[Tensor]:
        """zH, then zL: one at a time, for those who have no room for both twice."""
        B, _, H, W = x.shape
        if generator is not None:
            seeds = torch.randint(2**31, (B,), generator=generator, device=generator.device)
        seeds = torch.as_tensor(seeds, dtype=torch.int64, device=x.device).expand(B)
        for part in (0, 1):
            if self.z_distribution == "zeros":
                yield x.new_zeros((B, self.z_dims, H, W), dtype=torch.float32)
            else:
                yield truncated_normal(seeds * 2 + part, self.z_dims * H * W).view(B, self.z_dims, H, W)

    # --- the recursion ---

    def step(self, kind: str, x_e: Tensor, state: State) -> State:
        """One L step (update of zL) or H step (new zH)."""
        zH, zL = state
        if kind == "L":
            return State(zH, zL + self.L_net_model(x_e, zL + zH))
        return State(self.H_net_model(zH + zL), zL)

    def plain(self, x: Tensor) -> Recursion:
        """The recursion on images x (B, 3, H, W), as the formulas say."""
        return Recursion(self, x)

    def recurse(self, x: Tensor, state: State, steps: str, on_step: OnStep = None) -> State:
        """Embed x, then take `steps` in order. Sizes are multiples of `size_multiple`. `on_step` sees each new state."""
        return State(*recursion(self, x).run(iter(state), steps, seeing_states(on_step)))

    def head(self, zH: Tensor) -> Tensor:
        """zH (B, D, H, W) -> image (B, 3, H, W) in the model's range."""
        out = self.head_layer(zH)
        return torch.tanh(out) if self.normalize_one_to_one else torch.sigmoid(out)

    def forward(self, x: Tensor, state: State) -> tuple[State, Tensor]:
        """One supervision step for training: gradients flow through the last L and the last H step only.

        x (B, 3, H, W), state (B, D, H, W) twice -> (carried state, output (B, 3, H, W)).
        The caller detaches the state, takes its optimizer step and calls again, N times for a batch (deep supervision).
        """
        steps = step_sequence(self.T, self.C, 1)
        last = len(steps) - 2                          # every sequence of training ends with one L and one H step
        padded, state = self._pad(x, state)
        with torch.no_grad():
            state = self.recurse(padded, state, steps[:last])
        state = self.recurse(padded, state.detach(), steps[last:])
        return self._crop(x, state, self.head(state.zH))

    @torch.no_grad()
    def sample(self, x: Tensor, state: State | None = None, *, T: int | None = None, C: int | None = None,
               N: int | None = None, seeds: int | Tensor = 0, generator: torch.Generator | None = None,
               average: bool = False, on_step: OnStep = None) -> tuple[State, Tensor]:
        """Enhance x (B, 3, H, W) in the model's range, any H and W: -> (state, output (B, 3, H, W)), without gradients.

        T, C, N override the model's numbers of steps. `state` continues from given latents; otherwise they are drawn
        from `seeds` or `generator` (see `initial_state`). average: the output is the `MeanPicture` of all supervision
        steps, not the picture of the last one.
        """
        steps = self.supervision_steps(T, C, N)
        padded = pad_to_multiple(x, self.size_multiple)
        given = self._draw(x, seeds, generator) if state is None else iter(state)
        latents = (pad_to_multiple(z, self.size_multiple) for z in given)  # one at a time
        mean, watch = MeanPicture(), seeing_states(on_step)
        if average:
            watch = self._adding_to(mean, len(steps[0]), watch)
        after, output = recursion(self, padded).enhance(latents, "".join(steps), watch)
        return self._crop(x, State(*after), mean.mean() if average else output)

    def supervision_steps(self, T: int | None = None, C: int | None = None, N: int | None = None) -> list[str]:
        """`step_sequence` of the model's numbers of steps where they are None, one text for each supervision step."""
        T, C, N = (own if given is None else given for own, given in ((self.T, T), (self.C, C), (self.N, N)))
        steps, count = step_sequence(T, C, N), N if T and C and N else 1
        return [steps[: len(steps) // count]] * count

    # --- what it is made of, in plain numbers ---

    @property
    def sizes(self) -> NetworkSizes:
        """All sizes that the formulas depend on, but those of x."""
        L, H = self.L_net_model, self.H_net_model
        return NetworkSizes(D=self.z_dims, E=self.embed_layer.embedding.out_channels, f=L.final_conv.in_channels,
                            groups=L.num_groups, layers=H.sizes, tanh=self.normalize_one_to_one)

    def tensors(self) -> dict[str, Tensor]:
        """All that a step reads, by name: the parameters, and what follows from them alone."""
        tensors: dict[str, Tensor] = dict(self.named_parameters())
        for name, module in self.named_modules():
            if isinstance(module, SwinBlock):
                tensors |= {f"{name}.{key}": tensor for key, tensor in module.tensors().items()}
        return tensors

    # --- means of pictures ---

    def _adding_to(self, mean: MeanPicture, length: int, watch: WatchLatents | None) -> WatchLatents:
        """Sees zH and zL after each step: adds the picture after every `length`-th one to `mean`. `watch`: sees them, too."""
        kinds = []

        def seen(kind: str, latents: tuple[Tensor, Tensor]) -> None:
            kinds.append(kind)
            if len(kinds) % length == 0:
                zH, _ = latents
                rows = max(HEAD_PIXELS // zH.shape[-1], 1)
                with torch.autocast(zH.device.type, enabled=False):
                    mean.add(torch.cat([self.head(band.float()) for band in zH.split(rows, dim=-2)], dim=-2))
            if watch is not None:
                watch(kind, latents)

        return seen

    # --- sizes that are not whole windows ---

    def _pad(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Extend to the bottom and right to multiples of `size_multiple`."""
        zH, zL = (pad_to_multiple(z, self.size_multiple) for z in state)
        return pad_to_multiple(x, self.size_multiple), State(zH, zL)

    @staticmethod
    def _crop(x: Tensor, state: State, output: Tensor) -> tuple[State, Tensor]:
        H, W = x.shape[-2:]
        return State(state.zH[..., :H, :W], state.zL[..., :H, :W]), output[..., :H, :W]


def seeing_states(on_step: OnStep) -> WatchLatents | None:
    """`on_step` for a recursion that knows zH and zL as a pair, which its next step may write over."""
    return None if on_step is None else lambda kind, latents: on_step(kind, State(*(z.clone() for z in latents)))


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> the next multiples of H and W, by reflection; by replication where the side is too short for that."""
    H, W = image.shape[-2:]
    return mirror(image, (0, -W % multiple), (0, -H % multiple))


def mirror(image: Tensor, columns: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """(B, C, H, W) with so many columns more (left, right) and rows more (above, below), by reflection; by replication where
    the side is too short for that."""
    for side, pad in ((image.shape[-1], (*columns, 0, 0)), (image.shape[-2], (0, 0, *rows))):
        if any(pad):
            image = F.pad(image, pad, mode="reflect" if max(pad) < side else "replicate")
    return image
