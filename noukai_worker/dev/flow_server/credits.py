"""What is left on an API key: steps cost money, and it can run out in the middle of a run (WIRE.md 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from .answers import Refusal


class Credits:
    """Balances in USD by key. A key that has none here never runs out."""

    def __init__(self, balances: Mapping[str, Decimal]) -> None:
        self._at_first = dict(balances)
        self._balances = dict(balances)

    def restore(self) -> None:
        """Return to the balances at first."""
        self._balances = dict(self._at_first)

    def balances(self) -> dict[str, str]:
        """Return all balances as text."""
        return {key: str(balance) for key, balance in self._balances.items()}

    def put(self, key: str, balance: Decimal) -> None:
        """Set the balance of ``key``."""
        self._balances[key] = balance

    def charge(self, key: str, cost_usd: str) -> None:
        """Take what a step cost. The step that empties a balance is still done, and may overdraw it."""
        if key in self._balances:
            self._balances[key] -= Decimal(cost_usd)

    def before_run(self, key: str) -> None:
        """Raise `Refusal` 402 INSUFFICIENT_CREDITS if no run can begin."""
        if self._empty(key):
            raise Refusal(402, "INSUFFICIENT_CREDITS", "This key's balance is used up; top it up or use another key.")

    def before_step(self, key: str, step_id: str) -> Refusal | None:
        """Return 402 CREDITS_EXHAUSTED if a run that is under way cannot afford its next step."""
        if not self._empty(key):
            return None
        return Refusal(
            402,
            "CREDITS_EXHAUSTED",
            f"This key's balance ran out before step {step_id!r}; top it up and go on, or use another key.",
        )

    def _empty(self, key: str) -> bool:
        return self._balances.get(key, Decimal(1)) <= 0
