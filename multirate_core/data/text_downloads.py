"""Where the known text sets can be fetched: files that never change at their address, or whose SHA-256 says so.

The files go from there to the user's machine; none of them ships with this project. What is known of their licences
stands in the notes of `sets`.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

from multirate_core.data.downloads import RemoteFile, Say, download_set
from multirate_core.home import subfolder

_GITHUB: Final = "https://raw.githubusercontent.com"
_SST2: Final = f"{_GITHUB}/clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2"
_TREC: Final = "https://cogcomp.seas.upenn.edu/Data/QA/QC"  # the publishers'
_AG_NEWS: Final = f"{_GITHUB}/mhjabreel/CharCnn_Keras/555590db4219b1243abb1918effd6a7425a2d75f/data/ag_news_csv"
_SMS: Final = f"{_GITHUB}/justmarkham/pycon-2016-tutorial/5339710562cc46c4a32a369d63f1e8751a18a54e/data"


def fetch(name: str, title: str, folder: str, say: Say) -> Path:
    """Download a set into a folder of that name in `data` in the user data folder, and return it.

    Args:
        name: of `TEXT_FILES`.
        title: of the set, for messages.
        folder: name of the folder to make.
        say: called with lines about the progress; what it raises ends the download.

    Raises:
        DownloadError: the network does not give the files, a check sum is wrong, or the disk is full.
    """
    return download_set(title, folder, TEXT_FILES[name], subfolder("data"), say)


def _file(place: str, name: str, sha256: str) -> RemoteFile:
    return RemoteFile((f"{place}/{name}",), None, sha256=sha256)


TEXT_FILES: Final = MappingProxyType(
    {
        "sst2": (
            _file(_SST2, "train.tsv", "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
            _file(_SST2, "dev.tsv", "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        ),
        "trec": (
            _file(_TREC, "train_5500.label", "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3"),
            _file(_TREC, "TREC_10.label", "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e"),
        ),
        "ag_news": (
            _file(_AG_NEWS, "train.csv", "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e"),
            _file(_AG_NEWS, "test.csv", "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699"),
        ),
        "sms_spam": (_file(_SMS, "sms.tsv", "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"),),
    }
)
