"""Where races run: one protocol, a backend for this process and one for worker processes on this machine."""

from multirate_core.backends.devices import available_devices, devices_if_known
from multirate_core.backends.inline import Inline
from multirate_core.backends.local_process import LocalProcess
from multirate_core.backends.protocol import Backend

__all__ = ["Backend", "Inline", "LocalProcess", "available_devices", "devices_if_known"]
