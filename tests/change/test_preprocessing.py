"""Images become the inputs that networks expect, and networks rewritten for other inputs compute the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weights import CAFFE, MODELS, Info, InputError, Params, Preprocessing
from weights.change.first_convolution import Convention
from weights.change.first_convolution import rewrite as rewrite_of
from weights.images import prepare

TIMM = Preprocessing(channels="rgb", range=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
RGB01 = Preprocessing(channels="rgb", range=1, mean=(123 / 255, 117 / 255, 104 / 255), std=(1, 1, 1))


def rewrite(params: Params, to: Convention) -> Params:
    return rewrite_of(MODELS["se-resnet-50"], params, to)


def photo(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_a_crop_without_resizing_is_exact():
    image = photo(256, 300)
    x = prepare(image, CAFFE)
    crop = np.asarray(image)[16:240, 38:262].astype(float)
    np.testing.assert_array_equal(x[0], [crop[..., 2] - 104, crop[..., 1] - 117, crop[..., 0] - 123])
    assert x.dtype == np.float64


def test_rgb_with_std_divides():
    image = photo(256, 256)
    pixel = np.asarray(image)[16, 16] / 255
    np.testing.assert_allclose(prepare(image, TIMM)[0, :, 0, 0], (pixel - TIMM.mean) / TIMM.std, rtol=1e-14)


def test_shrinking_averages_over_the_source_pixels():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 200  # point sampling would see 0 or 200
    inner = prepare(Image.fromarray(stripes), CAFFE)[0, 1] + 117
    assert abs(inner - 100).max() <= 1  # 8-bit rounding


@pytest.mark.parametrize("source", [(256, 256), (100, 700), (700, 100), (33, 32)])
@pytest.mark.parametrize("size", [(224, 224), (197, 211), (65, 64), (1, 500)])
def test_any_size_comes_out_of_any_image(source, size):
    assert prepare(photo(*source), CAFFE, size).shape == (1, 3, *size)


def test_other_sizes_keep_the_margin():
    image = photo(512, 512)
    large = prepare(image, CAFFE, (448, 448))
    np.testing.assert_array_equal(large[0, 1] + 117, np.asarray(image)[32:480, 32:480, 1])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_kinds_of_pixels_become_rgb(tmp_path: Path, mode: str):
    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    photo(40, 40).convert(mode).save(path)
    assert prepare(path, CAFFE).shape == (1, 3, 224, 224)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image_is_one_clear_error(tmp_path: Path, content: bytes):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png: is not an image that can be read"):
        prepare(tmp_path / "x.png", CAFFE)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_a_cut_image_is_one_clear_error(tmp_path: Path, kind: str):
    path = tmp_path / f"x.{kind}"
    photo(64, 64).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is not an image that can be read"):
        prepare(path, CAFFE)


def test_an_image_that_is_not_there_is_one_clear_error(tmp_path: Path):
    with pytest.raises(InputError, match=r"x\.png: cannot be read: there is no"):
        prepare(tmp_path / "x.png", CAFFE)


def test_absurd_proportions_are_refused():
    with pytest.raises(InputError, match="the proportions are absurd"):
        prepare(Image.new("L", (100_000, 1)), CAFFE, (2048, 2048))


def network(preprocessing: Preprocessing | None, dtype: str = "float32") -> Params:
    rng = np.random.default_rng(1)
    kernels = {"stem.conv1.weight": (8, 3, 7, 7), "stage1.0.conv1.weight": (4, 8, 1, 1)}
    arrays = {name: rng.standard_normal(shape).astype(dtype) for name, shape in kernels.items()}
    return Params(arrays, Info(preprocessing=preprocessing))


def first_convolution(params: Params, image: Image.Image) -> np.ndarray:
    """7x7, stride 2, zero-padded by 3, in float64."""
    assert params.info.preprocessing
    x = np.pad(prepare(image, params.info.preprocessing, (31, 34)), ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (7, 7), axis=(2, 3))[0, :, ::2, ::2]
    return np.einsum("chwij,ocij->ohw", windows, params["stem.conv1.weight"].astype(float))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("source", "to"), [(CAFFE, "rgb01"), (RGB01, "bgr255"), (TIMM, "bgr255"), (TIMM, "rgb01")])
def test_a_rewritten_network_computes_the_same(source: Preprocessing, to, dtype: str):
    old = network(source, dtype)
    new = rewrite(old, to)
    assert new.info.preprocessing != old.info.preprocessing
    expected = first_convolution(old, photo(40, 50))
    found = first_convolution(new, photo(40, 50))
    # 147 products, each rounded to 1e-16, border included; a rounding of the kernel to float32 would show as 1e-8.
    assert abs(found - expected).max() <= 1e-13 * abs(expected).max()


def test_the_released_networks_get_the_only_mean_that_is_exact():
    assert rewrite(network(CAFFE), "rgb01").info.preprocessing == RGB01


def test_there_and_back_is_bit_for_bit_the_same():
    old = network(CAFFE)
    there = rewrite(old, "rgb01")
    back = rewrite(there, "bgr255")
    assert there["stem.conv1.weight"].dtype == np.float64
    assert back["stem.conv1.weight"].dtype == np.float32
    assert back["stem.conv1.weight"].tobytes() == old["stem.conv1.weight"].tobytes()
    assert back.info.preprocessing == CAFFE
    assert back.info.history == (
        "first convolution rewritten from BGR 0..255 to RGB 0..1, exact, kept as float64",
        "first convolution rewritten from RGB 0..1 to BGR 0..255, exact, kept as float32",
    )


def test_what_is_not_exact_is_said():
    assert rewrite(network(TIMM), "rgb01").info.history == (
        "first convolution rewritten from RGB 0..1 to RGB 0..1, rounded to float64, kept as float64",
    )


def test_the_convention_it_has_already_changes_nothing():
    assert rewrite(network(CAFFE), "bgr255").info.history == ()


def test_an_unknown_input_is_not_guessed():
    with pytest.raises(InputError, match="what the network expects now is not known"):
        rewrite(network(None), "rgb01")


def test_an_unknown_convention_is_refused():
    with pytest.raises(InputError, match="--input 'hsv': expected one of rgb01, bgr255"):
        rewrite(network(CAFFE), "hsv")  # type: ignore[arg-type]
