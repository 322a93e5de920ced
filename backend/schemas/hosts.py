"""Host headers that are what they should be: a name or an address, and perhaps a port.

Light, so that the dashboard shares it.
"""

import re
from ipaddress import IPv6Address

# Letters, digits, dots, hyphens and the underscores of container names; nothing that programs read
# in different ways, such as a user part, a backslash, a second port, a blank.
_HOST = re.compile(
    r"(?P<name>[a-z0-9._-]{1,253}|\[(?P<v6>[0-9a-f:.]{2,45})\])(:(?P<port>[0-9]{1,5}))?"
)
PORT_MAX = 65535


def name_in(host: str) -> str | None:
    """The name or address in a Host header, in small letters; None if the header is malformed."""
    found = _HOST.fullmatch(host.lower()) if host.isascii() else None
    if found is None or int(found["port"] or 0) > PORT_MAX:
        return None
    if found["v6"] is None:
        return found["name"]
    try:
        return str(IPv6Address(found["v6"]))
    except ValueError:
        return None
