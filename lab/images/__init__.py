# SPDX-License-Identifier: Apache-2.0
"""Disk images in real formats, made without qemu-img.

All writers take ``extents``, a mapping of byte offset in the disk to bytes; everything else reads as zeros.
"""

from lab.images.qcow2 import write_qcow2
from lab.images.raw import compress, flat, write_raw
from lab.images.vhdx import write_vhdx
from lab.images.vmdk import write_vmdk

__all__ = ["compress", "flat", "write_qcow2", "write_raw", "write_vhdx", "write_vmdk"]
