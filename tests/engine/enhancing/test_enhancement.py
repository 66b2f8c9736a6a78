"""enhance(): every kind of picture in and out, the same picture whatever the kind, and clear errors."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import engine.enhancing.enhancement
from data.files.images import read_photo, to_8_bit
from engine.device import DeviceError
from engine.enhancing import sizes
from engine.enhancing.enhancement import EnhancementError, add_border, cut_border, enhance
from engine.enhancing.finishing import maps_of
from engine.enhancing.pictures import ImageError
from engine.enhancing.sizes import enlarged_rows, shrunk
from engine.enhancing.tone import adjusted
from exp_config import PROJECT_ROOT, Config
from models import HVR, load_pretrained


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Config(z_dims=8, embed_dims=8, unet_init_features=8, swin_num_heads=[2, 2])
    return HVR.from_config(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photo(make_photo):
    return make_photo(21, 34)


def test_kinds_agree(model, photo):
    eight = enhance(model, photo)
    assert eight.dtype == np.uint8 and eight.shape == photo.shape
    assert np.abs(eight.astype(int) - photo).mean() > 2                     # it is not the input
    sixteen = enhance(model, photo.astype(np.uint16) * 257)
    assert sixteen.dtype == np.uint16 and np.abs(sixteen / 257 - eight).max() < 0.51
    for kind in (np.float32, np.float64):
        real = enhance(model, photo.astype(kind) / 255)
        assert real.dtype == kind and np.abs(real * 255 - eight).max() < 0.51
    batch = torch.from_numpy(photo).permute(2, 0, 1)[None].expand(2, -1, -1, -1).double() / 255
    out = enhance(model, batch)
    assert out.dtype == torch.float64 and out.shape == batch.shape
    assert np.abs(out[1].permute(1, 2, 0).numpy() * 255 - eight).max() < 0.51


def test_equals_the_model_called_by_hand(model, photo):
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    wanted = model.to_unit_range(model.sample(model.to_model_range(x), T=1, C=2, N=1, seeds=7)[1])
    torch.testing.assert_close(enhance(model, x, seed=7, T=1, C=2, N=1), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", [{}, {"strength": 0.4}, {"max_working_megapixels": 2, "detail": 0}])
def test_without_detail_the_whole_photo_is_the_networks_picture_bit_for_bit(model, photo, kind, options):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    image = (photo / 255 * top).astype(kind)
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / top
    wide = add_border(model.to_model_range(x), 4)
    bright = model.to_unit_range(cut_border(model.sample(wide, seeds=3)[1], 4)).clamp(0, 1)
    if "strength" in options:
        bright = torch.lerp(x, bright, 0.4)
    values = bright[0].permute(1, 2, 0)
    wanted = values.mul(255).round().byte().numpy() if kind == np.uint8 else values.numpy()
    wanted = np.round(wanted * 65535.0).astype(kind) if kind == np.uint16 else wanted
    found = enhance(model, image, seed=3, border=4, **options)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("detail", [0.0, 0.6])
def test_a_smaller_working_size_is_the_networks_picture_of_a_copy(model, photo, detail):
    image = photo / np.float32(255)
    settings = {"detail": detail, "max_working_megapixels": 200e-6, "border": 2, "brightness": 0.5, "saturation": 1.3}
    small = shrunk(image, (11, 17), torch.device("cpu"))
    assert 11 * 17 <= 200
    bright = enhance(model, small, border=2)
    picture = enlarged_rows(bright, (21, 34), 0, 21)
    if detail:
        whole = torch.from_numpy(image).permute(2, 0, 1)[None]
        picture = maps_of(image, bright, None, 0.0, 0.0, detail)[1].apply(picture, whole, (21, 34), 0, detail)
    wanted = adjusted(picture, 0.5, 1.3)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(enhance(model, image, **settings), wanted, atol=1e-5)


def test_bands_batches_and_kinds_agree(model, make_photo, monkeypatch):
    photos = [make_photo(40, 30, seed) for seed in (0, 1)]
    settings = {"detail": 1.0, "light_order": 1.0, "white_balance": 0.5, "max_working_megapixels": 500e-6,
                "brightness": 0.3, "strength": 0.9}
    wanted = [enhance(model, photo / np.float32(255), **settings) for photo in photos]
    batch = torch.stack([torch.from_numpy(photo).permute(2, 0, 1) / 255 for photo in photos])
    for pixels in (1, 100, 10**6):
        monkeypatch.setattr(sizes, "BAND_PIXELS", pixels)
        together = enhance(model, batch, **settings).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(together, wanted, atol=1e-5)
        eight = enhance(model, photos[1], **settings)
        assert np.abs(eight / 255 - wanted[1]).max() < 0.51 / 255


@pytest.mark.parametrize(("sizes", "least"), [(((300, 450), (301, 451)), 50), (((408, 612), (409, 613)), 50),
                                              (((200, 300), (201, 301)), 50), (((200, 299), (201, 300)), 45)])
def test_a_working_size_of_one_pixel_more_changes_next_to_nothing(monkeypatch, sizes, least):
    """In dB. The network extends the very last by 7 rows and 4 columns more than its neighbour, to whole windows."""
    model = load_pretrained(PROJECT_ROOT / "checkpoint/zeros/config.json", PROJECT_ROOT / "checkpoint/zeros/HVR.safetensors")
    photo = to_8_bit(read_photo(PROJECT_ROOT / "img/samples/rocket.jpg").pixels) / np.float32(255)
    results = []
    for size in sizes:
        monkeypatch.setattr(engine.enhancing.enhancement, "working_size", lambda *_, size=size: size)
        results.append(enhance(model, photo, max_working_megapixels=0.06))
    assert -10 * np.log10(np.square(results[0] - results[1]).mean()) > least


def test_detail_is_the_models_unless_given(model, photo, monkeypatch):
    bare, own = enhance(model, photo), enhance(model, photo, detail=1)
    assert (bare != own).any() and HVR.from_config(Config(inference_detail=0.5)).inference_detail == 0.5
    monkeypatch.setattr(model, "inference_detail", 1.0)
    np.testing.assert_array_equal(enhance(model, photo), own)
    np.testing.assert_array_equal(enhance(model, photo, detail=0), bare)


def test_the_mean_of_the_steps_is_the_models_unless_given(model, photo, monkeypatch):
    last, mean = enhance(model, photo), enhance(model, photo, average=True)
    x = model.to_model_range(torch.from_numpy(photo.astype(np.float32) / 255).permute(2, 0, 1)[None])
    wanted = model.to_unit_range(model.sample(x, average=True)[1])[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert (last != mean).any() and np.abs(mean / 255 - wanted).max() < 0.6 / 255
    assert HVR.from_config(Config(inference_average=True)).inference_average
    monkeypatch.setattr(model, "inference_average", True)
    np.testing.assert_array_equal(enhance(model, photo), mean)
    np.testing.assert_array_equal(enhance(model, photo, average=False), last)


def test_gradients_of_16_bits_stay_smooth_through_everything(model, monkeypatch):
    monkeypatch.setattr(HVR, "sample", lambda self, x, **_: (None, ((x + 1) / 2) ** 0.5 * 2 - 1))
    ramp = np.linspace(12000, 16000, 900).astype(np.uint16)                # 4 values a pixel; 8 bits have steps of 257
    image = np.broadcast_to(ramp[None, :, None], (64, 900, 3))
    out = enhance(model, image, detail=1, light_order=1, white_balance=1, max_working_megapixels=0.01,
                  brightness=0.5, saturation=1.2)
    assert out.dtype == np.uint16
    steps = np.diff(out[:, 100:-100].astype(int), axis=1)
    assert steps.min() >= 0 and 0 < steps.max() < 20


@pytest.mark.parametrize("side", [5, 8, 9])
def test_a_border_is_mirrored_and_taken_away(side):
    x = torch.rand(2, 3, side, 20, generator=torch.Generator().manual_seed(0))
    wide = add_border(x, 8)
    assert wide.shape == (2, 3, side + 16, 36) and torch.equal(cut_border(wide, 8), x)
    torch.testing.assert_close(wide[:, :, 8:-8, :8], x[..., 1:9].flip(-1))            # the edge itself is not repeated
    above = x[..., 1:9, :].flip(-2) if side > 8 else x[..., :1, :].expand(-1, -1, 8, -1)
    torch.testing.assert_close(wide[:, :, :8, 8:-8], above)
    assert add_border(x, 0) is x and torch.equal(cut_border(x, 0), x)


def test_the_border_hides_the_frame_and_is_the_models_unless_given(model, photo, monkeypatch):
    bare, wide = enhance(model, photo), enhance(model, photo, border=8)
    assert wide.shape == photo.shape and (bare != wide).any()
    assert HVR.from_config(Config(inference_border=8)).inference_border == 8
    taller = np.pad(photo, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(wide, enhance(model, taller)[8:-8, 8:-8])
    monkeypatch.setattr(model, "inference_border", 8)
    np.testing.assert_array_equal(enhance(model, photo), wide)
    np.testing.assert_array_equal(enhance(model, photo, border=0), bare)


def test_seed_decides(model, photo):
    first, again, other = (enhance(model, photo, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_strength_blends_with_the_input(model, photo):
    image = photo / np.float32(255)
    full, half = enhance(model, image), enhance(model, image, strength=0.5)
    np.testing.assert_allclose(half, (image + full) / 2, atol=1e-6)
    np.testing.assert_array_equal(enhance(model, photo, strength=0), photo)
    np.testing.assert_array_equal(enhance(model, photo.astype(np.uint16) * 255, strength=0), photo.astype(np.uint16) * 255)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 3)])
def test_any_size(model, make_photo, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert enhance(model, image).shape == image.shape


def test_views_and_read_only_arrays(model, photo):
    view = photo[::-1, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(enhance(model, view), enhance(model, view.copy()))


def test_half_precision_stays_close(model, photo, monkeypatch):
    exact = enhance(model, photo, precision="fp32").astype(int)
    np.testing.assert_array_equal(enhance(model, photo, precision="auto"), exact)  # the CPU computes in float32
    monkeypatch.setattr(engine.enhancing.enhancement, "autocast_dtype", lambda *_, **__: torch.bfloat16)
    assert 0 < np.abs(enhance(model, photo, precision="bf16") - exact).mean() < 2


@pytest.mark.parametrize(("image", "message"), [
    (np.zeros((4, 4), np.uint8), r"\(4, 4\); expected \(H, W, 3\)"),
    (np.zeros((4, 4, 4), np.uint8), r"expected \(H, W, 3\)"),
    (np.zeros((0, 4, 3), np.uint8), r"expected \(H, W, 3\)"),
    (np.zeros((4, 4, 3), np.int32), "int32; expected uint8, uint16"),
    (np.full((4, 4, 3), 200.0), "from 200 to 200; expected .* divide 8-bit values by 255"),
    (np.full((4, 4, 3), -0.5), r"\(x \+ 1\) / 2"),
    (np.full((4, 4, 3), np.nan), "NaN"),
    (torch.zeros(3, 4, 4), r"expected \(B, 3, H, W\)"),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "torch.uint8; expected floating point"),
    (torch.full((1, 3, 4, 4), torch.inf), "infinite"),
    ([[0, 0, 0]], "type list"),
])
def test_unfit_images_are_named(model, image, message):
    with pytest.raises(ImageError, match=message):
        enhance(model, image)


def test_unfit_settings_are_named(model, photo):
    with pytest.raises(ImageError, match="strength = 1.5"):
        enhance(model, photo, strength=1.5)
    with pytest.raises(ImageError, match="border = -1; expected 0 or more"):
        enhance(model, photo, border=-1)
    for name, value in (("detail", 1.1), ("light_order", -0.1), ("white_balance", 2), ("max_working_megapixels", -1),
                        ("brightness", 9), ("saturation", float("nan"))):
        with pytest.raises(ImageError, match=f"{name} = {value}"):
            enhance(model, photo, **{name: value})
    with pytest.raises(DeviceError, match="fp64.*auto, fp32, bf16, fp16"):
        enhance(model, photo, precision="fp64")
    with pytest.raises(ValueError, match="0 or more"):
        enhance(model, photo, T=-1)


def test_not_finite_output_is_an_error(model, photo, monkeypatch):
    monkeypatch.setattr(model, "sample", lambda x, **_: (None, torch.full_like(x, torch.nan)))
    with pytest.raises(EnhancementError, match="weights belong"):
        enhance(model, photo)
    monkeypatch.setattr(engine.enhancing.enhancement, "autocast_dtype", lambda *_, **__: torch.float16)
    with pytest.raises(EnhancementError, match="--precision fp32"):
        enhance(model, photo, precision="fp16")


def test_out_of_memory_goes_on_where_there_is_room_and_says_so(model, photo, monkeypatch, caplog):
    wanted, sample, attempts = enhance(model, photo), HVR.sample, []

    def sample_with_little_memory(self, x, **options):
        attempts.append(x.shape)
        if len(attempts) % 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(self, x, **options)

    monkeypatch.setattr(HVR, "sample", sample_with_little_memory)
    with pytest.raises(EnhancementError, match="not enough memory for 34x21 pixels on cpu"):
        enhance(model, photo)
    assert [d.type for d in engine.enhancing.enhancement.devices_to_try(torch.device("cuda", 0))] == ["cuda", "cpu"]
    monkeypatch.setattr("engine.enhancing.enhancement.devices_to_try", lambda device: [device, device])
    attempts.clear()
    np.testing.assert_array_equal(enhance(model, photo), wanted)
    assert len(attempts) == 2 and "not enough memory for 34x21 pixels on cpu; this picture is computed on cpu" in caplog.text


def test_other_errors_of_the_network_are_not_taken_for_memory(model, photo, monkeypatch):
    def fault(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(HVR, "sample", fault)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        enhance(model, photo)
