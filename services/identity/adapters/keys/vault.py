"""Three keys: one encrypts phones, one finds them blindly, one guards the codes."""

from uuid import UUID

from services.identity.domain.one_time_code import CodeRequest
from services.identity.domain.phone import Phone
from shared.runtime.keys.sealing import BlindIndex, Sealer


class KeyVault:
    """The port `Vault`. A sealed phone opens only for the row that it was sealed for."""

    def __init__(self, *, sealer: Sealer, index: BlindIndex, code_index: BlindIndex) -> None:
        self._sealer = sealer
        self._index = index
        self._code_index = code_index

    def index(self, phone: Phone) -> bytes:
        return self._index.digest(f"phone|{phone.e164}")

    def index_address(self, address: str) -> bytes:
        return self._index.digest(f"address|{address}")

    def seal(self, phone: Phone, owner: UUID) -> bytes:
        return self._sealer.seal(phone.e164.encode(), _context(owner))

    def open(self, sealed: bytes, owner: UUID) -> Phone:
        """Raises CannotOpen where the value is damaged or belongs to another row."""
        return Phone(self._sealer.open(sealed, _context(owner)).decode())

    def needs_resealing(self, sealed: bytes) -> bool:
        return self._sealer.needs_resealing(sealed)

    def code_mac(self, request: CodeRequest, code: str) -> bytes:
        return self._code_index.digest(request.binding(code))


def _context(owner: UUID) -> bytes:
    return f"phone|{owner}".encode()
