"""What may be asked of a picture (PS3.18 §8.3.5), and the pictures made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pacsless.errors import BadRequest, NotAcceptable
from pacsless.rendering.parameters import Parameters, Viewport, Window, parse_parameters
from pacsless.rendering.picture import draw, encode


def parsed(query: str) -> Parameters:
    return parse_parameters({"x": ["1"], **{k: [v] for k, v in [query.split("=", 1)]}})


def test_parameters() -> None:
    assert parsed("x=1") == Parameters()
    assert parsed("window=40,400,linear").window == Window(40, 400)
    assert parsed("window=-1.5,0.5,SIGMOID").window == Window(-1.5, 0.5, "sigmoid")
    assert parsed("window=40,400").window == Window(40, 400)
    assert parsed("viewport=10,20").viewport == Viewport(10, 20)
    assert parsed("viewport=10,20,,,-5,").viewport == Viewport(10, 20, region_width=-5.0)
    assert parsed("viewport=1,2,3,4,5,6.5").viewport == Viewport(1, 2, 3, 4, 5, 6.5)
    assert parsed("quality=1").quality == 1
    assert parsed("annotation=technique,patient") == Parameters(annotation=("patient", "technique"))
    assert parsed("annotation=patient,dose") == Parameters(
        annotation=("patient",), unsupported=("annotation",)
    )
    assert parsed("iccprofile=yes") == Parameters(icc_profile="yes")
    assert parsed("iccprofile=srgb").icc_profile == "srgb"
    assert parsed("iccprofile=no") == Parameters()
    assert parsed("iccprofile=adobergb") == Parameters(unsupported=("iccprofile",))


@pytest.mark.parametrize(
    "query",
    [
        "iccprofile=", "iccprofile=sRGB", "iccprofile=no&iccprofile=yes",
        "window=", "window=1", "window=1,2,cubic", "window=a,2,linear", "window=1,0.5,linear",
        "window=1,0,sigmoid", "window=1,-2,linear-exact", "window=1,2,linear,3", "window=nan,1",
        "window=1,inf", "window=1,1e400", "window=" + "9" * 400 + ",1", "viewport=", "viewport=1",
        "viewport=0,1", "viewport=8193,1", "viewport=1,2,3", "viewport=1,2,3,4,5,x",
        "viewport=-1,2", "viewport=1.5,2", "viewport=1,2,3,4,5,6,7", "quality=0", "quality=101",
        "quality=x", "quality=", "quality=٣",
    ],
)  # fmt: skip
def test_parameters_that_are_refused(query: str) -> None:
    with pytest.raises(BadRequest) as error:
        parsed(query)
    assert error.value.code == query.partition("=")[0]


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_parameters({"quality": ["1", "2"]})


RAMP = np.arange(8, dtype=np.uint8)[np.newaxis].repeat(4, 0) * 32


def test_a_viewport_keeps_the_aspect_and_mirrors() -> None:
    assert draw(RAMP, None).size == (8, 4)
    assert draw(RAMP, Viewport(80, 80)).size == (80, 40)
    assert draw(RAMP, Viewport(4, 1)).size == (2, 1)
    region = np.asarray(draw(RAMP, Viewport(2, 2, 4, 0, 2, 2)))
    assert region.tolist() == [[128, 160], [128, 160]]
    mirrored = np.asarray(draw(RAMP, Viewport(8, 4, 0, 0, -8, 4)))
    assert np.array_equal(mirrored, RAMP[:, ::-1])
    turned = np.asarray(draw(RAMP.T.copy(), Viewport(4, 8, 0, 0, 4, -8)))
    assert np.array_equal(turned, RAMP.T[::-1])


@pytest.mark.parametrize(
    "region", [(-1, 0, 2, 2), (7, 0, 2, 2), (0, 0, 9, 4), (0, 0, 0, 1), (8, 0, None, 1)]
)
def test_a_region_outside_the_image_is_refused(region: tuple[Any, ...]) -> None:
    with pytest.raises(BadRequest):
        draw(RAMP, Viewport(10, 10, *region))


def test_quality_is_of_jpeg() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    picture = draw(noise, None)
    assert len(encode(picture, "image/jpeg", 20)) < len(encode(picture, "image/jpeg", 95))
    assert encode(picture, "image/png", 20) == encode(picture, "image/png", 95)


def test_a_picture_that_is_too_long_for_its_media_type_is_refused() -> None:
    long = draw(np.zeros((1, 70_000), np.uint8), None)
    for media_type in ("image/jpeg", "image/gif"):
        with pytest.raises(NotAcceptable):
            encode(long, media_type, 90)
    assert encode(long, "image/png", 90)
