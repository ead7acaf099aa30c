"""`torch.compile` and gradients that come and go: before torch 2.12 a compiled model does not notice the change."""

from __future__ import annotations

import torch

# Dynamo's shortcut: no check of the tensors of a module whose dict has not changed. Setting `requires_grad` changes no
# dict, so the graph of another kind of step ran again and the slow part's gradients were missing without a word.
SHORTCUT = "skip_tensor_guards_with_matching_dict_tags"
FIRST_SOUND_TORCH = (2, 12)  # from here on the shortcut looks at requires_grad


def notice_flags() -> None:
    """Make compiled models check `requires_grad` of every parameter, whatever torch; call before their first forward.

    Source: pytorch/pytorch issue 139476 and pull request 177158.
    """
    if torch.__version__ < FIRST_SOUND_TORCH:
        setattr(torch._dynamo.config, SHORTCUT, False)
