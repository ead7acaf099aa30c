"""Every data set that can be raced on, by name: known without importing torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from multirate_core.errors import DataError
from multirate_core.models.catalog import Takes

Source = Literal["shipped", "files", "photos", "folder", "table", "hub"]

_DIGITS: Final = "0 1 2 3 4 5 6 7 8 9"
_FASHION_CLASSES: Final = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"
_CIFAR10_CLASSES: Final = "airplane automobile bird cat deer dog frog horse ship truck"
_STL10_CLASSES: Final = "airplane bird car cat deer dog horse monkey ship truck"
_EUROSAT_CLASSES: Final = (
    "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
)
_IMAGENETTE_CLASSES: Final = (
    "tench English_springer cassette_player chain_saw church French_horn garbage_truck gas_pump golf_ball parachute"
)
_TREC_CLASSES: Final = "abbreviation entity description human location number"
_DOCSTRING_CLASSES: Final = "networkx numpy pandas scikit-learn scipy streamlit sympy torch"


@dataclass(frozen=True)
class DataInfo:
    """What a picker and the loaders need to know about a data set.

    Args:
        name: as in `DataConfig.name`.
        title: the name as people write it.
        num_classes: None if the files decide.
        channels: of the stored images: 1 grey, 3 colour; 0 for texts.
        image_size: edge in pixels at which the set is offered to a network that takes any size; 0 for photos of many
            sizes, which take the network's own, and for texts.
        source: "shipped" (comes with a dependency), "files" (a folder of known files, or a download), "photos" (the
            same, with a file for each image), "folder" (class folders with images), "table" (a table of texts),
            "hub" (a text set of Hugging Face's).
        note: what it is, in words.
        class_names: () if the files decide.
        train_images, test_images: how many images or texts the complete set has; 0 if the files decide.
        holds: what a sample is.
        downloads: the files can be fetched.
        own_test: the set has a test part; without one it is cut out of the rest.
    """

    name: str
    title: str
    num_classes: int | None
    channels: int
    image_size: int
    source: Source
    note: str
    class_names: tuple[str, ...] = ()
    train_images: int = 0
    test_images: int = 0
    holds: Takes = "images"
    downloads: bool = False
    own_test: bool = True


def data_info(name: str) -> DataInfo:
    """Return the facts about one data set; DataError offers the known names."""
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise DataError(f"unknown data set {name[:80]!r}; allowed: {', '.join(DATASETS)}{hint}")


def _words(names: str) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names.split())


def _known(
    name: str, title: str, classes: int, image: tuple[int, int], names: str, parts: tuple[int, int], note: str
) -> DataInfo:
    """Return one of the sets of small images that torchvision knows; `image` is (channels, edge)."""
    return DataInfo(name, title, classes, *image, "files", note, _words(names), *parts, downloads=True)


def _photos(name: str, title: str, classes: int, names: str, parts: tuple[int, int], note: str) -> DataInfo:
    """Return one of the sets of photo files that torchvision knows."""
    return DataInfo(name, title, classes, 3, 0, "photos", note, _words(names), *parts, downloads=True)


def _texts(
    name: str, title: str, note: str, source: Source, classes: str = "", train: int = 0, test: int = 0
) -> DataInfo:
    names, files = _words(classes), source == "files"
    facts = (name, title, len(names) or None, 0, 0, source, note, names, train, test)
    return DataInfo(*facts, holds="texts", downloads=files)


def _small_images() -> tuple[DataInfo, ...]:
    digits = "Handwritten digits that ship with scikit-learn, 8×8 pixels, shown at 32×32."
    mnist = "Handwritten digits, 28×28 pixels, with a black border of 2 pixels at 32×32; 12 MB to download."
    fashion = "Pictures of clothes, 28×28 pixels, with a black border of 2 pixels at 32×32; 31 MB to download."
    cifar10 = "Small photos, 32×32 pixels; 170 MB to download."
    cifar100 = "Small photos, 32×32 pixels, 100 classes; 169 MB to download."
    svhn = "House numbers in photos, cut to single digits of 32×32 pixels; 246 MB to download."
    stl10 = "Photos of 96×96 pixels, the labelled part only; 2.6 GB to download, most of it without labels."
    eurosat = "Satellite images of 64×64 pixels, what the land is used for; 94 MB to download. No test part of its own."
    shipped = DataInfo("digits", "Handwritten digits", 10, 1, 32, "shipped", digits, _words(_DIGITS), 1197, 600)
    return (
        replace(shipped, own_test=False),
        _known("mnist", "MNIST", 10, (1, 32), _DIGITS, (60_000, 10_000), mnist),
        _known("fashion_mnist", "Fashion-MNIST", 10, (1, 32), _FASHION_CLASSES, (60_000, 10_000), fashion),
        _known("cifar10", "CIFAR-10", 10, (3, 32), _CIFAR10_CLASSES, (50_000, 10_000), cifar10),
        _known("cifar100", "CIFAR-100", 100, (3, 32), "", (50_000, 10_000), cifar100),
        _known("svhn", "SVHN (house numbers)", 10, (3, 32), _DIGITS, (73_257, 26_032), svhn),
        _known("stl10", "STL-10", 10, (3, 96), _STL10_CLASSES, (5_000, 8_000), stl10),
        replace(
            _photos("eurosat", "EuroSAT", 10, _EUROSAT_CLASSES, (21_600, 5_400), eurosat), image_size=64, own_test=False
        ),
    )


def _photo_sets() -> tuple[DataInfo, ...]:
    flowers = "Photos of flowers, 102 kinds: 20 of each to train on (the published parts train and val); 345 MB."
    pets = "Photos of cats and dogs, 37 breeds; 811 MB to download."
    food = "Photos of dishes, 101 kinds, 1,000 of each; 5.0 GB to download."
    imagenette = "Photos of ten easily told classes of ImageNet, the shorter edge {} pixels; {} MB to download."
    parts = (9_469, 3_925)
    return (
        _photos("flowers102", "Flowers-102", 102, "", (2_040, 6_149), flowers),
        _photos("pets", "Oxford-IIIT Pets", 37, "", (3_680, 3_669), pets),
        _photos("food101", "Food-101", 101, "", (75_750, 25_250), food),
        _photos("imagenette160", "Imagenette, 160 px", 10, _IMAGENETTE_CLASSES, parts, imagenette.format("160", "99")),
        _photos("imagenette320", "Imagenette, 320 px", 10, _IMAGENETTE_CLASSES, parts, imagenette.format("320", "342")),
    )


def _text_sets() -> tuple[DataInfo, ...]:
    docstrings = "Which package does this docstring come from? Read from the packages that are installed here."
    sms_spam = (
        "Short messages; a folder with sms.tsv, or SMSSpamCollection as published; 0.5 MB to download. Its copy on "
        "GitHub states no licence; UCI, which published it, lists it as CC BY 4.0."
    )
    sst2 = (
        "Sentences of film reviews; a folder with train.tsv and dev.tsv; 0.8 MB to download, from a copy on GitHub. "
        "No licence is stated; cite Socher et al. 2013."
    )
    trec = (
        "Questions and what they ask for; a folder with TREC.train and TREC.test, or the files as published; 0.4 MB to "
        "download. No licence is stated; cite Li and Roth 2002."
    )
    ag_news = (
        "Titles and first sentences of news; a folder with train.csv and test.csv, or only one of them; 31 MB to "
        "download, from a copy on GitHub. For research and other non-commercial use."
    )
    table = "A .csv, .tsv or .jsonl file with a text and a label in every row, or a folder with train and test files."
    hub = (
        "A text set on Hugging Face's hub, owner/name or owner/name:configuration, downloaded if you allow it; or a "
        "folder that save_to_disk has written or that holds Parquet or CSV files. Needs the package datasets."
    )
    return (
        replace(
            _texts("docstrings", "Docstrings", docstrings, "shipped", _DOCSTRING_CLASSES, 2_400, 600), own_test=False
        ),
        _texts("sms_spam", "SMS spam", sms_spam, "files", "ham spam"),
        _texts("sst2", "SST-2 (film reviews)", sst2, "files", "negative positive", 6_920, 872),
        _texts("trec", "TREC (kinds of questions)", trec, "files", _TREC_CLASSES, 5_452, 500),
        _texts("ag_news", "AG News", ag_news, "files", "World Sports Business Sci/Tech", 120_000, 7_600),
        _texts("table", "Table of texts", table, "table"),
        replace(_texts("hub", "From Hugging Face", hub, "hub"), downloads=True),
    )


def _catalog() -> dict[str, DataInfo]:
    folder = "Any folder with one folder of images per class, with or without train and val above them."
    any_folder = DataInfo("folder", "Image folder", None, 3, 0, "folder", folder)
    return {row.name: row for row in (*_small_images(), *_photo_sets(), any_folder, *_text_sets())}


DATASETS: Final = MappingProxyType(_catalog())
