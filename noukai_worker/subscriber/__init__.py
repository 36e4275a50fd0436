"""The subscriber side: every entry of a run, in order, none missing, none twice, and always an end (DESIGN 5)."""

from .hub import Hub
from .subscription import Subscription, subscribe

__all__ = ["Hub", "Subscription", "subscribe"]
