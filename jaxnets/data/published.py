"""MNIST, Fashion-MNIST, and the small MNIST that is part of the package."""

import os
from importlib import resources

from .download import Published
from .files import NAMES, Dataset, Files, describe, read_dataset
from .source import Source, load

_SIZES = 60_000, 10_000
_MNIST_LABELS = "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
_FASHION_LABELS = "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"


def _published(mirrors: tuple[str, ...], sha256: tuple[str, str, str, str]) -> Published:
    return Published(mirrors, tuple((f"{name}.gz", digest) for name, digest in zip(NAMES, sha256, strict=True)))


MNIST = Source(
    name="mnist",
    files=describe(
        _SIZES,
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            _MNIST_LABELS,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    published=_published(
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    system=(),
    namesake=_FASHION_LABELS,
)

FASHION_MNIST = Source(
    name="fashion-mnist",
    files=describe(
        _SIZES,
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            _FASHION_LABELS,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    published=_published(
        (
            # Plain HTTP is all that this server has; the checksums make it as good as the others.
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    system=("/usr/share/datasets/fashion-mnist",),  # Debian's package dataset-fashion-mnist
    namesake=_MNIST_LABELS,
)

MNIST_SMALL: Files = describe(
    (6_000, 1_000),
    (
        "5e70119ad8ca01350c1b2fd3f58eb4c0617afdc0fa8945a3d63e6a33daeba69d",
        "ff4542eef991f0408428561f51d3e426698657dd02a35148555c89a37d2df31b",
        "b97c8bfeb834d8e7999eaa2d69239abe06653dc09c1e5d7eb0c974c5965bc6a9",
        "41cf2f530031915ba9fbb241407c369dba1acd7515053edff48cebeee8b260f4",
    ),
)


def mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return MNIST: 60,000 training and 10,000 test images of handwritten digits, label = digit.

    The four IDX files, plain or gzipped, are taken from `folder`; without one, from the first that has them of
    $JAXNETS_DATA/mnist, $JAXNETS_DATA and the user's cache; else they are downloaded into the cache. Whatever the
    place, their contents are checked against the published ones. Raises DataError, which names the file, when one is
    missing from `folder`, damaged or not the published one, or when no mirror delivers it.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998), section III.A.
    """
    return load(MNIST, folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Return Fashion-MNIST: 60,000 training and 10,000 test images of clothes in ten classes.

    Labels: 0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.
    Looked for as `mnist` is, in $JAXNETS_DATA/fashion-mnist and so on; after the cache, where Debian's package
    dataset-fashion-mnist puts it. Raises DataError as `mnist` does.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747 (2017).
    """
    return load(FASHION_MNIST, folder)


def mnist_small() -> Dataset:
    """Return the first 600 training and the first 100 test images of each digit of MNIST, in MNIST's order.

    They are part of the package (`mnist_small/ATTRIBUTION.md`) and equal to `stratified_subset(mnist(), 600, 100)`.
    Raises DataError when the installed files are damaged.
    """
    return read_dataset(resources.files("jaxnets.data") / "mnist_small", MNIST_SMALL)
