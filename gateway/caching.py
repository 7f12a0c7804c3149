"""What the Redis cache stores: JSON. Django's default is pickle, which runs code when read."""

import json


class JsonSerializer:
    """Django's cache serializer interface over JSON."""

    def dumps(self, value: object) -> int | bytes:
        """Integers stay bare so that Redis can increment them."""
        if type(value) is int:
            return value
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, data: bytes) -> object:
        """The value that `dumps` was given; tuples come back as lists."""
        return json.loads(data)
