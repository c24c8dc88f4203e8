"""Which GPU architectures a compiled library holds code for, read from its fat binaries; no tool of the toolkit is needed."""

import struct
from pathlib import Path

MAGIC = struct.pack('<I', 0xBA55ED50)
KINDS = {1: 'compute', 2: 'sm'}  # PTX, which a driver compiles for newer GPUs; machine code


def architectures(library: Path) -> set[str]:
    """The architectures in `library`, as nvcc names them ('sm_90': machine code, 'compute_90': PTX); empty without any."""
    data = library.read_bytes()
    found: set[str] = set()
    start = data.find(MAGIC)
    while start >= 0:
        found |= _entries(data, start)
        start = data.find(MAGIC, start + len(MAGIC))
    return found


def _entries(data: bytes, start: int) -> set[str]:
    """Architectures of one fat binary: a header with its own size at byte 6 and that of all entries at 8, then the entries."""
    header_size, size = struct.unpack_from('<HQ', data, start + 6)
    position, end, found = start + header_size, start + header_size + size, set()
    while position < end:
        kind, _, entry_header_size, entry_size = struct.unpack_from('<HHIQ', data, position)
        (architecture,) = struct.unpack_from('<I', data, position + 28)
        found.add(f'{KINDS.get(kind, "other")}_{architecture}')
        position += entry_header_size + entry_size
    return found
