"""Counting multiply-adds: by hand, with shared layers, and against published figures."""

import keras
import pytest

from dslite import backbones, profiling

layers = keras.layers


def test_separable_convolution_by_hand():
    image = keras.Input((10, 12, 3))
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2)(image)
    # 5 x 6 places: 3 x 3 x 3 x 2 depthwise numbers, then 6 x 5
    assert profiling.multiply_adds(keras.Model(image, x)) == 5 * 6 * (3 * 3 * 3 * 2 + 6 * 5)


def test_dense_layer_at_every_frame():
    frames = keras.Input((20, 7))
    assert profiling.multiply_adds(keras.Model(frames, layers.Dense(5)(frames))) == 20 * 7 * 5


def test_layers_shared_with_a_model_of_another_size():
    convolution = layers.Conv2D(4, 3)
    large, small = keras.Input((32, 32, 3)), keras.Input((10, 10, 3))
    first = keras.Model(large, convolution(large))
    second = keras.Model(small, convolution(small))
    outer = keras.Model(small, layers.Flatten()(second(small)))
    once = 4 * 3 * 3 * 3
    assert profiling.multiply_adds(first) == 30 * 30 * once
    assert profiling.multiply_adds(second) == profiling.multiply_adds(outer) == 8 * 8 * once


def test_a_layer_that_is_used_twice_counts_twice():
    image = keras.Input((10, 10, 3))
    convolution = layers.Conv2D(3, 3)
    x = convolution(convolution(image))
    assert profiling.multiply_adds(keras.Model(image, x)) == (8 * 8 + 6 * 6) * 3 * 3 * 3 * 3


@pytest.mark.parametrize(
    ("name", "size", "giga", "top"),
    [
        # With the dense layers of the published figure, which a backbone is without
        ("mobilenet", 224, 0.569, 1024 * 1000),  # Howard et al. 2017, Table 4
        ("mobilenet_v2", 224, 0.300, 1280 * 1000),  # Sandler et al. 2018, Table 4
        # Simonyan and Zisserman's 16 layers: 15.5 G with top in the usual tables
        ("vgg16", 224, 15.5, 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000),
        ("xception", 299, 8.4, 2048 * 1000),  # the usual tables (Bianco et al. 2018)
        ("nasnet_mobile", 224, 0.564, 1056 * 1000),  # Zoph et al. 2018, Table 2
    ],
)
def test_published_figures(name, size, giga, top):
    network = backbones.build(name, "random", size)
    found = profiling.multiply_adds(network) + top
    assert found / 1e9 == pytest.approx(giga, rel=0.006)
